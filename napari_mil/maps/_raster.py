"""Tiles painted on a raster, one number per cell: what an Image layer shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tiling import TileGrid

# An irregular set of tiles is painted at half a tile, unless that makes an edge longer than a texture should be.
_MAX_EDGE = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """A map as an image.

    Parameters
    ----------
    values : (rows, cols) float32
        NaN where there is no tile.
    l0_origin : (float, float)
        Centre of the first cell, (row, col), level-0 pixels with pixel centres on whole numbers (napari's convention).
    l0_step : float
        Edge of a cell in level-0 pixels.
    """

    values: NDArray[np.float32]
    l0_origin: tuple[float, float]
    l0_step: float


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Which cells each tile covers: rows ``first[:, 0]`` to ``last[:, 0]`` (exclusive), columns alike."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    l0_corner: NDArray[np.float64]
    l0_step: float


class Painter:
    """Paints numbers per tile on the raster of one grid; what depends on the grid alone is worked out once.

    A regular grid is exact: a cell is a stride, the tile in row k lies in cell row k. Where tiles overlap, a cell
    shows the mean over the tiles that cover its centre. Tiles on no common grid (imported ones) are painted on cells
    of half a tile.

    Parameters
    ----------
    grid : TileGrid
        The tiles.
    """

    def __init__(self, grid: TileGrid) -> None:
        self._n = len(grid)
        if self._n == 0:
            self._shape, self._step, self._origin = (1, 1), grid.stride_l0, (grid.stride_l0 / 2 - 0.5,) * 2
            return
        cells = _regular_cells(grid) or _free_cells(grid)
        low = cells.first.min(axis=0)
        rows, cols = cells.last.max(axis=0) - low
        centre = cells.l0_corner + (low + 0.5) * cells.l0_step - 0.5
        self._shape, self._step = (int(rows), int(cols)), cells.l0_step
        self._origin = float(centre[0]), float(centre[1])
        self._first, self._last = cells.first - low, cells.last - low
        places = self._first @ np.array([self._shape[1], 1])
        alone = (self._last - self._first == 1).all() and len(np.unique(places)) == self._n
        self._places = places if alone else None

    def paint(self, values: NDArray[np.float32]) -> Raster:
        """Paint one number per tile.

        Parameters
        ----------
        values : (N,) float32
            One number per tile; NaN is left out.

        Returns
        -------
        Raster
            Just large enough for all tiles.

        Raises
        ------
        ValueError
            If there are not as many values as tiles.
        """
        if values.shape != (self._n,):
            raise ValueError(f"values must be ({self._n},), not {values.shape}")
        image = np.full(self._shape, np.nan, np.float32)
        if self._n and self._places is not None:
            image.reshape(-1)[self._places] = np.where(np.isfinite(values), values, np.nan)
        elif self._n:
            self._paint_means(values, image)
        return Raster(image, self._origin, self._step)

    def _paint_means(self, values: NDArray[np.float32], image: NDArray[np.float32]) -> None:
        """Put the mean of the boxes that cover each cell into the image."""
        known = np.isfinite(values)
        values, first, last = values[known], self._first[known], self._last[known]
        # each box adds its value at two of its corners and takes it away at the others; two running sums fill it in
        count, total = (_filled(weights, first, last, self._shape) for weights in (np.ones(len(values)), values))
        covered = count > 0.5
        image[covered] = (total[covered] / count[covered]).astype(np.float32)


def paint(values: NDArray[np.float32], grid: TileGrid) -> Raster:
    """Paint one number per tile on a raster, once; `Painter` does it for many, and says how.

    Parameters
    ----------
    values : (N,) float32
        One number per tile; NaN is left out.
    grid : TileGrid
        The tiles.

    Returns
    -------
    Raster
        Just large enough for all tiles.

    Raises
    ------
    ValueError
        If there are not as many values as tiles.
    """
    return Painter(grid).paint(values)


def lattice(grid: TileGrid) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Return where on a common grid of one stride the tiles lie.

    Parameters
    ----------
    grid : TileGrid
        The tiles.

    Returns
    -------
    ((N, 2) int64, (2,) float64) or None
        Row and column of each tile, and the common grid's corner in level-0 pixels; None where a tile lies more than
        half a level-0 pixel off it.
    """
    step = grid.stride_l0
    for corner in (np.zeros(2), grid.l0_rc.min(axis=0).astype(np.float64)):
        index = np.rint((grid.l0_rc - corner) / step)
        if np.abs(grid.l0_rc - corner - index * step).max() <= 0.5 + 1e-6:
            return index.astype(np.int64), corner
    return None


def _regular_cells(grid: TileGrid) -> _Cells | None:
    """Return cells of one stride if every tile lies within half a level-0 pixel of a common grid, else None."""
    step = grid.stride_l0
    if step > grid.tile_l0 * (1 + 1e-6):
        return None  # a cell would claim the gap between tiles
    placed = lattice(grid)
    if placed is None:
        return None
    first, corner = placed
    covered = max(1, int(np.ceil(grid.tile_l0 / step - 0.5 - 1e-6)))
    return _Cells(first, first + covered, corner, step)


def _free_cells(grid: TileGrid) -> _Cells:
    """Return the cells of half a tile whose centres lie in each tile."""
    corner = grid.l0_rc.min(axis=0).astype(np.float64)
    extent = float((grid.l0_rc.max(axis=0) - corner).max()) + grid.tile_l0
    step = max(min(grid.tile_l0, grid.stride_l0) / 2, extent / _MAX_EDGE)
    first = np.rint((grid.l0_rc - corner) / step).astype(np.int64)
    last = np.rint((grid.l0_rc - corner + grid.tile_l0) / step).astype(np.int64)
    return _Cells(first, np.maximum(last, first + 1), corner, step)


def _filled(
    weights: NDArray[np.floating], first: NDArray[np.int64], last: NDArray[np.int64], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the sum of the weights of the boxes over each cell, all boxes at once."""
    width = shape[1] + 1
    size = (shape[0] + 1) * width
    steps = np.zeros(size)
    for rows, cols, sign in ((first, first, 1), (first, last, -1), (last, first, -1), (last, last, 1)):
        steps += sign * np.bincount(rows[:, 0] * width + cols[:, 1], weights, minlength=size)
    return steps.reshape(-1, width).cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
