"""A picture of few patches among many: large pale cells around them, that give way to what is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REACH = 2.0  # times the mean distance from one clump of known cells to the next, if they lay evenly
_CLUMP = 16  # cells; larger ones are regions that somebody wanted first, and say nothing of what lies far from them
_NEAR, _FAR = 0.6, 0.25


def fill_between(
    values: NDArray[np.float32], whole: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give cells that are not known yet the value of the nearest one that is, ever paler the farther it is.

    Parameters
    ----------
    values : (rows, cols) float32
        NaN where nothing is known.
    whole : (rows, cols) bool
        Where there will be values in the end.

    Returns
    -------
    values : (rows, cols) float32
        NaN outside ``whole``, and farther from every known cell than twice the mean distance of their clumps.
    strength : (rows, cols) float32
        1 where a value is known, from 0.6 down to 0.25 where it is a neighbour's, 0 where there is none.
    """
    known = np.isfinite(values)
    count = int(known.sum())
    strength = known.astype(np.float32)
    if count == 0 or count == int(whole.sum()):
        return values, strength
    from scipy.ndimage import distance_transform_edt, label

    away, (rows, cols) = distance_transform_edt(~known, return_indices=True)
    clump = min(count / label(known)[1], _CLUMP)
    reach = max(2.0, _REACH * float(np.sqrt(clump * whole.sum() / count)))
    near = whole & ~known & (away <= reach)
    filled = np.where(near, values[rows, cols], values)
    strength[near] = _NEAR - (_NEAR - _FAR) * away[near] / reach
    return filled, strength
