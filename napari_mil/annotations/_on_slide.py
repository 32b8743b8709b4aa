"""Whether outlines belong to a slide, and what else to know of them, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import shapely

from ..errors import AnnotationError
from ._annotation import Annotation


def outlines_on_slide(annotations: Sequence[Annotation], slide_shape: tuple[int, int], source: str) -> list[str]:
    """Refuse outlines of another slide, and say what to know of those that belong to this one.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines.
    slide_shape : (int, int)
        Level-0 (height, width) in pixels.
    source : str
        Where they come from, for the sentences.

    Returns
    -------
    list of str
        A sentence each: outlines that were repaired, reach beyond the slide or enclose no area.

    Raises
    ------
    AnnotationError
        If more than half of the area they enclose lies beside the slide.
    """
    geometries = np.array([annotation.geometry for annotation in annotations], dtype=object)
    areas = shapely.area(geometries)
    height, width = slide_shape
    left, top, right, bottom = shapely.bounds(geometries).T if len(geometries) else np.zeros((4, 0))
    beyond = (left < 0) | (top < 0) | (right > width) | (bottom > height)
    inside = areas.copy()
    inside[beyond] = shapely.area(shapely.intersection(geometries[beyond], shapely.box(0, 0, width, height)))
    if inside.sum() < areas.sum() / 2:
        raise AnnotationError(
            f"The outlines of {source} span x {left.min():.0f} to {right.max():.0f} and y {top.min():.0f} to "
            f"{bottom.max():.0f}, mostly beside the slide of {width} x {height} pixels. They belong to another slide "
            "or another scale."
        )
    found = []
    if repaired := [annotation.name for annotation in annotations if annotation.repaired]:
        said = _said(len(repaired), "crossed itself and was repaired", "crossed themselves and were repaired")
        found.append(f"{said}{_examples(repaired)}.")
    # half a pixel over the edge is how a rectangle about everything is drawn
    far = (left < -1) | (top < -1) | (right > width + 1) | (bottom > height + 1)
    if far.any():
        said = _said(int(far.sum()), "reaches", "reach")
        found.append(f"{said} beyond the slide's edge; what lies beyond does not count.")
    if flat := int((areas == 0).sum()):
        said = _said(flat, "encloses no area (a point or line) and does", "enclose no area (points, lines) and do")
        found.append(f"{said} not count.")
    return found


def class_counts(annotations: Sequence[Annotation]) -> dict[str, int]:
    """Return how many outlines each class has, the most frequent first; the empty name stands for no class."""
    return dict(Counter(annotation.class_name for annotation in annotations).most_common())


def _said(count: int, of_one: str, of_several: str) -> str:
    return f"1 outline {of_one}" if count == 1 else f"{count} outlines {of_several}"


def _examples(names: Sequence[str]) -> str:
    named = [name for name in names if name][:3]
    return f" ({', '.join(named)}{', ...' if len(names) > len(named) else ''})" if named else ""
