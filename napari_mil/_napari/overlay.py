"""The overlay: one raster Image layer that follows the settings of its map.

Every change of score, class, scale or threshold writes into the pixels that the layer has. Giving napari a new array,
or a colour map that begins at the threshold, costs several redraws; a fresh texture costs hardly more than one. What
was shown before is kept, so that going back computes nothing.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer

from ..maps import SCALES_FOR_KIND, Cuts, Painter, above, view_legend
from ..slides import slide_name
from .layers import KEY, placement
from .settings import HeatmapSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..maps import AttentionMap, MapView, ThresholdSummary
    from .reader import LayerData

_KEPT_VIEWS = 16  # of 100 000 patches about 2 MB each


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """One score, class and scale, ready for the screen: values as shown, their place along the colours, and cuts."""

    view: MapView
    values: NDArray[np.float32]
    pixels: NDArray[np.float32]
    cuts: Cuts


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
        self._painter = Painter(self.map.grid)
        self._kept: OrderedDict[tuple[str, str, int], _Shown] = OrderedDict()
        self._shown = self._prepared()
        self._summary: ThresholdSummary | None = None
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
            view = self._prepared().view
            if now[:2] != was[:2] or view.scale.diverging:
                chosen.threshold = view.limits[0]
        chosen.events.score.emit(chosen.score, was[0])

    @property
    def view(self) -> MapView:
        """What is shown of the map."""
        return self._shown.view

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value of the colour bar, on the displayed scale."""
        return self.view.limits

    def summary(self) -> ThresholdSummary:
        """Return what lies at or above the threshold."""
        if self._summary is None:
            self._summary = self._shown.cuts.at(self._cut)
        return self._summary

    def legend(self) -> str:
        """Return the words beside the map: model, score, class, scale, threshold, number of patches."""
        chosen = self.settings
        threshold = chosen.threshold if chosen.threshold > self.limits[0] else None
        return view_legend(self.map, self.view, threshold, self.summary())

    @property
    def _cut(self) -> float:
        """The threshold; at the scale's lower end nothing is hidden, also not what lies below it."""
        return -math.inf if self.settings.threshold <= self.limits[0] else self.settings.threshold

    def _prepared(self) -> _Shown:
        """Return what the settings ask for, from what is kept where it was shown before."""
        key = (self.settings.score, self.settings.scale, self.settings.class_index)
        if key not in self._kept:
            view = self.map.view(*key)
            values = self._painter.paint(view.values).values
            self._kept[key] = _Shown(view, values, view.scale.to_axis(values), Cuts(view, self.map.grid))
            if len(self._kept) > _KEPT_VIEWS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _show_values(self, *_: Any) -> None:
        self._shown = self._prepared()
        self._show_threshold()
        # either of these draws the layer's small picture anew
        limits = _axis_limits(self.view)
        if tuple(self.layer.contrast_limits) != limits:
            self.layer.contrast_limits_range = limits
            self.layer.contrast_limits = limits
        if self.layer.colormap.name != self.view.scale.colourmap:
            self.layer.colormap = self.view.scale.colourmap

    def _show_threshold(self, *_: Any) -> None:
        """Write what is at or above the threshold into the layer's pixels, NaN (transparent) elsewhere."""
        self._summary = None
        self.layer.data[...] = np.where(above(self._shown.values, self._cut), self._shown.pixels, np.nan)
        self.layer.refresh(extent=False, highlight=False, thumbnail=False)

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
    if overlay is not None:  # a duplicated layer shares its original's metadata and pixels, and must not drive it
        known = layer.metadata[KEY] = {**known, "settings": replace(overlay.settings)}
        layer.data = layer.data.copy()
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
    settings = HeatmapSettings(view.score, view.scale.name, amap.prediction.class_index, view.limits[0])
    raster = amap.raster(view.score, view.scale.name, view.class_index)
    place = placement(amap.slide.mpp)
    scale = place["scale"]
    attributes = {
        "name": f"{amap.model.title or amap.model.pooling} on {slide_name(amap.slide.path)}",
        "scale": tuple(raster.l0_step * s for s in scale),
        "translate": tuple(o * s for o, s in zip(raster.l0_origin, scale, strict=True)),
        "units": place["units"],
        "colormap": view.scale.colourmap,
        "contrast_limits": _axis_limits(view),
        "blending": "translucent_no_depth",
        "interpolation2d": "nearest",
        "opacity": settings.opacity,
        "metadata": {KEY: {"map": amap, "settings": settings}},
    }
    return view.scale.to_axis(raster.values), attributes, "image"


def axis_place(view: MapView, value: float) -> float:
    """Return where a shown value lies along the colours: itself, or its log10 on a log scale."""
    return float(view.scale.to_axis(np.array(value, np.float32)))


def _axis_limits(view: MapView) -> tuple[float, float]:
    low, high = view.limits
    return axis_place(view, low), axis_place(view, high)
