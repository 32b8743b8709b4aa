"""Annotations as layers: outlines to draw and edit, a still picture of very many, and back again as annotations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes

from ..annotations import Annotation, label_annotations, shape_annotations
from .layers import KEY, annotation_layer_data, placement, slide_of
from .outline_picture import Lines, outline_lines, painted
from .tissue import mask_of, why_no_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..slides import SlideRef
    from .reader import LayerData

MOST_OUTLINES, MOST_CORNERS = 2_000, 100_000
"""Beyond these napari takes seconds to show shapes, and to answer to each change of them."""

_WIDTH_PX = 2.5

Rgb = tuple[int, int, int]
# Okabe and Ito's, less what drowns in pink tissue; the first is napari-mil's own for annotations
_COLOURS: tuple[Rgb, ...] = ((230, 0, 26), (0, 114, 178), (0, 158, 115), (86, 180, 233), (213, 94, 0), (0, 0, 0))


def editable(annotations: Sequence[Annotation]) -> bool:
    """Tell whether napari can show outlines as shapes to edit without keeping people waiting."""
    import shapely

    corners = int(shapely.get_num_coordinates([one.geometry for one in annotations]).sum()) if annotations else 0
    return len(annotations) <= MOST_OUTLINES and corners <= MOST_CORNERS


def class_colours(annotations: Sequence[Annotation]) -> dict[str, Rgb]:
    """Return a colour for each class, the file's own where it states one."""
    found: dict[str, Rgb] = {}
    for one in annotations:
        if one.color is not None:
            found.setdefault(one.class_name, one.color)
    for name in sorted({one.class_name for one in annotations} - set(found)):
        free = [colour for colour in _COLOURS if colour not in found.values()]
        found[name] = free[0] if free else _COLOURS[len(found) % len(_COLOURS)]
    return found


def drawn_layer_data(annotations: Sequence[Annotation], slide: SlideRef, name: str) -> LayerData:
    """Return layer data of outlines to edit, or of an empty layer to draw in.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines; see `editable`.
    slide : SlideRef
        Whose, at the scale at which it is shown.
    name : str
        The layer's name.

    Returns
    -------
    (data, attributes, "shapes")
        Closed lines in the colours of their classes; the class is a feature of each.
    """
    data, attributes, kind = annotation_layer_data(annotations, slide.mpp, max(slide.shape), name)
    owner = [int(n) for n in attributes["features"]["outline"]]
    colours = class_colours(annotations)
    attributes["features"] = {
        # as floats: what is drawn by hand belongs to no outline, which only floats can say
        "outline": np.array(owner, np.float64),
        "hole": np.array(attributes["features"]["hole"], np.bool_),
        "class_name": np.array([annotations[n].class_name for n in owner], object),
        "name": np.array([annotations[n].name for n in owner], object),
    }
    # napari would have what is drawn next belong to the last outline of all
    last = annotations[owner[-1]].class_name if owner else ""
    attributes["feature_defaults"] = {"outline": np.nan, "hole": False, "class_name": last, "name": ""}
    if owner:
        attributes["edge_color"] = np.array([[*colours[annotations[n].class_name], 255] for n in owner]) / 255
    attributes["metadata"] = {KEY: {"annotation_of": slide.quickhash, "colours": colours}}
    return data, attributes, kind


def still_layer_data(annotations: Sequence[Annotation], slide: SlideRef, name: str) -> LayerData:
    """Return layer data of very many outlines: a picture of them, over which the canvas draws those large enough.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines.
    slide : SlideRef
        Whose.
    name : str
        The layer's name.

    Returns
    -------
    (data, attributes, "image")
        RGBA, of at most 2048 pixels along its longer edge.
    """
    colours = class_colours(annotations)
    lines = outline_lines(annotations, colours)
    picture = painted(annotations, colours, slide.shape)
    place = placement(slide.mpp)
    edge = np.asarray(slide.shape) / picture.shape[:2]
    attributes = {
        "name": name,
        "rgb": True,
        "scale": tuple(edge * place["scale"]),
        "translate": tuple((edge / 2 - 0.5) * place["scale"]),
        "units": place["units"],
        "blending": "translucent_no_depth",
        "metadata": {
            KEY: {
                "annotation_of": slide.quickhash,
                "colours": colours,
                "slide_shape": slide.shape,
                "annotations": tuple(annotations),
                "lines": lines,
                "picture": picture.copy(),
            }
        },
    }
    return picture, attributes, "image"


def lines_of(layer: Layer) -> Lines | None:
    """Return the lines of a layer made from `still_layer_data`, or None for any other."""
    found: Lines | None = layer.metadata.get(KEY, {}).get("lines") if isinstance(layer, Image) else None
    return found


def annotated_slide(layer: Layer | None) -> str | None:
    """Return the quickhash of the slide whose annotations a layer holds; None where the layer does not say."""
    found: str | None = layer.metadata.get(KEY, {}).get("annotation_of") if layer is not None else None
    return found


def fit_outlines(layer: Layer, zoom: float) -> None:
    """Keep the lines of annotations and tissue as wide on the screen as they were: up close they would hide cells.

    Parameters
    ----------
    layer : napari layer
        Any; what holds neither tissue nor annotations to edit is left alone.
    zoom : float
        Screen pixels per world unit.
    """
    if not isinstance(layer, Shapes) or (
        annotated_slide(layer) is None and "tissue_of" not in layer.metadata.get(KEY, {})
    ):
        return
    width = _WIDTH_PX / (zoom * float(np.min(layer.scale)))
    known = layer.metadata[KEY]
    if known.get("lines_of_width") != len(layer.data) or abs(known.get("width", 0.0) / width - 1) > 0.2:
        known["lines_of_width"], known["width"] = len(layer.data), width
        layer.current_edge_width = width
        layer.edge_width = [width] * len(layer.data)


def follow_own_scale(layer: Layer, old: tuple[float, float] | None, new: tuple[float, float] | None) -> None:
    """Keep annotations on their slide, whose scale changes.

    Parameters
    ----------
    layer : napari layer
        One that says whose annotations it holds.
    old, new : (float, float) or None
        Microns per level-0 pixel of the slide, (y, x), before and after.
    """
    before, after = placement(old), placement(new)
    ratio = np.asarray(after["scale"]) / before["scale"]
    layer.translate, layer.scale = np.asarray(layer.translate) * ratio, np.asarray(layer.scale) * ratio
    layer.units = after["units"]


def why_no_annotations(layer: Layer, slide_layer: Layer) -> str | None:
    """Return why a layer does not hold annotations of a slide, empty where it does; None for layers of other kinds."""
    slide = slide_of(slide_layer)
    if slide is None or "tissue_of" in layer.metadata.get(KEY, {}) or mask_of(layer) is not None:
        return None
    owner = annotated_slide(layer)
    if owner is not None:
        return "" if owner == slide.quickhash else None
    if isinstance(layer, Shapes):
        return "" if layer.ndim == 2 else "It is not flat."
    if isinstance(layer, Labels):
        return why_no_mask(layer, slide_layer)
    return None


def annotations_in(layer: Layer, slide_layer: Layer) -> Callable[[], list[Annotation]]:
    """Return what makes annotations of a layer as it is now; to be called in a thread.

    Parameters
    ----------
    layer : napari layer
        One of which `why_no_annotations` says nothing.
    slide_layer : napari layer
        The slide's.

    Returns
    -------
    callable
        Level-0 pixels, (x, y).
    """
    known = layer.metadata.get(KEY, {})
    if isinstance(layer, Shapes):
        return _drawn_in(layer, slide_layer, known.get("colours", {}))
    if isinstance(layer, Labels):
        shape = slide_of(slide_layer).shape  # type: ignore[union-attr]
        return partial(label_annotations, np.array(layer.data), shape)
    return partial(list, known["annotations"])


def set_class(layer: Shapes, class_name: str) -> None:
    """Give the selected shapes a class, and what is drawn from now on too."""
    colours: dict[str, Rgb] = layer.metadata.setdefault(KEY, {}).setdefault("colours", {})
    if class_name not in colours:
        colours.update(class_colours([*(Annotation("", k, None, v) for k, v in colours.items()), _named(class_name)]))
    features, chosen = _features(layer), sorted(layer.selected_data)
    if chosen:
        owners = set(features["outline"].iloc[chosen].dropna())
        rows = [n for n, owner in enumerate(features["outline"]) if n in layer.selected_data or owner in owners]
        features.loc[rows, "class_name"] = class_name
        edges = np.array(layer.edge_color)
        edges[rows] = np.array([*colours[class_name], 255]) / 255
        layer.edge_color = edges
    layer.features = features
    layer.feature_defaults = {"outline": np.nan, "hole": False, "class_name": class_name, "name": ""}
    layer.current_edge_color = "#{:02x}{:02x}{:02x}".format(*colours[class_name])


def _named(class_name: str) -> Annotation:
    return Annotation("", class_name, None, None)


def _features(layer: Shapes) -> Any:
    """Return a copy of a layer's features with all columns that annotations have."""
    # napari keeps the rows of a layer whose last shape has gone
    features = layer.features.iloc[: len(layer.data)].copy()
    for column, usual in (("outline", np.nan), ("hole", False), ("class_name", ""), ("name", "")):
        if column not in features:
            features[column] = usual
    features["class_name"] = features["class_name"].astype(object)
    return features


def _drawn_in(layer: Shapes, slide_layer: Layer, colours: dict[str, Rgb]) -> Callable[[], list[Annotation]]:
    rings, kinds = [np.array(ring, np.float64) for ring in layer.data], list(layer.shape_type)
    features, place = _features(layer), _to_slide(layer, slide_layer)
    owners = [owner if owner == owner else None for owner in features["outline"]]
    holes = [hole == 1 for hole in features["hole"]]
    class_names, names = ([_word(word) for word in features[column]] for column in ("class_name", "name"))

    def made() -> list[Annotation]:
        corners = [
            place(_as_loaded(ring) if owner is not None else ring) for ring, owner in zip(rings, owners, strict=True)
        ]
        # a ring that was loaded stays one, also where somebody has pulled its end away
        whole = ["polygon" if owner is not None else kind for owner, kind in zip(owners, kinds, strict=True)]
        found = shape_annotations(corners, whole, belongs_to=owners, holes=holes, class_names=class_names, names=names)
        return [replace(one, color=colours.get(one.class_name)) for one in found]

    return made


def _as_loaded(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a ring without the point halfway along its first edge at which its layer has it begin and end."""
    if (
        len(ring) > 4
        and np.array_equal(ring[0], ring[-1])
        and np.allclose(ring[0], (ring[1] + ring[-2]) / 2, atol=1e-6)
    ):
        return ring[1:-1]
    return ring


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _to_slide(layer: Layer, slide_layer: Layer) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return what takes (row, col) in a layer to the slide's level-0 pixels, (x, y), pixel edges on whole numbers."""
    origin, down, right = (np.asarray(layer.data_to_world(p))[-2:] for p in ((0, 0), (1, 0), (0, 1)))
    at, scale = np.asarray(slide_layer.translate[-2:]), np.asarray(slide_layer.scale[-2:])

    def placed(ring: NDArray[np.float64]) -> NDArray[np.float64]:
        # no matrix product, which rounds a ring's last corner otherwise than its first: it would not close any more
        world = ring[:, -2:-1] * (down - origin) + ring[:, -1:] * (right - origin) + origin
        return np.asarray(((world - at) / scale + 0.5)[:, ::-1])

    return placed
