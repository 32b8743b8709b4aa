"""Labels per tile from outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from ._annotation import Annotation
from ._geometry import union
from ._roles import Roles, suggest_roles, target_area

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tiling import TileGrid

# Cutting one tile from an outline costs its whole length, so outlines with more corners are first cut into pieces.
_CORNERS = 64


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
    area = union(annotation.geometry for annotation in annotations)
    return _shares(area, grid.l0_rc[:, ::-1].astype(np.float64), grid.tile_l0)


def _shares(area: Any, left_top: NDArray[np.float64], edge: float) -> NDArray[np.float64]:
    """Return the share of each square that lies inside an area."""
    if area.is_empty or not len(left_top):
        return np.zeros(len(left_top))
    boxes = shapely.box(*left_top.T, *(left_top + edge).T)
    pieces = _pieces(area, edge)
    tile, piece = shapely.STRtree(pieces).query(boxes)
    shared = shapely.area(pieces)[piece]
    cut = ~shapely.contains_properly(boxes[tile], pieces[piece])
    shared[cut] = shapely.area(shapely.intersection(boxes[tile[cut]], pieces[piece[cut]]))
    return np.clip(np.bincount(tile, shared, minlength=len(boxes)) / edge**2, 0.0, 1.0)


def _pieces(area: Any, least: float) -> NDArray[np.object_]:
    """Return the same area in pieces of few corners, or of at most ``least`` pixels across, that do not overlap."""
    todo, done = shapely.get_parts(area), []
    while len(todo):
        left, top, right, bottom = shapely.bounds(todo).T
        wide = right - left >= bottom - top
        simple = (shapely.get_num_coordinates(todo) <= _CORNERS) | (np.maximum(right - left, bottom - top) <= least)
        done.append(todo[simple])
        middle_x, middle_y = np.where(wide, (left + right) / 2, right), np.where(wide, bottom, (top + bottom) / 2)
        next_x, next_y = np.where(wide, middle_x, left), np.where(wide, top, middle_y)
        halves = shapely.box(left, top, middle_x, middle_y), shapely.box(next_x, next_y, right, bottom)
        cut = np.concatenate([shapely.intersection(todo[~simple], half[~simple]) for half in halves])
        parts = shapely.get_parts(shapely.get_parts(cut))  # of a collection of areas and lines, of several areas
        todo = parts[shapely.area(parts) > 0]
    return np.concatenate(done)


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
