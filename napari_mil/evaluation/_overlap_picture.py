"""Where what lies above a threshold and the target coincide, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import shapely

from ..maps import above
from ..tiling import TissueMask, covered_mask, polygon_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..annotations import PatchLabels
    from ..tiling import TileGrid

BESIDE, PATCH, FALSE_ALARM, MISS, HIT = range(5)
"""Beside all patches; in a patch, but neither above nor target; above only; target only; both."""

_EDGE = 1200


@dataclass(frozen=True, slots=True, eq=False)
class OverlapPicture:
    """Every pixel of a coarse picture sorted into hit, miss, false alarm or neither.

    Parameters
    ----------
    kinds : (rows, cols) uint8
        `BESIDE`, `PATCH`, `FALSE_ALARM`, `MISS` or `HIT`.
    l0_first_rc : (int, int)
        Level-0 pixel at the picture's corner.
    l0_per_px : float
        Level-0 pixels per pixel.
    mpp : float
        Microns per level-0 pixel.
    """

    kinds: NDArray[np.uint8]
    l0_first_rc: tuple[int, int]
    l0_per_px: float
    mpp: float

    @property
    def dice(self) -> float:
        """Dice of its pixels; NaN without target."""
        hits, misses, wrong = (int((self.kinds == kind).sum()) for kind in (HIT, MISS, FALSE_ALARM))
        return 2 * hits / (2 * hits + misses + wrong) if hits + misses else float("nan")


def overlap_picture(
    values: NDArray[np.float32], grid: TileGrid, labels: PatchLabels, threshold: float, *, edge_px: int = _EDGE
) -> OverlapPicture:
    """Sort the pixels of a slide by whether they lie above a threshold and in the target.

    Parameters
    ----------
    values : (N,) float32
        As shown.
    grid : TileGrid
        The tiles, at least one.
    labels : PatchLabels
        Of the tiles.
    threshold : float
        On the scale shown.
    edge_px : int
        Longer edge of the picture; never finer than level 0.

    Returns
    -------
    OverlapPicture
        Just large enough for patches and target.
    """
    corners = np.array([grid.l0_rc.min(axis=0), grid.l0_rc.max(axis=0) + grid.tile_l0])
    if not labels.area.is_empty:
        left, top, right, bottom = labels.area.bounds
        corners = np.array([np.minimum(corners[0], (top, left)), np.maximum(corners[1], (bottom, right))])
    first = np.floor(corners[0]).astype(np.int64)
    extent = corners[1] - first
    step = max(1.0, float(extent.max()) / edge_px)
    rows, cols = np.ceil(extent / step).astype(int)
    like = TissueMask(np.zeros((rows, cols), bool), (step, step), None)
    seen = above(values, threshold)
    patches, over = (
        covered_mask(
            replace(grid, l0_rc=grid.l0_rc[chosen] - first, tissue_fraction=grid.tissue_fraction[chosen]),
            like,
            origin="patches",
        ).mask
        for chosen in (np.ones(len(grid), bool), seen)
    )
    area = shapely.transform(labels.area, lambda xy: xy - first[::-1])
    target = polygon_mask(list(shapely.get_parts(area)), like).mask
    kinds = np.where(patches, PATCH, BESIDE).astype(np.uint8)
    kinds[over & ~target], kinds[target & ~over], kinds[target & over] = FALSE_ALARM, MISS, HIT
    return OverlapPicture(kinds, (int(first[0]), int(first[1])), step, grid.tile_um / grid.tile_l0)
