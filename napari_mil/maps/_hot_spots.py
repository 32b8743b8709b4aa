"""Hot spots: regions of neighbouring patches at or above a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import shapely

from ._raster import lattice
from ._threshold import above

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tiling import TileGrid

_REACH = 1.5
"""Strides: patches whose centres are nearer than this along both axes are neighbours."""


@dataclass(frozen=True, slots=True, eq=False)
class HotSpot:
    """A region of neighbouring patches at or above a threshold.

    A patch stands for the square of one stride about its centre, which is the patch itself unless patches overlap or
    leave gaps; areas of all hot spots add up to the area above the threshold.

    Parameters
    ----------
    patches : (K,) int64
        Their positions in the grid, in its order.
    peak_patch : int
        Position of the patch with the highest value, the first of several.
    peak, mean : float
        Highest and mean value, on the scale shown.
    area_mm2 : float
        Area of the patches.
    l0_centroid_rc : (float, float)
        Mean of the patches' centres, level-0 pixels (row, col), 0 being the slide's outer edge.
    geometry : shapely.Polygon or shapely.MultiPolygon
        Outline, (x, y), level-0 pixels, 0 being the slide's outer edge; several parts where patches touch only at
        corners.
    """

    patches: NDArray[np.int64]
    peak_patch: int
    peak: float
    mean: float
    area_mm2: float
    l0_centroid_rc: tuple[float, float]
    geometry: Any

    @property
    def n_patches(self) -> int:
        """How many patches it has."""
        return len(self.patches)


def hot_spots(
    values: NDArray[np.float32],
    grid: TileGrid,
    threshold: float,
    *,
    below: bool = False,
    connectivity: Literal[4, 8] = 8,
    min_patches: int = 1,
) -> list[HotSpot]:
    """Find the regions of neighbouring patches at or above a threshold.

    Parameters
    ----------
    values : (N,) float32
        Values as shown (`MapView.values`); NaN belongs to no hot spot.
    grid : TileGrid
        The tiles.
    threshold : float
        On the scale shown.
    below : bool
        Regions below the threshold instead; their peak is the lowest value.
    connectivity : int
        8: patches that touch at an edge or a corner are neighbours; 4: at an edge only.
    min_patches : int
        Leave out regions with fewer.

    Returns
    -------
    list of HotSpot
        The highest peak first (with ``below`` the lowest), of equal ones the largest.
    """
    if values.shape != (len(grid),) or connectivity not in (4, 8):
        raise ValueError(f"need {len(grid)} values and 4 or 8, not {values.shape} and {connectivity}")
    seen = above(values, threshold)
    members = np.flatnonzero(~seen & ~np.isnan(values) if below else seen)
    if not len(members):
        return []
    region = _regions(grid.l0_centres()[members], grid.stride_l0, connectivity)
    order = np.argsort(region, kind="stable")
    ends = np.cumsum(np.bincount(region))
    boxes, apart = _boxes(grid, members)
    union = shapely.coverage_union_all if apart else shapely.union_all
    sign = -1 if below else 1
    found = [
        _hot_spot(members[part], values, grid, sign, union(boxes[part]))
        for part in np.split(order, ends[:-1])
        if len(part) >= min_patches
    ]
    return sorted(found, key=lambda spot: (-sign * spot.peak, -spot.n_patches, spot.peak_patch))


def _boxes(grid: TileGrid, members: NDArray[np.int64]) -> tuple[NDArray[np.object_], bool]:
    """Return the squares that patches stand for, and whether none overlaps another."""
    placed = lattice(grid)
    if placed is None:
        first = grid.l0_rc[members].astype(np.float64)
        last = first + grid.stride_l0
    else:
        # neighbours share their edges to the last digit, also where corners were rounded to whole pixels
        index, corner = placed[0][members], placed[1]
        first, last = corner + index * grid.stride_l0, corner + (index + 1) * grid.stride_l0
    margin = (grid.tile_l0 - grid.stride_l0) / 2
    (top, left), (bottom, right) = (first + margin).T, (last + margin).T
    apart = placed is not None and len(np.unique(placed[0][members], axis=0)) == len(members)
    return np.asarray(shapely.box(left, top, right, bottom), dtype=object), apart


def _regions(centres: NDArray[np.float64], stride: float, connectivity: int) -> NDArray[np.int32]:
    """Return the number of the region that each centre belongs to."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    pairs = KDTree(centres).query_pairs(_REACH * stride, p=np.inf, output_type="ndarray")
    if connectivity == 4:
        steps = np.abs(centres[pairs[:, 0]] - centres[pairs[:, 1]])
        pairs = pairs[steps.min(axis=1) < stride / 2]
    graph = coo_matrix((np.ones(len(pairs), np.bool_), pairs.T), shape=(len(centres),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1])


def _hot_spot(
    patches: NDArray[np.int64], values: NDArray[np.float32], grid: TileGrid, sign: int, geometry: Any
) -> HotSpot:
    own = values[patches]
    top = int(np.argmax(sign * own))
    row, col = (grid.l0_rc[patches] + grid.tile_l0 / 2).mean(axis=0)
    return HotSpot(
        patches,
        int(patches[top]),
        float(own[top]),
        float(own.mean(dtype=np.float64)),
        len(patches) * grid.tile_mm2,
        (float(row), float(col)),
        geometry,
    )
