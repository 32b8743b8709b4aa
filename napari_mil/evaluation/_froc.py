"""FROC by the rules of CAMELYON16: lesions on a coarse mask, detections as points, false positives per slide.

The rules are those of the challenge's Evaluation_FROC.py: level 5 of slides of 0.243 um a pixel, that is 7.776 um;
lesions closer than 75 um are one; those shorter than 275 um are isolated tumour cells, which neither count as found
nor as missed. Score: mean sensitivity at 1/4, 1/2, 1, 2, 4 and 8 false positives a slide (Ehteshami Bejnordi et al.,
JAMA 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from scipy import ndimage
from skimage.measure import label, regionprops

from ..tiling import TissueMask, polygon_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

FALSE_POSITIVES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives a slide at which sensitivity is read."""

_MASK_UM = 0.243 * 32
_MERGE_UM, _ISOLATED_UM = 75.0, 275.0


@dataclass(frozen=True, slots=True, eq=False)
class LesionMask:
    """The lesions of a slide on a coarse mask.

    Parameters
    ----------
    labels : (rows, cols) int
        0 beside lesions, else the lesion's number, from 1; spans the lesions only.
    first : (int, int)
        Row and column of its corner on a mask of the whole slide.
    l0_per_px : int
        Level-0 pixels per mask pixel: the power of two that comes nearest to 7.776 um.
    isolated : frozenset of int
        Lesions too short to count: isolated tumour cells.
    """

    labels: NDArray[np.int64]
    first: tuple[int, int]
    l0_per_px: int
    isolated: frozenset[int]

    @property
    def numbers(self) -> list[int]:
        """The lesions that count."""
        return [number for number in range(1, int(self.labels.max(initial=0)) + 1) if number not in self.isolated]

    def at(self, x: float, y: float) -> int:
        """Return the lesion at a place in level-0 pixels; 0 beside all."""
        row, col = int(y // self.l0_per_px) - self.first[0], int(x // self.l0_per_px) - self.first[1]
        rows, cols = self.labels.shape
        return int(self.labels[row, col]) if 0 <= row < rows and 0 <= col < cols else 0


def lesion_mask(area: Any, mpp: float) -> LesionMask:
    """Find the lesions of a slide.

    Parameters
    ----------
    area : shapely geometry
        What is outlined as tumour, (x, y), level-0 pixels.
    mpp : float
        Microns per level-0 pixel.

    Returns
    -------
    LesionMask
        Numbered lesions. A mask pixel is tumour where its centre is; what lies within 37.5 um of tumour is joined to
        it, and holes are filled.
    """
    edge = 2 ** max(0, round(np.log2(_MASK_UM / mpp)))
    if area.is_empty or not area.area:
        return LesionMask(np.zeros((0, 0), np.int64), (0, 0), edge, frozenset())
    um = mpp * edge
    reach = _MERGE_UM / (um * 2)
    margin = int(np.ceil(reach)) + 1
    left, top, right, bottom = np.array(area.bounds) / edge
    first = int(np.floor(top)) - margin, int(np.floor(left)) - margin
    shape = int(np.ceil(bottom)) + margin - first[0], int(np.ceil(right)) + margin - first[1]
    moved = shapely.transform(area, lambda xy: xy - np.array(first[::-1], np.float64) * edge)
    empty = TissueMask(np.zeros(shape, bool), (float(edge), float(edge)), None)
    tumour = polygon_mask(list(shapely.get_parts(moved)), empty).mask
    if not tumour.any():
        return LesionMask(np.zeros((0, 0), np.int64), (0, 0), edge, frozenset())
    joined = ndimage.binary_fill_holes(ndimage.distance_transform_edt(~tumour) < reach)
    labels = label(joined, connectivity=2)
    short = _ISOLATED_UM / um
    isolated = frozenset(int(one.label) for one in regionprops(labels) if one.axis_major_length < short)
    return LesionMask(labels, first, edge, isolated)


@dataclass(frozen=True, slots=True, eq=False)
class SlideHits:
    """What the detections on one slide came to.

    Parameters
    ----------
    lesions : (L,) float64
        Of each lesion that counts the highest score of its detections; minus infinity where it has none.
    false_positives : (F,) float64
        Scores of the detections beside all lesions.
    n_isolated : int
        Lesions that do not count.
    """

    lesions: NDArray[np.float64]
    false_positives: NDArray[np.float64]
    n_isolated: int


def match_lesions(scores: Sequence[float], xy: Sequence[tuple[float, float]], lesions: LesionMask) -> SlideHits:
    """Tell which lesions the detections on a slide hit.

    Parameters
    ----------
    scores : sequence of float
        Of each detection, comparable between slides.
    xy : sequence of (float, float)
        Where it is, level-0 pixels.
    lesions : LesionMask
        Of the slide.

    Returns
    -------
    SlideHits
        Further hits on one lesion and hits on isolated tumour cells are neither found nor false.
    """
    best = dict.fromkeys(lesions.numbers, -np.inf)
    wrong = []
    for score, (x, y) in zip(scores, xy, strict=True):
        number = lesions.at(x, y)
        if number in best:
            best[number] = max(best[number], score)
        elif number == 0:
            wrong.append(score)
    return SlideHits(np.array(list(best.values())), np.array(wrong, np.float64), len(lesions.isolated))


@dataclass(frozen=True, slots=True, eq=False)
class Froc:
    """Sensitivity for lesions against false positives a slide, over a cohort.

    Parameters
    ----------
    score : float
        Mean of ``sensitivities``; NaN without lesions.
    sensitivities : (6,) float64
        At `FALSE_POSITIVES`: the highest reached with no more of them.
    false_positives_per_slide, sensitivity : (T,) float64
        The curve, from the highest threshold, at which nothing is detected, to the lowest.
    thresholds : (T,) float64
        Its thresholds; the first is infinite.
    n_slides, n_lesions, n_isolated : int
        Slides with and without lesions; lesions that count, and those that do not.
    """

    score: float
    sensitivities: NDArray[np.float64]
    false_positives_per_slide: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    n_slides: int
    n_lesions: int
    n_isolated: int


def froc(slides: Sequence[SlideHits]) -> Froc:
    """Return the FROC of a cohort.

    Parameters
    ----------
    slides : sequence of SlideHits
        All slides, also those without lesions.

    Returns
    -------
    Froc
        Curve and score.
    """
    if not slides:
        raise ValueError("no slides")
    found = np.sort(np.concatenate([one.lesions for one in slides]))
    wrong = np.sort(np.concatenate([one.false_positives for one in slides]))
    detected = found[np.isfinite(found)]
    thresholds = np.append(np.inf, np.unique(np.append(detected, wrong))[::-1])
    per_slide = (len(wrong) - np.searchsorted(wrong, thresholds)) / len(slides)
    hit = len(found) - np.searchsorted(found, thresholds)
    sensitivity = hit / len(found) if len(found) else np.full(len(thresholds), np.nan)
    # both only rise as the threshold falls
    at = np.searchsorted(per_slide, FALSE_POSITIVES, side="right") - 1
    read = sensitivity[at]
    n_isolated = sum(one.n_isolated for one in slides)
    return Froc(float(read.mean()), read, per_slide, sensitivity, thresholds, len(slides), len(found), n_isolated)
