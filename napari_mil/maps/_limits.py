"""Where the colours of a scale end whose scores have no end of their own, and how that is said.

Ends at the extremes would let one patch far out turn all others pale; ends at a percentile let it have the end colour.
No number changes: values, thresholds and files keep what lies beyond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..counting import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._map import MapView

COLOUR_PERCENTILE = 99
"""Of the scores' size, where their colours end."""


def colour_end(values: NDArray[np.floating]) -> float:
    """Return the size of score at which colours end: the 99th percentile of the absolute values.

    It is the size of one of the patches, so that at most 1 % of them lie beyond, and none of fewer than 101. Where it
    is 0, since hardly any patch has a score, it is the largest size.

    Parameters
    ----------
    values : (N,) float
        NaN is left out.

    Returns
    -------
    float
        Above 0; 1 where no patch has a score other than 0.
    """
    sizes = np.abs(values[np.isfinite(values)])
    if not len(sizes):
        return 1.0
    end = float(np.percentile(sizes, COLOUR_PERCENTILE, method="higher"))
    return end or float(sizes.max()) or 1.0


def limits_words(view: MapView) -> str:
    """Say where the colours end and what lies beyond; empty where nothing does.

    Parameters
    ----------
    view : MapView
        What is shown.

    Returns
    -------
    str
        Such as "Colours end at ±0.012 (99th percentile of absolute values); 104 patches beyond, up to
        0.31"; no full stop.
    """
    low, high = view.limits
    beyond = int(np.count_nonzero(view.values < low) + np.count_nonzero(view.values > high))
    if not view.scale.saturates or not beyond:
        return ""
    end = f"{'±' if view.scale.diverging else ''}{high:.3g}"
    rule = f"{COLOUR_PERCENTILE}th percentile{' of absolute values' if view.scale.diverging else ''}"
    why = "the same for all maps" if view.scale.fixed_limits is not None else rule
    farthest = max(view.lowest, view.highest, key=abs)
    return f"Colours end at {end} ({why}); {counted(beyond, 'patch')} beyond, up to {farthest:.3g}"
