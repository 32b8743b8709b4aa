"""The part of a slide that tiles cover, where they were laid by somebody else and tell more of tissue than we could."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ._grid import TileGrid, TissueMask


def covered_mask(grid: TileGrid, like: TissueMask, *, origin: str) -> TissueMask:
    """Make a mask of the tiles of a grid.

    Parameters
    ----------
    grid : TileGrid
        The tiles; what hangs over the slide's edge does not count.
    like : TissueMask
        Gives slide and resolution, such as `empty_mask`. A pixel is tissue where its centre lies in a tile.
    origin : str
        As in `TissueMask`.

    Returns
    -------
    TissueMask
        The mask.
    """
    shape, edge = np.array(like.mask.shape), np.array(like.l0_per_px)
    first = np.clip(np.ceil(grid.l0_rc / edge - 0.5), 0, shape).astype(np.int64)
    last = np.clip(np.ceil((grid.l0_rc + grid.tile_l0) / edge - 0.5), 0, shape).astype(np.int64)
    # each tile counts one up where it begins and one down where it ends; two running sums fill it in
    steps = np.zeros(shape + 1, np.int64)
    for rows, cols, sign in ((first, first, 1), (first, last, -1), (last, first, -1), (last, last, 1)):
        np.add.at(steps, (rows[:, 0], cols[:, 1]), sign)
    inside = steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
    return replace(like, mask=inside, threshold=None, origin=origin)
