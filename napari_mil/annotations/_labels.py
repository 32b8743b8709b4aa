"""Labels per tile from outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from ._annotation import Annotation
from ._roles import Roles, suggest_roles, target_area

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
    area = shapely.union_all([a.geometry for a in annotations if a.geometry.area > 0])
    return _shares(area, grid.l0_rc[:, ::-1].astype(np.float64), grid.tile_l0)


def _shares(area: Any, left_top: NDArray[np.float64], edge: float) -> NDArray[np.float64]:
    """Return the share of each square that lies inside an area."""
    fraction = np.zeros(len(left_top))
    if area.is_empty or not len(left_top):
        return fraction
    boxes = shapely.box(*left_top.T, *(left_top + edge).T)
    shapely.prepare(area)
    touched = shapely.STRtree(boxes).query(area, predicate="intersects")
    inside = shapely.covers(area, boxes[touched])
    fraction[touched[inside]] = 1.0
    border = touched[~inside]
    pieces = _pieces(area, _PIECE_TILES * edge)
    tile, piece = shapely.STRtree(pieces).query(boxes[border])
    shared = shapely.area(shapely.intersection(boxes[border][tile], pieces[piece]))
    fraction[border] = np.bincount(tile, shared, minlength=len(border)) / edge**2
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
    _check_share(min_overlap)
    return _enough(overlap_fraction(annotations, grid), min_overlap)


@dataclass(frozen=True, slots=True, eq=False)
class PatchLabels:
    """Which patches are the target, by a rule that can be stated.

    Parameters
    ----------
    target : (N,) bool
        True where at least ``min_overlap`` of the patch is.
    overlap : (N,) float64
        Share of each patch that is target, in [0, 1].
    cell_overlap : (N,) float64
        The same of the square of one stride about its centre, for which a patch stands; ``overlap`` itself where
        patches do not overlap.
    area : shapely geometry
        The target, (x, y), level-0 pixels, (0, 0) at the slide's corner; may be empty.
    cell_l0 : float
        Edge of that square in level-0 pixels.
    roles : Roles
        What the classes of the outlines were taken for.
    min_overlap : float
        The rule's share.
    """

    target: NDArray[np.bool_]
    overlap: NDArray[np.float64]
    cell_overlap: NDArray[np.float64]
    area: Any
    cell_l0: float
    roles: Roles
    min_overlap: float

    @property
    def rule(self) -> str:
        """The rule in words."""
        return f"A patch is target where at least {self.min_overlap:.0%} of its area is. {self.roles.sentence}"

    @property
    def covered(self) -> float:
        """Share of the target's area that lies in patches, in [0, 1]; NaN where there is no target."""
        whole = self.area.area
        return min(1.0, float(self.cell_overlap.sum()) * self.cell_l0**2 / whole) if whole > 0 else float("nan")


def label_patches(
    annotations: Sequence[Annotation], grid: TileGrid, roles: Roles | None = None, *, min_overlap: float = 0.5
) -> PatchLabels:
    """Label the patches of a grid by outlines.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines.
    grid : TileGrid
        The tiles.
    roles : Roles or None
        What their classes mean; None takes `suggest_roles`.
    min_overlap : float
        Least share of a patch's area, above 0 and up to 1; half by default.

    Returns
    -------
    PatchLabels
        Labels, and the shares that they follow from.
    """
    _check_share(min_overlap)
    roles = suggest_roles(annotations) if roles is None else roles
    area = target_area(annotations, roles)
    left_top = grid.l0_rc[:, ::-1].astype(np.float64)
    overlap = _shares(area, left_top, grid.tile_l0)
    margin = (grid.tile_l0 - grid.stride_l0) / 2
    cell_overlap = overlap if margin == 0 else _shares(area, left_top + margin, grid.stride_l0)
    labels = _enough(overlap, min_overlap)
    return PatchLabels(labels, overlap, cell_overlap, area, grid.stride_l0, roles, min_overlap)


def _check_share(min_overlap: float) -> None:
    if not 0 < min_overlap <= 1:
        raise ValueError(f"min_overlap must be above 0 and up to 1, not {min_overlap}")


def _enough(overlap: NDArray[np.float64], min_overlap: float) -> NDArray[np.bool_]:
    # areas are sums of rounded products: a tile cut exactly in half is in
    return np.asarray(overlap >= min_overlap - 1e-9)
