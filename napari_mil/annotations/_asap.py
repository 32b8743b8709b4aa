"""ASAP's XML (also CAMELYON's): outlines in."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import shapely
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ..errors import AnnotationError
from ._annotation import Annotation
from ._geojson import valid

_AREAS = frozenset({"polygon", "spline", "rectangle"})


def parse_asap(text: str, path: Path, offset_xy: tuple[float, float]) -> list[Annotation]:
    """Return the annotations of an ASAP XML text; parameters and errors as in `read_annotations`.

    The class is the group that an outline is part of, as the file names it. Which groups are lesions and which are
    holes in them is each data set's own convention.
    """
    try:
        root = fromstring(text.lstrip("\ufeff").encode())
    except (ParseError, DefusedXmlException) as err:
        raise AnnotationError(f"{path} is not valid XML: {err}. Save the annotations from ASAP once more.") from err
    if root.tag != "ASAP_Annotations":
        raise AnnotationError(
            f"{path} is XML, but not of ASAP (its outermost element is {root.tag}). Choose ASAP XML or QuPath GeoJSON."
        )
    found = (_annotation(element, path, offset_xy) for element in root.iter("Annotation"))
    return [annotation for annotation in found if annotation is not None]


def _annotation(element: Element, path: Path, offset_xy: tuple[float, float]) -> Annotation | None:
    name, group = element.get("Name", ""), element.get("PartOfGroup", "")
    try:
        ordered = sorted(element.iter("Coordinate"), key=lambda c: float(c.attrib["Order"]))
        points = [(float(c.attrib["X"]) + offset_xy[0], float(c.attrib["Y"]) + offset_xy[1]) for c in ordered]
        geometry = _geometry(element.get("Type", "").lower(), points)
    except (KeyError, ValueError, shapely.errors.ShapelyError) as err:
        raise AnnotationError(f'{path}: the outline "{name}" cannot be read ({err}). Redraw it in ASAP.') from err
    if geometry is None:
        return None
    return Annotation(name, "" if group == "None" else group, geometry, _color(element.get("Color", "")))


def _geometry(kind: str, points: list[tuple[float, float]]) -> Any:
    """Return the shape of an annotation, or None where nothing was drawn."""
    if not points:
        return None
    if kind in _AREAS and len(points) >= 3:
        return valid(shapely.Polygon(points))
    if kind == "measurement" and len(points) >= 2:
        return shapely.LineString(points)
    return shapely.Point(points[0]) if len(points) == 1 else shapely.MultiPoint(points)


def _color(text: str) -> tuple[int, int, int] | None:
    digits = text.removeprefix("#")
    if len(digits) != 6:
        return None
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        return None
    return red, green, blue
