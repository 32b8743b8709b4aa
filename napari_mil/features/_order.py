"""In which order batches are read: as planned, or what a person waits for first.

Which tiles make a batch never depends on the order of the batches (an encoder's last bit can depend on what else is in
a batch), and rows are stored by their place in the grid: so features are the same bits in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ..tiling import spread_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tiling import TileGrid

    Priority: TypeAlias = Callable[[], NDArray[np.generic] | None]

Order: TypeAlias = Literal["raster", "spread"]
_APART = 2.0  # batches' edges from one batch of the last pass but one to the next


def ordered(batches: Sequence[NDArray[np.int64]], grid: TileGrid, order: Order) -> list[NDArray[np.int64]]:
    """Return batches in the order in which they are read unless something is waited for.

    Parameters
    ----------
    batches : sequence of (n,) int64
        As `plan_batches` gives them.
    grid : TileGrid
        Their grid.
    order : {"raster", "spread"}
        As they are, or a few from all over the slide first, then more between these; see `spread_out`.

    Returns
    -------
    list of (n,) int64
        The same batches.
    """
    if order == "raster" or not batches:
        return list(batches)
    middles = np.array([grid.l0_rc[tiles].mean(axis=0) for tiles in batches])
    edge = grid.stride_l0 * float(np.sqrt(max(map(len, batches))))
    return [batches[k] for k in spread_out(middles, _APART * edge)]


def wanted_first(
    batches: Sequence[NDArray[np.int64]], n_tiles: int, priority: Priority | None
) -> Iterator[NDArray[np.int64]]:
    """Yield batches in order, those with a tile that is wanted more before those that are wanted less.

    Parameters
    ----------
    batches : sequence of (n,) int64
        At least one tile each.
    n_tiles : int
        Tiles of the grid.
    priority : callable or None
        Asked before each batch: how much each tile is wanted, (n_tiles,), or None where nothing is. An array that is
        the very object of the last time is not looked at again.

    Yields
    ------
    (n,) int64
        A batch.

    Raises
    ------
    ValueError
        If ``priority`` does not give one number a tile.
    """
    if not batches:
        return
    tiles, begins = np.concatenate(batches), np.cumsum([0, *map(len, batches[:-1])])
    waiting = np.arange(len(batches))
    queue = iter(waiting)
    left = np.ones(len(batches), bool)
    seen: NDArray[np.generic] | None = None
    for _ in range(len(batches)):
        wanted = None if priority is None else priority()
        if wanted is not seen:
            if wanted is not None and wanted.shape != (n_tiles,):
                raise ValueError(f"priority must give ({n_tiles},) numbers, not {wanted.shape}")
            seen = wanted
            waiting = np.flatnonzero(left)
            if wanted is not None:
                weights = np.maximum.reduceat(wanted[tiles].astype(np.float64), begins)[waiting]
                waiting = waiting[np.argsort(-weights, kind="stable")]
            queue = iter(waiting)
        k = int(next(queue))
        left[k] = False
        yield batches[k]
