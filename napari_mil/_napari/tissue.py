"""Tissue masks as Labels layers to paint in, and outlines drawn in Shapes layers, both in the slide's own pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..annotations import Annotation, shape_annotations
from ..tiling import TissueMask
from .layers import KEY, mpp_of, placement, slide_of

if TYPE_CHECKING:
    from napari.layers import Layer, Shapes
    from numpy.typing import NDArray

    from ..slides import Slide, SlideRef
    from .reader import LayerData

_COLOUR = (0.12, 0.55, 0.27, 1.0)
_BRUSH_PX = 20
_MOST_PX = 64_000_000
"""A Labels layer with more pixels is too fine for a mask: the sums over its tiles would fill the memory."""


def mask_layer_data(mask: TissueMask, slide: SlideRef) -> LayerData:
    """Return layer data of a mask, to paint and erase in.

    Parameters
    ----------
    mask : TissueMask
        Where tissue is.
    slide : SlideRef
        Whose tissue.

    Returns
    -------
    (data, attributes, "labels")
        1 on tissue; any label that is painted counts as tissue.
    """
    from napari.utils.colormaps import DirectLabelColormap

    attributes = {
        "name": "Tissue mask",
        "opacity": 0.4,
        "colormap": DirectLabelColormap(color_dict={0: "transparent", None: _COLOUR}),
        "metadata": {KEY: {"mask_of": slide.quickhash, "mpp": mask.mpp, "origin": mask.origin}},
        **_mask_placement(mask.l0_per_px, mask.mpp),
    }
    return mask.to_labels(), attributes, "labels"


def prepare_painting(layer: Layer) -> None:
    """Set a mask's layer up for napari's brush: tissue as the label, a brush that shows at overview."""
    layer.selected_label = 1
    layer.brush_size = _BRUSH_PX


def mask_of(layer: Layer) -> str | None:
    """Return the quickhash of the slide whose tissue mask a layer was made for, or None for any other layer."""
    found: str | None = layer.metadata.get(KEY, {}).get("mask_of")
    return found


def follow_slide(layer: Layer, slide: Slide, mpp: tuple[float, float] | None) -> None:
    """Keep a mask on its slide, whose scale changes.

    Parameters
    ----------
    layer : napari layer
        Any layer; one that is no mask of the slide is left alone.
    slide : Slide
        The slide.
    mpp : (float, float) or None
        Microns per level-0 pixel, (y, x), from now on.
    """
    if mask_of(layer) != slide.quickhash:
        return
    l0_per_px = _l0_per_px(layer, slide)
    for name, value in _mask_placement((l0_per_px[0], l0_per_px[1]), mpp).items():
        setattr(layer, name, value)
    layer.metadata[KEY]["mpp"] = mpp


def why_no_mask(layer: Layer, slide_layer: Layer) -> str:
    """Return why a Labels layer cannot be a slide's tissue mask; empty where it can.

    Parameters
    ----------
    layer : napari.layers.Labels
        Any.
    slide_layer : napari layer
        The slide's.

    Returns
    -------
    str
        A sentence.
    """
    slide = slide_of(slide_layer)
    if slide is None or layer.ndim != 2 or layer.multiscale:
        return "It is not a flat picture."
    own, scale = np.asarray(layer.scale), np.asarray(slide_layer.scale[-2:])
    extent, size = np.asarray(slide.shape) * scale, np.asarray(layer.data.shape) * own
    corner = np.asarray(layer.translate) - own / 2 - (np.asarray(slide_layer.translate[-2:]) - scale / 2)
    slack = 0.5 * np.maximum(own, scale)
    if (np.abs(corner) > slack).any() or (np.abs(size - extent) > slack).any():
        return "It does not lie exactly on the slide."
    if layer.data.size > _MOST_PX:
        return "It is too fine for a mask: use Show tissue."
    return ""


def read_mask(layer: Layer, slide_layer: Layer) -> TissueMask:
    """Return what is painted in a Labels layer, at this moment, as a mask.

    Parameters
    ----------
    layer : napari.layers.Labels
        One of which `why_no_mask` says nothing.
    slide_layer : napari layer
        The slide's.

    Returns
    -------
    TissueMask
        A copy.
    """
    slide = slide_of(slide_layer)
    labels = np.asarray(layer.data)
    return TissueMask.from_labels(
        labels,
        slide.shape,  # type: ignore[union-attr]
        mpp_of(slide_layer),
        origin=f'layer "{layer.name}"',
    )


def read_outlines(layer: Shapes, slide_layer: Layer) -> list[Annotation]:
    """Return the areas drawn in a Shapes layer, in the slide's level-0 pixels, (x, y).

    Parameters
    ----------
    layer : napari.layers.Shapes
        Polygons, rectangles, ellipses and closed paths count; of outlines that were loaded, holes stay holes.
    slide_layer : napari layer
        The slide's.

    Returns
    -------
    list of Annotation
        One each.
    """
    corners = [_to_l0_xy(np.asarray(ring), layer, slide_layer) for ring in layer.data]
    features = layer.features
    owners: list[Any] | None = None
    if "outline" in features and "hole" in features:
        # what was drawn by hand in a layer of loaded outlines only inherits their features
        owners = [
            owner if kind == "path" and owner == owner else None
            for owner, kind in zip(features["outline"], layer.shape_type, strict=True)
        ]
    holes = [bool(hole == 1) for hole in features["hole"]] if owners is not None else None
    return shape_annotations(corners, layer.shape_type, belongs_to=owners, holes=holes)


def _to_l0_xy(ring: NDArray[np.float64], layer: Layer, slide_layer: Layer) -> NDArray[np.float64]:
    world = np.stack([layer.data_to_world(point) for point in ring])[:, -2:]
    pixel = (world - np.asarray(slide_layer.translate[-2:])) / np.asarray(slide_layer.scale[-2:])
    # napari's whole numbers are pixel centres, those of outlines are pixel edges
    return np.asarray((pixel + 0.5)[:, ::-1])


def _l0_per_px(layer: Layer, slide: Slide) -> list[float]:
    return [length / count for length, count in zip(slide.shape, layer.data.shape, strict=True)]


def _mask_placement(l0_per_px: tuple[float, float], mpp: tuple[float, float] | None) -> dict[str, Any]:
    """Return scale, translate and units by which mask pixels cover the slide's pixels edge to edge."""
    place = placement(mpp)
    scale = np.asarray(place["scale"])
    edge = np.asarray(l0_per_px)
    return {**place, "scale": tuple(scale * edge), "translate": tuple((edge / 2 - 0.5) * scale)}
