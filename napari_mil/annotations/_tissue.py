"""Tissue masks from outlines that people drew, and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AnnotationError, TilingError
from ..tiling import TISSUE_METHODS, TissueMask, empty_mask, find_tissue, mask_polygons, mask_within, polygon_mask
from ._annotation import Annotation
from ._geojson import write_geojson
from ._on_slide import outlines_on_slide
from ._read import read_annotations

if TYPE_CHECKING:
    from ..slides import Slide

_ENDINGS = (".geojson", ".geojson.gz", ".json", ".xml")
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


def resolve_tissue(
    slide: Slide,
    tissue: TissueMask | str | os.PathLike[str] | None = None,
    within: Sequence[Annotation] | str | os.PathLike[str] | None = None,
) -> TissueMask:
    """Return the tissue to work on: found, read or given, and within outlines where there are any.

    Parameters
    ----------
    slide : Slide
        The slide.
    tissue : TissueMask, path or None
        The mask, a file for `read_tissue`, a method of `find_tissue` ("grandqc"), or None to find it by colour.
    within : sequence of Annotation, path or None
        Outlines to stay within, or their file.

    Returns
    -------
    TissueMask
        The mask; may be empty.

    Raises
    ------
    AnnotationError
        If a file cannot be read or lies beside the slide, or no tissue lies within the outlines.
    TilingError
        If the mask was made for another slide.
    """
    if tissue is None:
        mask = find_tissue(slide)
    elif isinstance(tissue, TissueMask):
        mask = tissue
    elif os.fspath(tissue) in TISSUE_METHODS:
        mask = find_tissue(slide, method=os.fspath(tissue))
    else:
        mask = read_tissue(tissue, slide)
    if not mask.spans(slide.shape):
        height, width = (count * edge for count, edge in zip(mask.mask.shape, mask.l0_per_px, strict=True))
        raise TilingError(
            f"The tissue mask spans {width:.0f} x {height:.0f} pixels, the slide {slide.shape[1]} x {slide.shape[0]}: "
            "it was made for another slide. Find or draw the tissue of this one."
        )
    if within is None:
        return mask
    if isinstance(within, str | os.PathLike):
        outlines = read_annotations(within, offset_xy=slide.bounds_origin_xy)
        return tissue_within(mask, outlines, source=Path(within).name)
    return tissue_within(mask, within)


def outlines_for(path: str | os.PathLike[str], slide_names: Sequence[str]) -> list[Path]:
    """Return the annotation file of each of several slides.

    Parameters
    ----------
    path : path
        A folder with a file named after each slide (``<slide name>.geojson``, ``.geojson.gz``, ``.json`` or ``.xml``);
        for one slide also the file itself; or a method of `find_tissue`, which is passed on.
    slide_names : sequence of str
        Names of the slides, without endings.

    Returns
    -------
    list of Path
        One per slide.

    Raises
    ------
    AnnotationError
        If a slide has none, or there is one file for several slides.
    """
    place = Path(path)
    if os.fspath(path) in TISSUE_METHODS:
        return [place] * len(slide_names)
    if not place.is_dir():
        if len(slide_names) > 1:
            raise AnnotationError(
                f"{place} is one file for {len(slide_names)} slides. Give a folder with a file named after each slide, "
                f"such as {slide_names[0]}.geojson."
            )
        return [place]
    files = []
    for name in slide_names:
        found = [place / f"{name}{ending}" for ending in _ENDINGS if (place / f"{name}{ending}").is_file()]
        if not found:
            raise AnnotationError(
                f"{place} has no outlines for {name}. Put {name}.geojson there, or leave that slide out."
            )
        files.append(found[0])
    return files


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
            f"There is no outline in {source} that encloses an area. Draw polygons, rectangles or ellipses, not lines."
        )
    outlines_on_slide(annotations, shape, source)
    return areas
