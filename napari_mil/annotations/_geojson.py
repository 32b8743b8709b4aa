"""QuPath's GeoJSON (0.3 and later): outlines in, outlines out."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.geometry import shape

from ..errors import AnnotationError
from ..files import replacing, text_writer
from ._annotation import Annotation
from ._geometry import placed

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 4096  # annotations written in one piece, so that memory stays flat
_NAMESPACE = uuid.UUID("8c0f0f5e-3a8b-5a3e-9a52-0d9d4f1f6b77")
# QuPath's other objects: made by programs, not outlines that a person drew
_NOT_DRAWN = frozenset({"detection", "tile", "cell", "tmacore", "root"})
_GEOMETRIES = frozenset({"Polygon", "MultiPolygon", "Point", "MultiPoint", "LineString", "MultiLineString"})


def parse_geojson(text: str, path: Path, offset_xy: tuple[float, float]) -> list[Annotation]:
    """Return the annotations of a GeoJSON text; parameters and errors as in `read_annotations`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise AnnotationError(
            f"{path} is not valid GeoJSON: {err}. Export the annotations from QuPath once more."
        ) from err
    features = list(_features(document, path))
    drawn = [(number, feature) for number, feature in features if _object_type(feature) not in _NOT_DRAWN]
    if features and not drawn:
        kinds = ", ".join(sorted({_object_type(feature) for _, feature in features}))
        raise AnnotationError(
            f"{path} holds no annotations, only objects of type {kinds}. Export annotations from QuPath."
        )
    geometries, repaired = placed([_geometry(feature, number, path) for number, feature in drawn], offset_xy)
    return [
        _annotation(feature, geometry, bool(mended))
        for (_, feature), geometry, mended in zip(drawn, geometries, repaired, strict=True)
        if not geometry.is_empty
    ]


def _features(document: Any, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield every feature with its number, counted from 1, of whatever a GeoJSON document may be at its top."""
    items = document
    if isinstance(document, dict):
        items = document.get("features") if document.get("type") == "FeatureCollection" else [document]
    if not isinstance(items, list):
        raise AnnotationError(f"{path} is JSON, but not GeoJSON. Choose a file that QuPath exported as GeoJSON.")
    for number, item in enumerate(items, start=1):
        kind = item.get("type") if isinstance(item, dict) else None
        if kind in _GEOMETRIES:
            yield number, {"geometry": item}
        elif kind == "Feature":
            if item.get("geometry") is not None:
                yield number, item
        else:
            raise AnnotationError(
                f"{path} is JSON, but its entry {number} is no GeoJSON feature. "
                "Choose a file that QuPath exported as GeoJSON."
            )


def _properties(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


def _object_type(feature: Mapping[str, Any]) -> str:
    properties = _properties(feature)
    kind = properties.get("objectType") or properties.get("object_type") or feature.get("objectType") or "annotation"
    return str(kind).lower().replace("_", "")


def _geometry(feature: Mapping[str, Any], number: int, path: Path) -> Any:
    try:
        geometry = shape(feature["geometry"])
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError) as err:
        raise AnnotationError(
            f"{path}: the outline of entry {number} cannot be read ({err}). Delete or redraw it in QuPath."
        ) from err
    if not np.isfinite(geometry.bounds).all() and not geometry.is_empty:
        raise AnnotationError(f"{path}: the outline of entry {number} has coordinates that are not numbers.")
    return geometry


def _annotation(feature: Mapping[str, Any], geometry: Any, repaired: bool) -> Annotation:
    properties = _properties(feature)
    class_name, class_color = _classification(properties.get("classification"))
    return Annotation(
        name=str(properties.get("name") or ""),
        class_name=class_name,
        geometry=geometry,
        color=_color(properties.get("color", properties.get("colorRGB"))) or class_color,
        repaired=repaired,
    )


def _classification(value: Any) -> tuple[str, tuple[int, int, int] | None]:
    """Return name and colour of a QuPath class: a text, one name, or the names of a class derived from others."""
    if isinstance(value, str):
        return value, None
    if not isinstance(value, dict):
        return "", None
    names = value.get("names")
    name = ": ".join(map(str, names)) if isinstance(names, list) else str(value.get("name") or "")
    return name, _color(value.get("color", value.get("colorRGB")))


def _color(value: Any) -> tuple[int, int, int] | None:
    """Return a colour from [r, g, b], or from the packed whole number that QuPath wrote before 0.4; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return (value >> 16) & 255, (value >> 8) & 255, value & 255
    if isinstance(value, list) and len(value) >= 3 and all(isinstance(v, int | float) for v in value[:3]):
        red, green, blue = (min(255, max(0, round(v))) for v in value[:3])
        return red, green, blue
    return None


def write_geojson(
    path: str | os.PathLike[str], annotations: Sequence[Annotation], *, offset_xy: tuple[float, float] = (0.0, 0.0)
) -> Path:
    """Write annotations as GeoJSON that QuPath opens by drag and drop.

    Parameters
    ----------
    path : path
        Where; a name ending in ``.gz`` is compressed.
    annotations : sequence of Annotation
        What to write; coordinates are kept to a hundredth of a pixel, as QuPath does. Identifiers are UUIDs that
        follow from the content, so that the same annotations always give the same file.
    offset_xy : (float, float)
        Level-0 (x, y) of the corner of what QuPath shows: ``openslide.bounds-x`` and ``-y`` where a slide states them.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    AnnotationError
        If the disk refuses.
    """
    shift = np.asarray(offset_xy, np.float64)
    target = Path(path)
    with replacing(target, AnnotationError) as partial, text_writer(partial) as file:
        file.write('{"type":"FeatureCollection","features":[')
        for first in range(0, len(annotations), _AT_ONCE):
            part = annotations[first : first + _AT_ONCE]
            file.write(("\n" if first == 0 else ",\n") + ",\n".join(_features_of(part, first, shift)))
        file.write("\n]}\n")
    return target


def _features_of(annotations: Sequence[Annotation], first: int, shift: NDArray[np.float64]) -> Iterator[str]:
    geometries = np.array([annotation.geometry for annotation in annotations], dtype=object)
    if not np.isfinite(shapely.get_coordinates(geometries)).all():
        raise ValueError("outlines have coordinates that are not numbers")
    alone = (shapely.get_type_id(geometries) == shapely.GeometryType.MULTIPOLYGON) & (
        shapely.get_num_geometries(geometries) == 1
    )
    geometries[alone] = shapely.get_geometry(geometries[alone], 0)
    texts = shapely.to_geojson(shapely.transform(geometries, lambda xy: np.round(xy - shift, 2)))
    for number, (annotation, geometry) in enumerate(zip(annotations, texts, strict=True), start=first):
        identity = f"{number}/{annotation.name}/{annotation.class_name}/{geometry}"
        properties = json.dumps(_properties_of(annotation), separators=(",", ":"))
        yield (
            f'{{"type":"Feature","id":"{uuid.uuid5(_NAMESPACE, identity)}",'
            f'"geometry":{geometry},"properties":{properties}}}'
        )


def _properties_of(annotation: Annotation) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": "annotation"}
    if annotation.name:
        properties["name"] = annotation.name
    color = list(annotation.color) if annotation.color else None
    if annotation.class_name:
        # QuPath wants the colour of a class or refuses the file
        properties["classification"] = {"name": annotation.class_name, "color": color or [200, 0, 0]}
    elif color:
        properties["color"] = color
    return properties
