"""The overlay: one raster Image layer that follows the settings of its map.

Only a change of score, class or scale touches pixels. Threshold and opacity are the layer's own limits: the display
does them, nothing is computed again.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from napari.utils.colormaps import Colormap, ensure_colormap

from ..maps import SCALES_FOR_KIND, summarise, view_legend
from ..slides import slide_name
from .layers import KEY, placement
from .settings import HeatmapSettings

if TYPE_CHECKING:
    from ..maps import AttentionMap, MapView, ThresholdSummary
    from .reader import LayerData

_COLOURS = 256


class Overlay:
    """A map, what is chosen to be seen of it, and the layer that shows it.

    Parameters
    ----------
    layer : napari.layers.Image
        Made from `overlay_layer_data`.
    """

    def __init__(self, layer: Image) -> None:
        self.layer = layer
        self.map: AttentionMap = layer.metadata[KEY]["map"]
        self.settings: HeatmapSettings = layer.metadata[KEY]["settings"]
        self.view: MapView = _view(self.map, self.settings)
        events = self.settings.events
        for name in ("score", "class_index", "scale"):
            getattr(events, name).connect(self._show_values)
        events.threshold.connect(self._show_threshold)
        events.opacity.connect(self._show_opacity)
        layer.events.opacity.connect(self._take_opacity)

    def choose(self, *, score: str | None = None, class_index: int | None = None, scale: str | None = None) -> None:
        """Show another score, class or scale; what is not honest for the score falls back to its default scale.

        Parameters
        ----------
        score, scale : str or None
            None keeps the present one.
        class_index : int or None
            None keeps the present one.
        """
        chosen = self.settings
        name = chosen.score if score is None else score
        honest = SCALES_FOR_KIND[self.map.scores[name].kind]
        wanted = chosen.scale if scale is None else scale
        index = chosen.class_index if class_index is None else class_index
        was = (chosen.score, chosen.scale, chosen.class_index)
        now = (name, wanted if wanted in honest else honest[0], index)
        if now == was:
            return
        # One redraw for all three, and a threshold that means nothing on the new scale goes back to its lowest.
        with chosen.events.blocked():
            chosen.score, chosen.scale, chosen.class_index = now
            view = _view(self.map, chosen)
            if now[:2] != was[:2] or view.scale.diverging:
                chosen.threshold = view.limits[0]
        chosen.events.score.emit(chosen.score, was[0])

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value of the colour bar, on the displayed scale."""
        return self.view.limits

    def summary(self) -> ThresholdSummary:
        """Return what lies at or above the threshold."""
        # at the scale's lower end nothing is hidden, also not what lies below it
        everything = self.settings.threshold <= self.limits[0]
        return summarise(self.view, self.map.grid, -math.inf if everything else self.settings.threshold)

    def legend(self) -> str:
        """Return the words beside the map: model, score, class, scale, threshold, number of patches."""
        chosen = self.settings
        threshold = chosen.threshold if chosen.threshold > self.limits[0] else None
        return view_legend(self.map, self.view, threshold)

    def _show_values(self, *_: Any) -> None:
        self.view = _view(self.map, self.settings)
        self.layer.data = _pixels(self.map, self.view)
        self._show_threshold()

    def _show_threshold(self, *_: Any) -> None:
        low, high = _axis_limits(self.view)
        cut = min(max(axis_place(self.view, self.settings.threshold), low), high)
        self.layer.contrast_limits_range = (_contrast(low, low, high)[0], high)
        self.layer.contrast_limits = _contrast(cut, low, high)
        self.layer.colormap = _colormap(self.view, cut)

    def _show_opacity(self, *_: Any) -> None:
        self.layer.opacity = self.settings.opacity

    def _take_opacity(self, *_: Any) -> None:
        # napari's own slider moves it too
        if self.settings.opacity != self.layer.opacity:
            self.settings.opacity = self.layer.opacity


def overlay_of(layer: Layer | None) -> Overlay | None:
    """Return the overlay that a layer shows, or None for any other layer.

    Parameters
    ----------
    layer : napari layer or None
        Any layer.

    Returns
    -------
    Overlay or None
        One and the same object at every call.
    """
    if not isinstance(layer, Image) or "map" not in layer.metadata.get(KEY, {}):
        return None
    layer = getattr(layer, "__wrapped__", layer)  # napari hands its layers to widgets behind a proxy
    known = layer.metadata[KEY]
    overlay: Overlay | None = known.get("overlay")
    if overlay is not None and overlay.layer is layer:
        return overlay
    if overlay is not None:  # a duplicated layer shares its original's metadata, and must not drive it
        known = layer.metadata[KEY] = {**known, "settings": replace(overlay.settings)}
    known["overlay"] = Overlay(layer)
    made: Overlay = known["overlay"]
    return made


def overlay_layer_data(amap: AttentionMap) -> LayerData:
    """Return layer data of a map on its default score and scale, nothing cut off.

    Parameters
    ----------
    amap : AttentionMap
        The map.

    Returns
    -------
    (data, attributes, "image")
        A raster of one pixel per tile, NaN (transparent) outside the tiles, placed in microns where the slide has a
        scale.
    """
    view = amap.view()
    low, high = _axis_limits(view)
    settings = HeatmapSettings(view.score, view.scale.name, amap.prediction.class_index, view.limits[0])
    raster = amap.raster(view.score, view.scale.name, view.class_index)
    place = placement(amap.slide.mpp)
    scale = place["scale"]
    attributes = {
        "name": f"{amap.model.title or amap.model.pooling} on {slide_name(amap.slide.path)}",
        "scale": tuple(raster.l0_step * s for s in scale),
        "translate": tuple(o * s for o, s in zip(raster.l0_origin, scale, strict=True)),
        "units": place["units"],
        "colormap": _colormap(view, low),
        "contrast_limits": _contrast(low, low, high),
        "blending": "translucent_no_depth",
        "interpolation2d": "nearest",
        "opacity": settings.opacity,
        "metadata": {KEY: {"map": amap, "settings": settings}},
    }
    return _pixels(amap, view), attributes, "image"


def _view(amap: AttentionMap, settings: HeatmapSettings) -> MapView:
    return amap.view(settings.score, settings.scale, settings.class_index)


def _pixels(amap: AttentionMap, view: MapView) -> Any:
    values = amap.raster(view.score, view.scale.name, view.class_index).values
    return view.scale.to_axis(values)


def axis_place(view: MapView, value: float) -> float:
    """Return where a shown value lies along the colours: itself, or its log10 on a log scale."""
    return float(view.scale.to_axis(np.array(value, np.float32)))


def _axis_limits(view: MapView) -> tuple[float, float]:
    low, high = view.limits
    return axis_place(view, low), axis_place(view, high)


def _contrast(cut: float, low: float, high: float) -> tuple[float, float]:
    """Return contrast limits that begin at the cut; never empty, so that the highest patch stays visible.

    The display hides what is at or below its lower limit, but patches at the cut belong to it: begin a hair below.
    """
    hair = 1e-5 * (high - low)
    return min(cut, high - 10 * hair) - hair, high


def _colormap(view: MapView, cut: float) -> Colormap:
    """Return the scale's colours from the cut upwards, transparent below it.

    The layer's lower limit is the cut, which alone would stretch the colours over what is left; taking the same part
    of the colour map keeps each value its colour while the threshold moves.
    """
    low, high = _axis_limits(view)
    base = ensure_colormap(view.scale.colourmap)
    start = (cut - low) / (high - low)
    colours = np.array(base.map(np.linspace(min(start, 1.0), 1, _COLOURS)), np.float32)
    name = view.scale.colourmap if start <= 0 else f"{view.scale.colourmap} above threshold"
    clear_below = (0, 0, 0, 0) if start > 0 else None
    return Colormap(colours, name=name, low_color=clear_below)
