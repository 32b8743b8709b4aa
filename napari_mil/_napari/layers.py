"""How slides, tissue outlines and annotations become napari layers, all in the same microns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..preferences import read_preferences
from ..slides import limit_tile_cache, slide_name
from .viewers import camera

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from napari.layers import Layer
    from numpy.typing import NDArray

    from ..annotations import Annotation
    from ..slides import Slide, SlideRef
    from ..tiling import TissueMask
    from .reader import LayerData

KEY = "napari_mil"
"""Where a layer's metadata carries what this plugin knows of it."""

LIVE_OF = "live_of"
"""Of which slide a provisional map is, in there."""


def placement(mpp: tuple[float, float] | None) -> dict[str, Any]:
    """Return the scale and units that put level-0 pixels into napari's world.

    Parameters
    ----------
    mpp : (float, float) or None
        Microns per level-0 pixel, (y, x); None shows the slide in pixels.

    Returns
    -------
    dict
        ``scale`` and ``units`` for a layer.
    """
    if mpp is None:
        return {"scale": (1.0, 1.0), "units": "pixel"}
    return {"scale": mpp, "units": "um"}


def slide_layer_data(slide: Slide) -> LayerData:
    """Return layer data of a slide: its lazy levels, in microns.

    Levels read themselves; through dask each pan would first build and run a graph.

    Parameters
    ----------
    slide : Slide
        An open slide; the layer's metadata keeps it open.

    Returns
    -------
    (data, attributes, "image")
        For a napari reader.
    """
    known = read_preferences()
    limit_tile_cache(None if known.tile_cache_gb is None else int(known.tile_cache_gb * 1e9))
    own = known.scales.get(slide.quickhash)
    # what was asked for at opening comes before what was set once
    given = own.mpp if own is not None and slide.mpp == slide.stated_mpp else None
    mpp = given or slide.mpp
    attributes = {
        "name": _slide_layer_name(slide, mpp),
        "multiscale": True,
        "rgb": True,
        "metadata": {KEY: {"slide": slide} | ({"mpp": given} if given is not None else {})},
        **placement(mpp),
    }
    return _levels(slide, known.true_colours), attributes, "image"


def slide_of(layer: Layer | None) -> Slide | None:
    """Return the slide that a layer shows, or None for any other layer.

    Parameters
    ----------
    layer : napari layer or None
        Any layer.

    Returns
    -------
    Slide or None
        The open slide.
    """
    return layer.metadata.get(KEY, {}).get("slide") if layer is not None else None


def rescale_slide(layer: Layer, mpp: tuple[float, float] | None) -> None:
    """Show a slide at the scale that a person gives, or at its own again.

    Parameters
    ----------
    layer : napari layer
        A slide's layer.
    mpp : (float, float) or None
        Microns per level-0 pixel, (y, x); None for what the slide was opened with.
    """
    known = {name: value for name, value in layer.metadata[KEY].items() if name != "mpp"}
    # a new dictionary: a duplicate of the layer holds the old one, and keeps its own scale
    layer.metadata[KEY] = known | ({"mpp": mpp} if mpp is not None else {})
    place = placement(mpp_of(layer))
    layer.scale = place["scale"]
    layer.units = place["units"]
    slide = slide_of(layer)
    if slide is not None:
        layer.name = _slide_layer_name(slide, mpp_of(layer))


def follow_scale(layer: Layer, old: tuple[float, float] | None, new: tuple[float, float] | None) -> None:
    """Keep a layer that lies on a slide's pixels, such as outlines that people drew, on them when their scale changes.

    Parameters
    ----------
    layer : napari layer
        Any layer; one of another scale than the slide's old one is left alone.
    old, new : (float, float) or None
        Microns per level-0 pixel, (y, x), before and after.
    """
    before, after = placement(old), placement(new)
    if layer.ndim != 2 or not np.allclose(layer.scale, before["scale"]):
        return
    moved = np.asarray(layer.translate) / before["scale"] * after["scale"]
    layer.scale, layer.translate, layer.units = after["scale"], moved, after["units"]


def fit_slide(viewer: napari.Viewer, layer: Layer, canvas_px: tuple[int, int]) -> None:
    """Show a slide as large as the canvas allows: what was scanned of it, where its file says so.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose camera is set.
    layer : napari layer
        A slide's.
    canvas_px : (int, int)
        Height and width of the canvas.
    """
    low, high = _scanned_world(layer)
    view = camera(viewer)
    view.center = (0.0, *(low + high) / 2)
    # what napari leaves around everything, too
    view.zoom = 0.95 * float(np.min(np.array(canvas_px) / (high - low)))


def _scanned_world(layer: Layer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the top left and bottom right corner of what was scanned, in world units."""
    slide = slide_of(layer)
    top, left, height, width = slide.scanned  # type: ignore[union-attr]
    scale, at = np.asarray(layer.scale[-2:]), np.asarray(layer.translate[-2:])
    return at + (np.array([top, left]) - 0.5) * scale, at + (np.array([top + height, left + width]) - 0.5) * scale


def show_true_colours(layer: Layer, true_colours: bool) -> None:
    """Show a slide in the colours that its profile gives, or in those stored.

    Parameters
    ----------
    layer : napari layer
        A slide's layer.
    true_colours : bool
        True for those of the profile.
    """
    slide = slide_of(layer)
    if slide is not None and slide.corrects_colours:
        layer.data = _levels(slide, true_colours)


def _levels(slide: Slide, true_colours: bool) -> Sequence[Any]:
    import napari

    if napari.current_viewer() is None:  # read by a script: nobody waits for a window
        return slide.levels(srgb=true_colours)
    from .streaming import screen_levels

    return screen_levels(slide, srgb=true_colours)


def _slide_layer_name(slide: Slide, mpp: tuple[float, float] | None) -> str:
    return slide.name if mpp is not None else f"{slide.name} (no scale: shown in pixels)"


def mpp_of(layer: Layer) -> tuple[float, float] | None:
    """Return the microns per level-0 pixel in force for a slide's layer: the user's, else the slide's own.

    Parameters
    ----------
    layer : napari layer
        A slide's layer.

    Returns
    -------
    (float, float) or None
        (y, x), or None where neither is known.
    """
    own: tuple[float, float] | None = layer.metadata.get(KEY, {}).get("mpp")
    slide = slide_of(layer)
    return own or (slide.mpp if slide is not None else None)


def made_from(layer: Layer) -> tuple[str, tuple[float, float] | None] | None:
    """Return from which slide, and at which scale, a map, a tissue outline or mask, or patches were made, else None.

    Parameters
    ----------
    layer : napari layer
        Any layer.

    Returns
    -------
    (str, (float, float) or None) or None
        Quickhash, and microns per level-0 pixel, (y, x).
    """
    known = layer.metadata.get(KEY, {})
    if "map" in known:
        return known["map"].slide.quickhash, known["map"].slide.mpp
    slide = next((known[key] for key in ("tissue_of", "mask_of", "bag_of", LIVE_OF) if key in known), None)
    return (slide, known["mpp"]) if slide is not None else None


def tissue_layer_data(mask: TissueMask, slide: SlideRef) -> LayerData:
    """Return layer data of the outline of the tissue.

    Parameters
    ----------
    mask : TissueMask
        Where tissue is.
    slide : SlideRef
        Whose tissue.

    Returns
    -------
    (data, attributes, "shapes")
        Closed lines, edges and holes alike.
    """
    from ..tiling import outlines

    extent = max(np.multiply(mask.mask.shape, mask.l0_per_px))
    known = {KEY: {"tissue_of": slide.quickhash, "mpp": mask.mpp, "tissue_key": hash(mask.mask.tobytes())}}
    # Lines live in the slide's pixels: wide enough to show at overview, thin enough not to hide cells up close.
    name, width = f"Tissue of {slide_name(slide.path)}", max(2.0, extent / 800)
    data, attributes, kind = _lines(outlines(mask), name, width=width, colour="#1f6f3f", mpp=mask.mpp)
    return data, {**attributes, "metadata": known}, kind


def annotation_layer_data(
    annotations: Sequence[Annotation], mpp: tuple[float, float] | None, extent_px: float, name: str
) -> LayerData:
    """Return layer data of outlines that people drew.

    Parameters
    ----------
    annotations : sequence of Annotation
        Geometry in level-0 pixels, (x, y).
    mpp : (float, float) or None
        Microns per level-0 pixel of the slide, (y, x).
    extent_px : float
        Longer edge of the slide in level-0 pixels, for the line width.
    name : str
        The layer's name.

    Returns
    -------
    (data, attributes, "shapes")
        Closed lines, exteriors and holes alike.
    """
    rings = [(ring, hole, n) for n, annotation in enumerate(annotations) for ring, hole in _rings(annotation)]
    lines = [ring for ring, _, _ in rings]
    data, attributes, kind = _lines(lines, name, width=max(2.0, extent_px / 800), colour="#e6001a", mpp=mpp)
    # which ring belongs to which outline, so that what is drawn can be read back as areas with holes
    features = {"outline": [n for _, _, n in rings], "hole": [hole for _, hole, _ in rings]}
    return data, {**attributes, "features": features}, kind


def _rings(annotation: Annotation) -> list[tuple[NDArray[np.float64], bool]]:
    """Return exteriors and holes as (K, 2) arrays, level-0 pixels, (row, col), and whether each is a hole."""
    parts = getattr(annotation.geometry, "geoms", [annotation.geometry])
    rings = []
    for part in parts:
        if part.geom_type == "Polygon":
            rings.append((np.asarray(part.exterior.coords)[:, 1::-1], False))
            rings += [(np.asarray(ring.coords)[:, 1::-1], True) for ring in part.interiors]
        else:
            rings.append((np.asarray(part.coords)[:, 1::-1], False))
    return rings


def _lines(
    rings: Sequence[NDArray[np.float64]], name: str, *, width: float, colour: str, mpp: tuple[float, float] | None
) -> LayerData:
    place = placement(mpp)
    # Outlines run along pixel edges (0 is the slide's corner); napari's 0 is the centre of the first pixel.
    half = tuple(-0.5 * s for s in place["scale"])
    attributes = {
        "name": name,
        "shape_type": "path",
        "edge_color": colour,
        "face_color": "transparent",
        "edge_width": width,
        "translate": half,
        "opacity": 0.9,
        **place,
    }
    return [_closed(ring) for ring in rings], attributes, "shapes"


def _closed(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a ring as a path that starts and ends halfway along its first edge, where no corner is left open.

    Paths, not polygons: napari would cut the inside of a polygon into triangles, which takes long and shows nothing.
    """
    ring = ring[:-1] if len(ring) > 1 and np.array_equal(ring[0], ring[-1]) else ring
    if len(ring) < 2:
        return np.vstack([ring, ring])
    middle = (ring[:1] + ring[1:2]) / 2
    return np.vstack([middle, ring[1:], ring[:1], middle])
