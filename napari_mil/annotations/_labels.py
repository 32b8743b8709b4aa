"""Labels per tile from outlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from ._annotation import Annotation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tiling import TileGrid

# Cutting one tile from an outline costs its whole length, so long outlines are first cut into pieces this many
# tiles wide.
_PIECE_TILES = 16


def overlap_fraction(annotations: Sequence[Annotation], grid: TileGrid) -> NDArray[np.float64]:
    """Return the share of each tile that lies inside any of the outlines.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines; those that enclose no area (points, lines) count nothing, overlapping ones count once.
    grid : TileGrid
        The tiles.

    Returns
    -------
    (N,) float64
        In [0, 1].
    """
    fraction = np.zeros(len(grid))
    area = shapely.union_all([a.geometry for a in annotations if a.geometry.area > 0])
    if area.is_empty or not len(grid):
        return fraction
    left_top = grid.l0_rc[:, ::-1].astype(np.float64)
    boxes = shapely.box(*left_top.T, *(left_top + grid.tile_l0).T)
    shapely.prepare(area)
    touched = shapely.STRtree(boxes).query(area, predicate="intersects")
    inside = shapely.covers(area, boxes[touched])
    fraction[touched[inside]] = 1.0
    border = touched[~inside]
    pieces = _pieces(area, _PIECE_TILES * grid.tile_l0)
    tile, piece = shapely.STRtree(pieces).query(boxes[border])
    shared = shapely.area(shapely.intersection(boxes[border][tile], pieces[piece]))
    fraction[border] = np.bincount(tile, shared, minlength=len(border)) / grid.tile_l0**2
    return np.clip(fraction, 0.0, 1.0)


def _pieces(area: Any, edge: float) -> NDArray[np.object_]:
    """Return an area cut along a square lattice of this edge: the same area in many short outlines."""
    low_x, low_y, high_x, high_y = area.bounds
    x, y = np.meshgrid(np.arange(low_x, high_x, edge), np.arange(low_y, high_y, edge))
    cells = shapely.box(x.ravel(), y.ravel(), x.ravel() + edge, y.ravel() + edge)
    cells = cells[shapely.intersects(area, cells)]
    whole = shapely.covers(area, cells)
    return np.concatenate([cells[whole], shapely.intersection(cells[~whole], area)])


def tile_labels(annotations: Sequence[Annotation], grid: TileGrid, min_overlap: float = 0.5) -> NDArray[np.bool_]:
    """Tell which tiles lie inside the outlines by at least a given share of their area.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines.
    grid : TileGrid
        The tiles.
    min_overlap : float
        Least share of the tile's area, above 0 and up to 1; half by default.

    Returns
    -------
    (N,) bool
        True inside.

    Raises
    ------
    ValueError
        If ``min_overlap`` is not above 0 and up to 1.
    """
    if not 0 < min_overlap <= 1:
        raise ValueError(f"min_overlap must be above 0 and up to 1, not {min_overlap}")
    # areas are sums of rounded products: a tile cut exactly in half is in
    return np.asarray(overlap_fraction(annotations, grid) >= min_overlap - 1e-9)
