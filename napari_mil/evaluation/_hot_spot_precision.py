"""Mean average precision of hot spots against lesions, as in object detection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..maps import HotSpot

IOUS = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Least intersection over union at which a hot spot counts as having found a lesion."""


@dataclass(frozen=True, slots=True, eq=False)
class SlideOverlaps:
    """Hot spots of one slide against its lesions.

    Parameters
    ----------
    scores : (K,) float64
        Peak of each hot spot, comparable between slides.
    iou : (K, L) float64
        Intersection over union with each lesion.
    """

    scores: NDArray[np.float64]
    iou: NDArray[np.float64]


def lesion_overlaps(spots: Sequence[HotSpot], area: Any) -> SlideOverlaps:
    """Return how far hot spots coincide with lesions.

    Parameters
    ----------
    spots : sequence of HotSpot
        Of one slide.
    area : shapely geometry
        What is outlined as target, (x, y), level-0 pixels; each connected part is a lesion.

    Returns
    -------
    SlideOverlaps
        For `average_precisions`.
    """
    lesions = shapely.get_parts(area)
    lesions = lesions[shapely.area(lesions) > 0]  # an empty polygon has one part
    shapes = np.array([spot.geometry for spot in spots], dtype=object)
    iou = np.zeros((len(shapes), len(lesions)))
    if iou.size:
        one, other = shapely.STRtree(lesions).query(shapes)
        shared = shapely.area(shapely.intersection(shapes[one], lesions[other]))
        iou[one, other] = shared / (shapely.area(shapes[one]) + shapely.area(lesions[other]) - shared)
    return SlideOverlaps(np.array([spot.peak for spot in spots], np.float64), iou)


def average_precisions(slides: Sequence[SlideOverlaps]) -> NDArray[np.float64]:
    """Return the average precision of hot spots over a cohort at each of `IOUS`; their mean is the usual figure.

    Hot spots are taken from the highest peak down; each finds the lesion of its slide, not found before, with which it
    coincides best, if it does so enough. The average precision is the area under precision over recall, precision
    made to fall (PASCAL VOC 2010, Everingham et al., IJCV 2015).

    Parameters
    ----------
    slides : sequence of SlideOverlaps
        All slides, also those without lesions.

    Returns
    -------
    (5,) float64
        NaN without lesions.
    """
    n_lesions = sum(one.iou.shape[1] for one in slides)
    if not n_lesions:
        return np.full(len(IOUS), np.nan)
    scores = np.concatenate([one.scores for one in slides])
    ranked = np.argsort(-scores, kind="stable")
    return np.array([_average_precision(_found(slides, least)[ranked], n_lesions) for least in IOUS])


def _found(slides: Sequence[SlideOverlaps], least: float) -> NDArray[np.bool_]:
    """Tell which hot spots find a lesion, in the order given."""
    found = []
    for one in slides:
        hits, free = np.zeros(len(one.scores), bool), np.ones(one.iou.shape[1], bool)
        for spot in np.argsort(-one.scores, kind="stable"):
            left = np.where(free, one.iou[spot], -1.0)
            if len(left) and left.max() >= least:
                hits[spot], free[int(left.argmax())] = True, False
        found.append(hits)
    return np.concatenate(found)


def _average_precision(hits: NDArray[np.bool_], n_lesions: int) -> float:
    count = np.cumsum(hits)
    precision = count / np.arange(1, len(hits) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(falling[hits].sum() / n_lesions)
