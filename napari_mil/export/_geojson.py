"""The map as tiles, hot spots and an outline that QuPath opens, with colours and measurements."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from ..errors import ExportError
from ..files import replacing, text_writer
from ..maps import colours, hot_spots, score_title
from ._display import Display

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from ..maps import AttentionMap, HotSpot, MapView

_NAMESPACE = uuid.UUID("c3d1d5a4-52c1-5d3b-8f0a-6a1f6a2d9e10")


def write_map_geojson(
    path: str | os.PathLike[str],
    amap: AttentionMap,
    *,
    display: Display | None = None,
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
    display : Display or None
        Which score, class, scale and colours, and which tiles: those shown. None writes all, as at first in the window.
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
    shown = display or Display()
    view = shown.view(amap)
    chosen = np.flatnonzero(np.isfinite(view.raw) & shown.shows(view.values))
    return _write(Path(path), _tiles(amap, view, chosen, colours(view, shown.colours), offset_xy))


def write_hot_spots_geojson(
    path: str | os.PathLike[str],
    amap: AttentionMap,
    *,
    display: Display,
    offset_xy: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """Write the regions of neighbouring patches that the threshold leaves, as annotations for QuPath.

    Each carries its number (the highest peak first), area, number of patches, peak and mean as measurements.

    Parameters
    ----------
    path : path
        Where; a name ending in ``.gz`` is compressed.
    amap : AttentionMap
        The map.
    display : Display
        Which score, class and scale, and the threshold.
    offset_xy : (float, float)
        As in `write_map_geojson`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ExportError
        If no threshold is chosen, or the disk refuses.
    MapError
        As in `AttentionMap.view`.
    """
    view = display.view(amap)
    spots = shown_hot_spots(amap, view, display)
    return _write(Path(path), _spots(amap, view, spots, offset_xy))


def shown_hot_spots(amap: AttentionMap, view: MapView, display: Display) -> list[HotSpot]:
    """Return the hot spots above the threshold (below it where that is shown), or say that there is no threshold."""
    if display.threshold is None:
        raise ExportError(
            "Hot spots are regions above a threshold, and none is chosen. Choose one (--threshold on the command line)."
        )
    return hot_spots(view.values, amap.grid, display.threshold, below=display.inverted)


def write_outline_geojson(
    path: str | os.PathLike[str],
    amap: AttentionMap,
    *,
    display: Display | None = None,
    offset_xy: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """Write the outline of all patches shown as a single annotation for QuPath, holes included.

    Parameters
    ----------
    path : path
        Where; a name ending in ``.gz`` is compressed.
    amap : AttentionMap
        The map.
    display : Display or None
        Which score, class and scale, and the threshold; without one all patches are outlined.
    offset_xy : (float, float)
        As in `write_map_geojson`.

    Returns
    -------
    Path
        The file; without features where nothing is shown.

    Raises
    ------
    ExportError
        If the disk refuses.
    MapError
        As in `AttentionMap.view`.
    """
    shown = display or Display()
    view = shown.view(amap)
    threshold = -np.inf if shown.threshold is None else shown.threshold
    spots = hot_spots(view.values, amap.grid, threshold, below=shown.inverted and shown.threshold is not None)
    return _write(Path(path), _outline(amap, view, shown, spots, offset_xy))


def _write(target: Path, features: Iterator[str]) -> Path:
    """Write features one at a time, so that memory stays flat."""
    with replacing(target, ExportError) as partial, text_writer(partial) as file:
        file.write('{"type":"FeatureCollection","features":[')
        separator = "\n"
        for feature in features:
            file.write(separator)
            file.write(feature)
            separator = ",\n"
        file.write("\n]}\n")
    return target


def _identity(amap: AttentionMap, view: MapView) -> str:
    return f"{amap.slide.quickhash}/{amap.model.title or amap.model.pooling}/{view.score}/{view.class_index}"


def _feature(identity: str, geometry: Any, properties: dict[str, Any]) -> str:
    feature = {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, identity)),
        "geometry": geometry,
        "properties": properties,
    }
    return json.dumps(feature, separators=(",", ":"), allow_nan=False)


def _area(geometry: BaseGeometry, offset_xy: tuple[float, float]) -> Any:
    """Return an area as GeoJSON in coordinates that begin at the offset, to a hundredth of a pixel."""
    moved = shapely.transform(geometry, lambda xy: np.round(xy - np.asarray(offset_xy), 2))
    return json.loads(shapely.to_geojson(moved))


def _spots(
    amap: AttentionMap, view: MapView, spots: Sequence[HotSpot], offset_xy: tuple[float, float]
) -> Iterator[str]:
    rgb = colours(view)
    title = f"{view.title} ({view.scale.name})"
    for number, spot in enumerate(spots, start=1):
        row, col = spot.l0_centroid_rc
        yield _feature(
            f"{_identity(amap, view)}/hot spot/{spot.peak_patch}/{spot.n_patches}",
            _area(spot.geometry, offset_xy),
            {
                "objectType": "annotation",
                "name": f"Hot spot {number}",
                "classification": {"name": "Hot spot", "color": rgb[spot.peak_patch].tolist()},
                "isLocked": True,
                "measurements": {
                    "Number": float(number),
                    "Patches": float(spot.n_patches),
                    "Area mm^2": spot.area_mm2,
                    f"Peak: {title}": spot.peak,
                    f"Mean: {title}": spot.mean,
                    "Centroid X px": round(col - offset_xy[0], 2),
                    "Centroid Y px": round(row - offset_xy[1], 2),
                },
            },
        )


def _outline(
    amap: AttentionMap, view: MapView, display: Display, spots: Sequence[HotSpot], offset_xy: tuple[float, float]
) -> Iterator[str]:
    if not spots:
        return
    # regions never touch, so their parts side by side are one valid area
    whole = shapely.multipolygons([part for spot in spots for part in shapely.get_parts(spot.geometry)])
    sentence = display.sentence(amap, view)
    yield _feature(
        f"{_identity(amap, view)}/outline/{sentence}",
        _area(whole, offset_xy),
        {
            "objectType": "annotation",
            "name": f"{view.title} ({view.scale.name}). {sentence}",
            "classification": {"name": "Patches shown", "color": [60, 60, 60]},
            "isLocked": True,
            "measurements": {
                "Patches": float(sum(spot.n_patches for spot in spots)),
                "Area mm^2": sum(spot.area_mm2 for spot in spots),
            },
        },
    )


def _tiles(
    amap: AttentionMap,
    view: MapView,
    tiles: NDArray[np.int64],
    rgb: NDArray[np.uint8],
    offset_xy: tuple[float, float],
) -> Iterator[str]:
    left_top = np.round(amap.grid.l0_rc[:, ::-1] - np.asarray(offset_xy, np.float64), 2)
    edge = amap.grid.tile_l0
    raw_name = score_title(view.kind, view.of)
    shown_name = f"{raw_name} ({view.scale.name})"
    identity = _identity(amap, view)
    for tile in tiles:
        x, y = (float(v) for v in left_top[tile])
        right, bottom = round(x + edge, 2), round(y + edge, 2)
        ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
        yield _feature(
            f"{identity}/{x}/{y}",
            {"type": "Polygon", "coordinates": [ring]},
            {
                "objectType": "tile",
                "color": rgb[tile].tolist(),
                "isLocked": True,
                "measurements": {raw_name: float(view.raw[tile]), shown_name: float(view.values[tile])},
            },
        )
