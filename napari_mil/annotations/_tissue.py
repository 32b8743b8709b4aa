"""Tissue masks from outlines that people drew, and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from ..errors import AnnotationError
from ..tiling import TissueMask, empty_mask, mask_polygons, mask_within, polygon_mask
from ._annotation import Annotation
from ._geojson import write_geojson
from ._read import read_annotations

if TYPE_CHECKING:
    from ..slides import Slide

_CLASS, _COLOUR = "Tissue", (31, 111, 63)


def read_tissue(path: str | os.PathLike[str], slide: Slide) -> TissueMask:
    """Read a tissue mask from outlines: QuPath GeoJSON or ASAP XML.

    Parameters
    ----------
    path : path
        The file; all areas in it are tissue.
    slide : Slide
        The slide; coordinates count from where what was scanned of it begins, as QuPath's do.

    Returns
    -------
    TissueMask
        At the resolution of `find_tissue`.

    Raises
    ------
    AnnotationError
        If the file cannot be read, holds no area, or lies beside the slide.
    """
    annotations = read_annotations(path, offset_xy=slide.bounds_origin_xy)
    areas = _areas(annotations, slide.shape, str(path))
    return polygon_mask(areas, empty_mask(slide), origin=f"read from {Path(path).name}")


def write_tissue(
    path: str | os.PathLike[str], mask: TissueMask, *, offset_xy: tuple[float, float] = (0.0, 0.0)
) -> Path:
    """Write a tissue mask as GeoJSON polygons of the class Tissue; `read_tissue` gives the same mask back.

    Parameters
    ----------
    path : path
        Where; a name ending in ``.gz`` is compressed.
    mask : TissueMask
        Where tissue is.
    offset_xy : (float, float)
        As in `write_geojson`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    AnnotationError
        If the disk refuses.
    """
    pieces = [Annotation("", _CLASS, polygon, _COLOUR) for polygon in mask_polygons(mask)]
    return write_geojson(path, pieces, offset_xy=offset_xy)


def tissue_within(mask: TissueMask, annotations: Sequence[Annotation], *, source: str = "annotations") -> TissueMask:
    """Keep the tissue that lies within outlines that people drew.

    Parameters
    ----------
    mask : TissueMask
        Where tissue is.
    annotations : sequence of Annotation
        The outlines.
    source : str
        Where they come from, for the error and the mask's origin.

    Returns
    -------
    TissueMask
        At the same resolution.

    Raises
    ------
    AnnotationError
        If they enclose no area, lie beside the slide, or no tissue lies within them.
    """
    shape = tuple(round(count * edge) for count, edge in zip(mask.mask.shape, mask.l0_per_px, strict=True))
    kept = mask_within(mask, _areas(annotations, (shape[0], shape[1]), source), origin=source)
    if mask.mask.any() and not kept.mask.any():
        raise AnnotationError(
            f"No tissue lies within the outlines of {source}. Draw them on tissue, or change where tissue is."
        )
    return kept


def _areas(annotations: Sequence[Annotation], shape: tuple[int, int], source: str) -> list[Any]:
    """Return the geometries that enclose an area, or say why there are none on a slide of this shape."""
    areas = [annotation.geometry for annotation in annotations if annotation.geometry.area > 0]
    if not areas:
        raise AnnotationError(
            f"{source} holds no outline that encloses an area. Draw polygons, rectangles or ellipses, not lines."
        )
    area = shapely.union_all(areas)
    slide = shapely.box(0, 0, shape[1], shape[0])
    if shapely.intersection(area, slide).area < area.area / 2:
        left, top, right, bottom = area.bounds
        raise AnnotationError(
            f"The outlines of {source} span x {left:.0f} to {right:.0f} and y {top:.0f} to {bottom:.0f}, mostly beside "
            f"the slide of {shape[1]} x {shape[0]} pixels. They belong to another slide or another scale."
        )
    return areas
