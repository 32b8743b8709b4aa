"""Two maps of one slide held against each other place by place, also where their tiles differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from ..tiling import TileGrid

SAME_TILES = "Both maps have the same patches."
OTHER_TILES = (
    "The maps have different patches: each patch of the map with the smaller ones is held against the mean of the "
    "other map's patches over it, weighted by the area that they share; a patch whose centre lies in no patch of the "
    "other map is left out."
)


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where two grids of tiles on one slide can be compared; see `match_places`.

    Parameters
    ----------
    grid : TileGrid
        The grid with the smaller tiles (the first where both are alike), whose tiles are the places.
    of_first : bool
        Whether that is the first grid.
    tiles : (M,) int64
        Which of its tiles lie on the other grid, too, rising.
    weights : (M, N) sparse or None
        The share of each tile of the other grid in each place, rows summing to 1; None where the grids are the same.
    """

    grid: TileGrid
    of_first: bool
    tiles: NDArray[np.int64]
    weights: csr_array | None

    def __len__(self) -> int:
        return len(self.tiles)

    @property
    def rule(self) -> str:
        """How patches were matched, in a sentence."""
        return SAME_TILES if self.weights is None else OTHER_TILES

    def values(
        self, first: NDArray[np.float32], second: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the numbers of both maps at each place.

        Parameters
        ----------
        first, second : (N,) float32
            One number per tile of either grid; NaN is left out of means.

        Returns
        -------
        ((M,) float64, (M,) float64)
            NaN where nothing is known of a place.
        """
        fine, other = (first, second) if self.of_first else (second, first)
        here = fine[self.tiles].astype(np.float64)
        there = other[self.tiles].astype(np.float64) if self.weights is None else _means(self.weights, other)
        return (here, there) if self.of_first else (there, here)


def match_places(first: TileGrid, second: TileGrid) -> Places:
    """Find where two grids on one slide can be compared.

    Places are the tiles of the grid with the smaller tiles, as far as their centre lies in a tile of the other.

    Parameters
    ----------
    first, second : TileGrid
        Tiles in level-0 pixels of the same slide.

    Returns
    -------
    Places
        The places, and how the other grid's tiles cover them.
    """
    if first.tile_l0 == second.tile_l0 and np.array_equal(first.l0_rc, second.l0_rc):
        return Places(first, True, np.arange(len(first), dtype=np.int64), None)
    of_first = first.tile_l0 <= second.tile_l0
    fine, other = (first, second) if of_first else (second, first)
    tiles, weights = _shares(fine, other)
    return Places(fine, of_first, tiles, weights)


def _shares(fine: TileGrid, other: TileGrid) -> tuple[NDArray[np.int64], csr_array]:
    """Return which tiles have their centre on the other grid, and what share of them each of its tiles has."""
    from scipy.sparse import csr_array

    if not len(fine) or not len(other):
        return np.empty(0, np.int64), csr_array((0, len(other)))
    here, there = _near(fine, other)
    apart = np.abs(_centres(fine)[here] - _centres(other)[there])
    # what two squares share along an edge: all of the smaller, less what it stands out
    shared = np.clip((fine.tile_l0 + other.tile_l0) / 2 - apart, 0, min(fine.tile_l0, other.tile_l0)).prod(axis=1)
    tiles = np.unique(here[(apart <= other.tile_l0 / 2).all(axis=1)])
    area = csr_array((shared, (here, there)), shape=(len(fine), len(other)))[tiles]
    total = np.asarray(area.sum(axis=1)).ravel()
    area.data /= np.repeat(total, np.diff(area.indptr))
    return tiles.astype(np.int64), area


def _near(fine: TileGrid, other: TileGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all pairs of tiles that share area."""
    from scipy.spatial import cKDTree

    reach = (fine.tile_l0 + other.tile_l0) / 2
    found = cKDTree(_centres(fine)).sparse_distance_matrix(
        cKDTree(_centres(other)), reach * (1 - 1e-9), p=np.inf, output_type="ndarray"
    )
    return found["i"], found["j"]


def _centres(grid: TileGrid) -> NDArray[np.float64]:
    return np.asarray(grid.l0_rc + grid.tile_l0 / 2, np.float64)


def _means(weights: csr_array, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return weighted means of what is known."""
    known = np.isfinite(values)
    total = weights @ np.where(known, values, 0).astype(np.float64)
    share = weights @ known.astype(np.float64)
    means: NDArray[np.float64] = np.divide(total, share, out=np.full(len(share), np.nan), where=share > 1e-12)
    return means
