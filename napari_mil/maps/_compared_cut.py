"""At what maps are cut to see how far the regions above overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from ..errors import MapError
from ._legend import format_area, format_share, format_threshold
from ._threshold import above

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._map import MapView
    from ._threshold import Cuts

MapCutBy: TypeAlias = Literal["share", "value", "percentile", "count", "area"]
"""The highest share of the places that both maps cover, or a threshold on each map as in `Cuts.threshold`."""


@dataclass(frozen=True, slots=True)
class MapCut:
    """A cut that is the same for every map.

    Parameters
    ----------
    by : str
        "share" takes the highest share of the places that two maps both cover. The others are thresholds on each map by
        itself, as in the Heatmap tab: "value" on the scale shown, which maps must have in common; "percentile", "count"
        and "area" by each map's own order of patches.
    amount : float
        A share, a value, a percentage that is hidden, patches, or square millimetres.
    """

    by: MapCutBy
    amount: float

    def __post_init__(self) -> None:
        if self.by not in get_args(MapCutBy):
            raise ValueError(f"by must be one of {', '.join(get_args(MapCutBy))}, not {self.by!r}")
        low, high = {"share": (0, 1), "percentile": (0, 100), "value": (-math.inf, math.inf)}.get(
            self.by, (0, math.inf)
        )
        if not (math.isfinite(self.amount) and low <= self.amount <= high) or (self.by == "share" and not self.amount):
            span = f" from {low} to {high}" if math.isfinite(high) else ", 0 or more" if not low else ""
            raise ValueError(f"{self.amount:g} is no {self.by} to cut maps at: give a number{span}")

    def title(self, view: MapView | None = None) -> str:
        """Say in a few words where maps are cut, for the head of a column.

        Parameters
        ----------
        view : MapView or None
            What is shown of one of the maps, for a cut by value.

        Returns
        -------
        str
            "Top 10%"; "Rank ≥ 0.9"; "Percentile 90"; "Top 50 patches"; "Top 1.50 mm²".
        """
        if self.by == "share":
            return f"Top {format_share(self.amount)}"
        if self.by == "percentile":
            return f"Percentile {self.amount:.4g}"
        if self.by == "count":
            return f"Top {self.amount:,.0f} {'patch' if round(self.amount) == 1 else 'patches'}"
        if self.by == "area":
            return f"Top {format_area(self.amount)}"
        return f"{'Value' if view is None else view.scale.label} ≥ {format_threshold(self.amount)}"

    def sentence(self, view: MapView) -> str:
        """Say of what the IoU is; begins with a capital, without a full stop."""
        of = {
            "share": f"the highest {format_share(self.amount)} of the patches that both cover",
            "value": f"what lies at or above {format_threshold(self.amount)} ({view.scale.label.lower()}) in each map",
            "percentile": f"what lies at or above percentile {self.amount:.4g} of each map's own patches",
            "count": f"each map's own highest {self.amount:,.0f}",
            "area": f"each map's own highest patches, {format_area(self.amount)} of them",
        }[self.by]
        return f"IoU is of {of}"


def check_cut(cut: MapCut, views: Sequence[MapView]) -> None:
    """Refuse a cut by value of scores that have no value in common.

    Parameters
    ----------
    cut : MapCut
        Where maps are to be cut.
    views : sequence of MapView
        What is compared of each.

    Raises
    ------
    MapError
        In words.
    """
    titles = dict.fromkeys(view.title for view in views)
    if cut.by == "value" and len(titles) > 1 and views[0].scale.name != "rank":
        raise MapError(
            f"A cut by value takes one score, and these are several: {'; '.join(titles)}. "
            "Cut by percentile, number of patches or area instead."
        )


def region(cut: MapCut, view: MapView, cuts: Cuts) -> NDArray[np.float32]:
    """Return what lies at or above a cut of one map, which is none by share.

    Parameters
    ----------
    cut : MapCut
        Where.
    view : MapView
        What is shown of the map.
    cuts : Cuts
        Of that view.

    Returns
    -------
    (N,) float32
        1 at or above, 0 below, NaN without a score.
    """
    if cut.by == "share":
        raise ValueError("a share of the places that two maps cover is no cut of one of them")
    upper = above(view.values, cuts.threshold(cut.by, cut.amount))
    return np.where(np.isnan(view.values), np.float32(np.nan), upper.astype(np.float32))
