"""Very many outlines, ready to be drawn: as a small picture, and as lines of those that are large enough to be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..annotations import Annotation

_PICTURE_PX = 2048
_FILL = 110  # of 255
_MOST_CORNERS = 200_000
_SEEN_PX = 3.0
"""Across; on the screen. A smaller outline is a dot, which the picture shows as well."""


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The rings of outlines, one after the other.

    Parameters
    ----------
    corners : (M, 2) float32
        (x, y), level-0 pixels, 0 being the slide's corner; the first of each ring again at its end.
    first : (R + 1,) int64
        Where each ring begins.
    boxes : (R, 4) float32
        Left, top, right, bottom of each ring.
    colours : (R, 3) uint8
        Red, green, blue.
    """

    corners: NDArray[np.float32]
    first: NDArray[np.int64]
    boxes: NDArray[np.float32]
    colours: NDArray[np.uint8]

    def within(self, box: tuple[float, float, float, float], least: float) -> tuple[NDArray[np.intp], bool]:
        """Return the rings that are worth drawing in a view.

        Parameters
        ----------
        box : (float, float, float, float)
            Left, top, right, bottom of what is seen.
        least : float
            Level-0 pixels that a ring must be across.

        Returns
        -------
        ((K,) int, bool)
            The largest that are seen, as many as are drawn fast, and whether none that is seen is left out.
        """
        left, top, right, bottom = self.boxes.T
        across = np.maximum(right - left, bottom - top)
        seen = np.flatnonzero((right >= box[0]) & (left <= box[2]) & (bottom >= box[1]) & (top <= box[3]))
        large = seen[across[seen] >= least]
        large = large[np.argsort(-across[large], kind="stable")]
        fitting = np.searchsorted(np.cumsum(np.diff(self.first)[large]), _MOST_CORNERS, side="right")
        chosen = large[:fitting]
        return chosen, len(chosen) == len(seen)

    def segments(self, rings: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return both ends of every straight piece of some rings, (2 K, 2), (x, y), and the colour of each, RGBA."""
        counts = np.diff(self.first)[rings] - 1
        starts = np.repeat(self.first[rings] - np.r_[0, np.cumsum(counts)[:-1]], counts) + np.arange(counts.sum())
        ends = np.stack([self.corners[starts], self.corners[starts + 1]], axis=1).reshape(-1, 2)
        rgba = np.ones((len(ends), 4), np.float32)
        rgba[:, :3] = np.repeat(self.colours[rings], 2 * counts, axis=0) / 255
        return np.ascontiguousarray(ends, np.float32), rgba


def seen_px(zoom: float, um_per_px: float) -> float:
    """Return how many level-0 pixels an outline must be across to be worth a line."""
    return _SEEN_PX / (zoom * um_per_px)


def outline_lines(annotations: Sequence[Annotation], colours: Mapping[str, tuple[int, int, int]]) -> Lines:
    """Return the rings of outlines, holes' too.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines; those that enclose no area are left out.
    colours : mapping of str to (int, int, int)
        Of each class.

    Returns
    -------
    Lines
        In the outlines' order.
    """
    geometries = np.array([one.geometry for one in annotations], object)
    parts, of_part = shapely.get_parts(geometries, return_index=True)
    areal = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    rings, of_ring = shapely.get_rings(parts[areal], return_index=True)
    owner = of_part[areal][of_ring]
    corners, of_corner = shapely.get_coordinates(rings, return_index=True)
    first = np.searchsorted(of_corner, np.arange(len(rings) + 1))
    rgb = np.array([colours[one.class_name] for one in annotations], np.uint8).reshape(-1, 3)
    boxes = shapely.bounds(rings).reshape(-1, 4)
    return Lines(corners.astype(np.float32), first.astype(np.int64), boxes.astype(np.float32), rgb[owner])


def painted(
    annotations: Sequence[Annotation],
    colours: Mapping[str, tuple[int, int, int]],
    slide_shape: tuple[int, int],
) -> NDArray[np.uint8]:
    """Return a picture of outlines as faint areas, (h, w, 4), that spans the slide; the smallest lie on top.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines.
    colours : mapping of str to (int, int, int)
        Of each class.
    slide_shape : (int, int)
        Level-0 (height, width) in pixels.

    Returns
    -------
    (h, w, 4) uint8
        At most 2048 pixels along the longer edge.
    """
    from PIL import Image, ImageDraw

    shrink = min(1.0, _PICTURE_PX / max(slide_shape))
    height, width = (max(1, round(edge * shrink)) for edge in slide_shape)
    picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    ratio = np.array([width / slide_shape[1], height / slide_shape[0]])
    geometries = np.array([one.geometry for one in annotations], object)
    for number in np.argsort(-shapely.area(geometries), kind="stable"):
        for part in getattr(geometries[number], "geoms", [geometries[number]]):
            if part.geom_type != "Polygon":
                continue
            fill = (*colours[annotations[number].class_name], _FILL)
            # PIL's whole numbers are pixel centres; a hole is filled with nothing, which what is smaller paints over
            for ring, ink in ((part.exterior, fill), *((hole, (0, 0, 0, 0)) for hole in part.interiors)):
                xy = np.asarray(ring.coords)[:, :2] * ratio - 0.5
                pen.polygon([(float(x), float(y)) for x, y in xy], fill=ink)
    return np.asarray(picture).copy()
