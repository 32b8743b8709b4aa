"""Which patch lies at a place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..tiling import TileGrid


class PatchFinder:
    """Finds the patch at a place, and those around it.

    Parameters
    ----------
    grid : TileGrid
        The tiles.
    """

    def __init__(self, grid: TileGrid) -> None:
        from scipy.spatial import KDTree

        self._half = grid.tile_l0 / 2
        self._tree = KDTree(grid.l0_centres()) if len(grid) else None

    def at(self, l0_rc: tuple[float, float]) -> int | None:
        """Return the patch that a place lies in, the one with the nearest centre where patches overlap.

        Parameters
        ----------
        l0_rc : (float, float)
            (row, col) in level-0 pixels, pixel centres on whole numbers.

        Returns
        -------
        int or None
            Its position in the grid; None beside all patches.
        """
        if self._tree is None or not np.isfinite(l0_rc).all():
            return None
        distance, index = self._tree.query(l0_rc, p=np.inf)
        return int(index) if distance <= self._half else None
