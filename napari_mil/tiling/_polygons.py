"""A tissue mask as polygons, from polygons, and within polygons; geometry is (x, y), level-0 pixels, as in files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from ._grid import TissueMask
from ._outlines import traced_rings

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOLERANCE_PX = 0.3
"""Mask pixels by which polygons are simplified: borders run half a pixel from the nearest pixel centre, a diagonal one
0.35, so that every centre stays on its side and `polygon_mask` gives the very same mask back."""


def mask_polygons(mask: TissueMask) -> list[shapely.Polygon]:
    """Return the tissue as polygons, holes included.

    Parameters
    ----------
    mask : TissueMask
        Where tissue is.

    Returns
    -------
    list of shapely.Polygon
        (x, y), level-0 pixels, 0 being the slide's outer edge; the largest first. `polygon_mask` at the mask's own
        resolution gives the same mask back.
    """
    rings = [shapely.LinearRing(ring[:, ::-1]) for ring in traced_rings(mask, _TOLERANCE_PX)]
    if not rings:
        return []
    # sorts out which ring is an edge, a hole, or an island in a hole
    area = shapely.build_area(shapely.MultiLineString(rings))
    return sorted(shapely.get_parts(area), key=lambda polygon: -polygon.area)


def polygon_mask(polygons: Iterable[Any], like: TissueMask, *, origin: str = "polygons") -> TissueMask:
    """Make a mask of polygons.

    Parameters
    ----------
    polygons : iterable of shapely geometry
        (x, y), level-0 pixels; what encloses no area counts nothing, what overlaps counts once.
    like : TissueMask
        Gives slide and resolution, such as `empty_mask`. A pixel is tissue where its centre is inside.
    origin : str
        As in `TissueMask`.

    Returns
    -------
    TissueMask
        The mask.
    """
    return replace(like, mask=_filled(polygons, like.mask.shape, like.l0_per_px), threshold=None, origin=origin)


def mask_within(mask: TissueMask, polygons: Sequence[Any], *, origin: str = "polygons") -> TissueMask:
    """Keep the tissue that lies within polygons.

    Parameters
    ----------
    mask : TissueMask
        Where tissue is.
    polygons : sequence of shapely geometry
        (x, y), level-0 pixels.
    origin : str
        What the polygons are, a clause.

    Returns
    -------
    TissueMask
        At the same resolution.
    """
    kept = mask.mask & polygon_mask(polygons, mask).mask
    return replace(mask, mask=kept, origin=f"{mask.origin}, within {origin}")


def _filled(polygons: Iterable[Any], shape: tuple[int, ...], l0_per_px: tuple[float, float]) -> NDArray[np.bool_]:
    """Return which pixels have their centre inside, by counting the edges that a row of centres crosses."""
    area = shapely.disjoint_subset_union_all([polygon for polygon in polygons if polygon.area > 0])
    toggles = np.zeros((shape[0], shape[1] + 1), np.uint8)
    for ring in shapely.get_rings(shapely.get_parts(area)):
        _toggle(toggles, shapely.get_coordinates(ring) / l0_per_px[::-1])
    inside: NDArray[np.bool_] = np.bitwise_xor.accumulate(toggles, axis=1)[:, :-1].astype(bool)
    return inside


def _toggle(toggles: NDArray[np.uint8], ring: NDArray[np.float64]) -> None:
    """Mark, for each row of pixel centres that a closed ring (x, y) crosses, the first centre beyond the crossing."""
    (x0, y0), (x1, y1) = ring[:-1].T, ring[1:].T
    low, high = np.minimum(y0, y1), np.maximum(y0, y1)
    # half-open, so that a corner on a row of centres counts once
    first, last = (np.clip(np.ceil(y - 0.5), 0, len(toggles)).astype(np.int64) for y in (low, high))
    count = last - first
    edge = np.repeat(np.arange(len(count)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    x = x0[edge] + (row + 0.5 - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])
    col = np.clip(np.ceil(x - 0.5), 0, toggles.shape[1] - 1).astype(np.int64)
    np.bitwise_xor.at(toggles, (row, col), np.uint8(1))
