"""The highest or lowest patches, none crowding another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tiling import TileGrid

_ROUNDING_L0 = 1.5
"""Corners are whole pixels: two of them put centres nearer by less than one pixel along each axis."""


def spaced_patches(
    raw: NDArray[np.float32], grid: TileGrid, k: int, *, spacing_l0: float = 0.0, lowest: bool = False
) -> NDArray[np.int64]:
    """Return the patches that score highest, leaving out those too near to a higher one.

    Greedy suppression in the order of the scores, as detectors suppress what is not the maximum of its surroundings
    (Neubeck and Van Gool, "Efficient non-maximum suppression", ICPR 2006): the highest is taken, all nearer than the
    spacing are passed over, the highest of the rest is taken, and so on.

    Parameters
    ----------
    raw : (N,) float32
        One score per patch; NaN is never taken.
    grid : TileGrid
        The tiles.
    k : int
        How many at most; fewer where no more are far enough from each other.
    spacing_l0 : float
        Least distance between the centres of two that are taken, level-0 pixels; 0 takes neighbours too. Patches of a
        grid are where their corners were rounded to, so that two strides count as two strides.
    lowest : bool
        The lowest instead, lowest first.

    Returns
    -------
    (at most k,) int64
        Positions in the grid, highest first; of equal scores the first in the grid.

    Raises
    ------
    ValueError
        If there is not one score per tile, ``k`` is less than 1 or the spacing negative.
    """
    if raw.shape != (len(grid),) or k < 1 or not spacing_l0 >= 0:
        raise ValueError(f"need {len(grid)} scores, k of 1 or more and no negative spacing, not {raw.shape}, {k}")
    known = np.flatnonzero(~np.isnan(raw))
    order = known[np.argsort(raw[known] if lowest else -raw[known], kind="stable")].astype(np.int64)
    reach = spacing_l0 - _ROUNDING_L0
    if reach <= 0:
        return order[:k]
    from scipy.spatial import KDTree

    tree = KDTree(grid.l0_centres()) if len(grid) else None
    free = np.ones(len(grid), np.bool_)
    taken: list[int] = []
    for patch in order.tolist():
        if not free[patch] or tree is None:
            continue
        taken.append(patch)
        if len(taken) == k:
            break
        free[tree.query_ball_point(tree.data[patch], reach)] = False
    return np.array(taken, np.int64)
