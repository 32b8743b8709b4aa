"""A map as layer data: where its raster lies, what is shown of it at first, and what was kept of it before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..maps import SCALES_FOR_KIND
from ..slides import slide_name
from .layers import KEY, placement
from .settings import HeatmapSettings, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..maps import AttentionMap, MapView, Raster
    from .reader import LayerData


def overlay_layer_data(amap: AttentionMap, shown: Mapping[str, Any] | None = None) -> LayerData:
    """Return layer data of a map on its default score and scale, nothing cut off.

    Parameters
    ----------
    amap : AttentionMap
        The map.
    shown : mapping, optional
        How it was shown before; its overlay goes on from there.

    Returns
    -------
    (data, attributes, "image")
        A raster of one pixel per tile, NaN (transparent) outside the tiles, placed in microns where the slide has a
        scale.
    """
    view = amap.view()
    settings = HeatmapSettings(view.score, view.scale.name, amap.prediction.class_index, view.lowest)
    raster = amap.raster(view.score, view.scale.name, view.class_index)
    attributes = {
        "name": f"{amap.model.title or amap.model.pooling} on {slide_name(amap.slide.path)}",
        **raster_place(amap, raster, 1),
        "units": placement(amap.slide.mpp)["units"],
        "colormap": view.scale.colourmap,
        "contrast_limits": axis_limits(view),
        "blending": "translucent_no_depth",
        "interpolation2d": "nearest",
        "opacity": settings.opacity,
        "metadata": {KEY: {"map": amap, "settings": settings, "shown": dict(shown or {})}},
    }
    return view.scale.to_axis(raster.values), attributes, "image"


def raster_place(amap: AttentionMap, raster: Raster, factor: int) -> dict[str, tuple[float, float]]:
    """Return scale and translation of a raster whose cells are drawn with so many pixels along their edge."""
    scale = placement(amap.slide.mpp)["scale"]
    step = raster.l0_step / factor
    # the first pixel's centre lies half a cell less half a pixel before the first cell's
    first = [origin - (raster.l0_step - step) / 2 for origin in raster.l0_origin]
    return {
        "scale": (step * scale[0], step * scale[1]),
        "translate": (first[0] * scale[0], first[1] * scale[1]),
    }


def kept_settings(amap: AttentionMap, record: Mapping[str, Any]) -> HeatmapSettings:
    """Return kept settings as far as the map has what they name, and the usual ones for the rest."""
    view = amap.view()
    usual = HeatmapSettings(view.score, view.scale.name, amap.prediction.class_index, view.lowest)
    kept = read_settings(record, usual)
    known = kept.score in amap.scores and 0 <= kept.class_index < len(amap.prediction.class_names)
    if not known or kept.scale not in SCALES_FOR_KIND[amap.scores[kept.score].kind]:
        return usual
    shown = amap.view(kept.score, kept.scale, kept.class_index)
    if kept.colours not in shown.scale.colourmaps:
        kept.colours = ""
    kept.threshold = min(max(kept.threshold, shown.lowest), float(np.nextafter(np.float32(shown.highest), np.inf)))
    return kept


def axis_place(view: MapView, value: float) -> float:
    """Return where a shown value lies along the colours: itself, or its log10 on a log scale."""
    return float(view.scale.to_axis(np.array(value, np.float32)))


def axis_limits(view: MapView) -> tuple[float, float]:
    low, high = view.limits
    return axis_place(view, low), axis_place(view, high)
