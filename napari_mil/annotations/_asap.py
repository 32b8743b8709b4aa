"""ASAP's XML (also CAMELYON's): outlines in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np
import shapely
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from ..errors import AnnotationError
from ._annotation import Annotation
from ._geometry import placed

# A spline's points lie on its curve, so close that the polygon through them is what was drawn.
_AREAS = frozenset({"polygon", "spline", "rectangle"})


@dataclass(slots=True)
class _Drawn:
    """One outline as the file has it: attributes, and (order, x, y) of each point as text."""

    attributes: dict[str, str]
    points: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.attributes.get("Name", "")


class _Collector:
    """Takes from a stream of XML elements what is needed and nothing else: no tree of millions of points is built."""

    def __init__(self) -> None:
        self.outermost: str | None = None
        self.drawn: list[_Drawn] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "Coordinate" and self.drawn:
            self.drawn[-1].points.append((attributes["Order"], attributes["X"], attributes["Y"]))
        elif tag == "Annotation":
            self.drawn.append(_Drawn(dict(attributes)))
        elif self.outermost is None:
            self.outermost = tag

    def end(self, tag: str) -> None:
        """Take no notice: points belong to the last outline begun."""

    def close(self) -> _Collector:
        return self


def parse_asap(text: str, path: Path, offset_xy: tuple[float, float]) -> list[Annotation]:
    """Return the annotations of an ASAP XML text; parameters and errors as in `read_annotations`.

    The class is the group that an outline is part of, as the file names it. Which groups are lesions and which are
    holes in them is each data set's own convention; `suggest_roles` knows CAMELYON's.
    """
    found = _collected(text, path)
    if found.outermost != "ASAP_Annotations":
        raise AnnotationError(
            f"{path} is XML, but not of ASAP (its outermost element is {found.outermost}). "
            "Choose ASAP XML or QuPath GeoJSON."
        )
    drawn = [outline for outline in found.drawn if outline.points]
    geometries, repaired = placed([_geometry(outline, path) for outline in drawn], offset_xy)
    return [
        _annotation(outline, geometry, bool(mended))
        for outline, geometry, mended in zip(drawn, geometries, repaired, strict=True)
    ]


def _collected(text: str, path: Path) -> _Collector:
    collector = _Collector()
    parser = DefusedXMLParser(target=collector)  # refuses entities, of which bombs are made
    try:
        parser.feed(text.lstrip("\ufeff").encode())
        parser.close()
    except (ParseError, DefusedXmlException) as err:
        raise AnnotationError(f"{path} is not valid XML: {err}. Save the annotations from ASAP once more.") from err
    except KeyError as err:
        raise AnnotationError(
            f'{path}: the outline "{collector.drawn[-1].name}" cannot be read (a point lacks {err}). Redraw it in ASAP.'
        ) from err
    return collector


def _geometry(outline: _Drawn, path: Path) -> Any:
    try:
        points = np.array(outline.points, dtype=np.float64)
        if not np.isfinite(points).all():
            raise ValueError("a coordinate is not a number")
        points = points[np.argsort(points[:, 0], kind="stable"), 1:]
        return _shape(outline.attributes.get("Type", "").lower(), points)
    except (ValueError, shapely.errors.ShapelyError) as err:
        raise AnnotationError(
            f'{path}: the outline "{outline.name}" cannot be read ({err}). Redraw it in ASAP.'
        ) from err


def _shape(kind: str, points: np.ndarray[Any, np.dtype[np.float64]]) -> Any:
    if kind in _AREAS and len(points) >= 3:
        return shapely.Polygon(points)
    if kind == "measurement" and len(points) >= 2:
        return shapely.LineString(points)
    return shapely.Point(points[0]) if len(points) == 1 else shapely.MultiPoint(points)


def _annotation(outline: _Drawn, geometry: Any, repaired: bool) -> Annotation:
    group = outline.attributes.get("PartOfGroup", "")
    color = _color(outline.attributes.get("Color", ""))
    return Annotation(outline.name, "" if group == "None" else group, geometry, color, repaired)


def _color(text: str) -> tuple[int, int, int] | None:
    digits = text.removeprefix("#")
    if len(digits) != 6:
        return None
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        return None
    return red, green, blue
