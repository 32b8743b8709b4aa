"""Reading and writing annotation files beside the window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AnnotationError
from ..progress import Progress
from .layers import mpp_of, slide_of
from .navigation import front_slide
from .outline_layers import MOST_OUTLINES, drawn_layer_data, editable, still_layer_data

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.layers import Layer

    from ..annotations import Annotation
    from ..progress import Steps
    from ..slides import SlideRef
    from .reader import LayerData

FILES = "Annotations (*.geojson *.geojson.gz *.json *.xml)"
TOO_MANY = (
    f"More than {MOST_OUTLINES:,} outlines, or very long ones: they are shown and measured, but cannot be edited here. "
    "Small ones are areas until you zoom in."
)
_ASAP_MARK = b"<ASAP_Annotations"


def is_annotation_file(path: str) -> bool:
    """Tell whether a path is by its ending GeoJSON, or by its first words ASAP XML."""
    name, file = path.lower(), Path(path)
    if not file.is_file():
        return False
    if name.endswith((".geojson", ".geojson.gz")):
        return True
    if not name.endswith(".xml"):
        return False
    with file.open("rb") as opened:
        return _ASAP_MARK in opened.read(4096)


def shown_ref(slide_layer: Layer) -> SlideRef:
    """Return which slide a layer shows, at the scale at which it is shown."""
    slide = slide_of(slide_layer)
    return replace(slide.ref, mpp=mpp_of(slide_layer))  # type: ignore[union-attr]


def slide_wanted(viewer: napari.Viewer, path: Path) -> Layer:
    """Return the layer of the slide in front, for a file of annotations, or say that there is none."""
    layer = front_slide(viewer)
    if layer is None:
        raise AnnotationError(f"Open the slide first, then drop {path.name} on it: it holds outlines, no picture.")
    return layer


def reading(path: Path, slide_layer: Layer) -> Steps[tuple[LayerData, str]]:
    """Return the work of reading a file for a slide; see `_read_steps`."""
    slide = slide_of(slide_layer)
    return _read_steps(path, shown_ref(slide_layer), slide.bounds_origin_xy)  # type: ignore[union-attr]


def _read_steps(path: Path, slide: SlideRef, offset_xy: tuple[float, float]) -> Steps[tuple[LayerData, str]]:
    """Read a file, hold it against the slide, and make a layer of it; return it with what to say of it."""
    from ..annotations import outlines_on_slide, read_annotations

    yield Progress("Reading outlines")
    found = read_annotations(path, offset_xy=offset_xy)
    if not found:
        raise AnnotationError(f"{path.name} holds no outlines. Draw some in the program that wrote it, and save again.")
    yield Progress("Placing outlines")
    outlines_on_slide(found, slide.shape, path.name)
    yield Progress("Drawing outlines")
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    if editable(found):
        return drawn_layer_data(found, slide, name), ""
    return still_layer_data(found, slide, name), TOO_MANY


def write_steps(
    make: Callable[[], list[Annotation]], path: Path, offset_xy: tuple[float, float]
) -> Steps[tuple[Path, int]]:
    """Write annotations as GeoJSON; return the file and how many outlines are in it."""
    from ..annotations import write_geojson

    yield Progress("Saving outlines")
    found = make()
    if not found:
        raise AnnotationError("Nothing is outlined yet: draw something first. Lines that are not closed do not count.")
    return write_geojson(path, found, offset_xy=offset_xy), len(found)
