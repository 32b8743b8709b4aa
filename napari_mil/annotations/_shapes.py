"""Outlines drawn in napari: shapes by their corners, painted labels as polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from ..tiling import TissueMask, mask_polygons
from ._annotation import Annotation
from ._geometry import placed, union

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CORNERS = 64
"""Corners of the polygon that stands for an ellipse: its area is right to a fifth of a per cent."""


def shape_annotations(
    corners_xy: Sequence[NDArray[np.float64]],
    kinds: Sequence[str],
    *,
    belongs_to: Sequence[object] | None = None,
    holes: Sequence[bool] | None = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> list[Annotation]:
    """Return the areas of napari's shapes.

    Parameters
    ----------
    corners_xy : sequence of (K, 2) float64
        What napari holds of each shape, as (x, y) in level-0 pixels, (0, 0) at the slide's top-left corner; of an
        ellipse the four corners of the box about it.
    kinds : sequence of str
        "polygon", "rectangle", "ellipse" and closed "path" enclose an area; other kinds are left out.
    belongs_to : sequence of object, optional
        Shapes with equal values are parts and holes of one outline; None stands alone.
    holes : sequence of bool, optional
        Which shapes are holes in the outline that they belong to.
    class_names, names : sequence of str, optional
        Of each shape; an outline of several takes its first part's.

    Returns
    -------
    list of Annotation
        In the order in which they begin; those that enclose no area are left out.
    """
    edges: dict[object, list[int]] = {}
    cut: dict[object, list[int]] = {}
    areas: dict[int, Any] = {}
    crossed: set[int] = set()
    for number, (corners, kind) in enumerate(zip(corners_xy, kinds, strict=True)):
        ring = _ring(np.asarray(corners, np.float64), kind)
        if ring is None:
            continue
        geometries, repaired = placed([shapely.Polygon(ring)], (0.0, 0.0))
        if not geometries[0].area:  # a line, drawn there and back
            continue
        areas[number] = geometries[0]
        crossed |= {number} if repaired[0] else set()
        owner = belongs_to[number] if belongs_to is not None else None
        key: object = ("alone", number) if owner is None else ("outline", owner)
        is_hole = owner is not None and holes is not None and bool(holes[number])
        (cut if is_hole else edges).setdefault(key, []).append(number)
    found = []
    for key, parts in edges.items():
        geometry = shapely.difference(
            union(areas[part] for part in parts), union(areas[hole] for hole in cut.get(key, []))
        )
        first = parts[0]
        name = names[first] if names is not None else ""
        class_name = class_names[first] if class_names is not None else ""
        found.append(Annotation(name, class_name, geometry, None, not crossed.isdisjoint(parts)))
    return [annotation for annotation in found if not annotation.geometry.is_empty]


def _ring(corners: NDArray[np.float64], kind: str) -> NDArray[np.float64] | None:
    """Return the corners of what a shape encloses; None where it is a line."""
    if kind == "ellipse":
        middle, across, down = corners.mean(axis=0), (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
        angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)[:, None]
        return np.asarray(middle + np.cos(angle) * across + np.sin(angle) * down)
    if kind in ("polygon", "rectangle") or (kind == "path" and np.array_equal(corners[0], corners[-1])):
        return corners if len(corners) >= 3 else None
    return None


def label_annotations(
    labels: NDArray[np.integer], slide_shape: tuple[int, int], class_names: Mapping[int, str] | None = None
) -> list[Annotation]:
    """Return painted labels as polygons, holes included.

    Parameters
    ----------
    labels : (rows, cols) int
        0 is nothing; spans the whole slide, whatever its resolution.
    slide_shape : (int, int)
        Level-0 (height, width) in pixels.
    class_names : mapping of int to str, optional
        What each label means; by default its number.

    Returns
    -------
    list of Annotation
        One per connected area, label by label, the largest first. A label's pixel lies inside where its centre does.

    Raises
    ------
    ValueError
        If the array is not two-dimensional, is empty or finer than the slide.
    """
    found = []
    for label in np.unique(labels[labels != 0]):
        mask = TissueMask.from_labels(labels == label, slide_shape, None)
        class_name = (class_names or {}).get(int(label), str(label))
        found += [Annotation("", class_name, polygon, None) for polygon in mask_polygons(mask)]
    return found
