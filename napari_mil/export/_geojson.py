"""The map as tiles that QuPath opens, with colours and measurements."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ExportError
from ..files import replacing, text_writer
from ..maps import above, colours, score_title

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..maps import AttentionMap, MapView

_NAMESPACE = uuid.UUID("c3d1d5a4-52c1-5d3b-8f0a-6a1f6a2d9e10")


def write_map_geojson(
    path: str | os.PathLike[str],
    amap: AttentionMap,
    *,
    score: str | None = None,
    scale: str | None = None,
    class_index: int | None = None,
    threshold: float | None = None,
    offset_xy: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """Write a map's tiles as GeoJSON for QuPath: locked tile objects, coloured, with measurements.

    Each tile carries the raw score and the value shown. Its identifier is a version-5 UUID that follows from slide,
    model, score and place, so that writing the same map twice gives the same file.

    Parameters
    ----------
    path : path
        Where; a name ending in ``.gz`` is compressed (QuPath reads both).
    amap : AttentionMap
        The map.
    score, scale : str or None
        As in `AttentionMap.view`.
    class_index : int or None
        As in `AttentionMap.view`.
    threshold : float or None
        Write only tiles at or above it on the scale shown; None writes all.
    offset_xy : (float, float)
        Level-0 (x, y) of the corner of what QuPath shows: ``openslide.bounds-x`` and ``-y`` where a slide states them.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ExportError
        If the disk refuses.
    MapError
        As in `AttentionMap.view`.
    """
    view = amap.view(score, scale, class_index)
    chosen = np.isfinite(view.raw) & np.isfinite(view.values)
    if threshold is not None:
        chosen &= above(view.values, threshold)
    target = Path(path)
    with replacing(target, ExportError) as partial, text_writer(partial) as file:
        file.write('{"type":"FeatureCollection","features":[')
        separator = "\n"
        for feature in _features(amap, view, np.flatnonzero(chosen), offset_xy):
            file.write(separator)
            file.write(feature)
            separator = ",\n"
        file.write("\n]}\n")
    return target


def _features(
    amap: AttentionMap, view: MapView, tiles: NDArray[np.int64], offset_xy: tuple[float, float]
) -> Iterator[str]:
    """Yield one feature a tile as JSON, one at a time, so that memory stays flat."""
    left_top = np.round(amap.grid.l0_rc[:, ::-1] - np.asarray(offset_xy, np.float64), 2)
    edge = amap.grid.tile_l0
    rgb = colours(view)
    raw_name = score_title(view.kind, view.of)
    shown_name = f"{raw_name} ({view.scale.name})"
    identity = f"{amap.slide.quickhash}/{amap.model.title or amap.model.pooling}/{view.score}/{view.class_index}"
    for tile in tiles:
        x, y = (float(v) for v in left_top[tile])
        right, bottom = round(x + edge, 2), round(y + edge, 2)
        ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
        feature = {
            "type": "Feature",
            "id": str(uuid.uuid5(_NAMESPACE, f"{identity}/{x}/{y}")),
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {
                "objectType": "tile",
                "color": rgb[tile].tolist(),
                "isLocked": True,
                "measurements": {raw_name: float(view.raw[tile]), shown_name: float(view.values[tile])},
            },
        }
        yield json.dumps(feature, separators=(",", ":"), allow_nan=False)
