"""Maps held against outlines that people drew, slide by slide and over a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..annotations import label_patches, outlines_on_slide, read_annotations, roles_of
from ..errors import EvaluationError, MapError, SlideError
from ..maps import hot_spots, read_map
from ..progress import Progress, Steps
from ..slides import open_slide, slide_name
from ._agreement_rules import AgreementRules
from ._froc import Froc, SlideHits, froc, lesion_mask, match_lesions
from ._hot_spot_precision import SlideOverlaps, average_precisions, lesion_overlaps
from ._localisation import Localisation, localise
from ._overlap_picture import OverlapPicture, overlap_picture
from ._provenance import provenance

if TYPE_CHECKING:
    from ..annotations import Annotation, PatchLabels
    from ..maps import AttentionMap, MapView
    from ._cases import AgreementCase
    from ._overlap import Overlap

# Of scales that can be compared between slides, what counts as high unless somebody says otherwise: twice the attention
# of an average patch, more likely than not, speaking for the class at all.
_CUTS: Mapping[str, float] = {
    "ratio": 2.0,
    "share": 0.5,
    "probability": 0.5,
    "contribution": float(np.finfo(np.float32).tiny),
}


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """One score of one map against outlines.

    Parameters
    ----------
    name, slide, model : str
        The map's file, and whose it is.
    measures : Localisation
        What does not depend on the threshold, and the curve of what does.
    scale : str
        On which the threshold lies.
    at, best : Overlap
        At the threshold, and at the best one for this slide (None without target).
    picture : OverlapPicture or None
        Where what lies above the threshold and the target coincide; of the map's first score.
    notes : tuple of str
        What to know.
    """

    name: str
    slide: str
    model: str
    measures: Localisation
    scale: str
    at: Overlap
    best: Overlap | None
    picture: OverlapPicture | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CohortAgreement:
    """One score of one model over several slides.

    Parameters
    ----------
    model, score, scale : str
        Whose score, on which scale.
    cut : float
        Threshold of its hot spots.
    n_slides, n_with_target : int
        Slides, and those with target.
    froc : Froc
        Hot spots as detections.
    average_precisions : (5,) float64
        At each of `IOUS`.
    """

    model: str
    score: str
    scale: str
    cut: float
    n_slides: int
    n_with_target: int
    froc: Froc
    average_precisions: np.ndarray[tuple[int], np.dtype[np.float64]]

    @property
    def rule(self) -> str:
        """What was taken for a detection, in words."""
        return (
            f"A detection is a hot spot: patches of {self.score.replace('_', ' ')} {cut_words(self.cut)} on the "
            f'scale "{self.scale}" that touch at an edge or a corner, at the centre of its highest patch and with that '
            "patch's value."
        )


@dataclass(frozen=True, slots=True, eq=False)
class AgreementStudy:
    """Maps held against outlines.

    Parameters
    ----------
    rows : tuple of Agreement
        One per map and score.
    cohorts : tuple of CohortAgreement
        One per model and score that judged several slides.
    rules : AgreementRules
        By what rules.
    provenance : mapping of str to str
        Versions, and when.
    """

    rows: tuple[Agreement, ...]
    cohorts: tuple[CohortAgreement, ...]
    rules: AgreementRules
    provenance: Mapping[str, str]

    @property
    def patch_rules(self) -> list[str]:
        """What made a patch target, in words; several where outlines name their classes differently."""
        return sorted({one.measures.rule for one in self.rows if one.measures.n_target})


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    row: Agreement
    hits: SlideHits
    overlaps: SlideOverlaps


def cut_words(cut: float) -> str:
    """Return what lies at or above a threshold, in words."""
    return "above 0" if cut == _CUTS["contribution"] else f"at or above {cut:.3g}"


def iter_agreement(cases: Sequence[AgreementCase], rules: AgreementRules | None = None) -> Steps[AgreementStudy]:
    """Hold maps against outlines.

    Parameters
    ----------
    cases : sequence of AgreementCase
        Maps with the outlines of their slides.
    rules : AgreementRules or None
        By what rules.

    Yields
    ------
    Progress
        In maps.

    Returns
    -------
    AgreementStudy
        All figures; over a cohort, FROC and mean average precision of hot spots.

    Raises
    ------
    AnnotationError
        If outlines cannot be read, have none of the classes named, or lie beside the slide.
    MapError
        If a map cannot be read.
    EvaluationError
        If a map lacks the score or class named.
    """
    rules = rules or AgreementRules()
    judged: list[_Judged] = []
    for number, case in enumerate(cases):
        yield Progress("Comparing with annotations", number, len(cases), message=case.map_path.name, unit="maps")
        judged += _judge(case, rules)
    groups: dict[tuple[str, str, str], list[_Judged]] = {}
    for one in judged:
        groups.setdefault((one.row.model, one.row.measures.score, one.row.scale), []).append(one)
    cohorts = [_cohort(group) for group in groups.values() if len({one.row.slide for one in group}) > 1]
    return AgreementStudy(tuple(one.row for one in judged), tuple(cohorts), rules, provenance())


def _judge(case: AgreementCase, rules: AgreementRules) -> list[_Judged]:
    """Return every score of one map against its slide's outlines."""
    amap = read_map(case.map_path)
    annotations: list[Annotation] = []
    notes: list[str] = []
    if case.annotation is not None:
        annotations = read_annotations(case.annotation, offset_xy=_offset_xy(amap))
        notes = outlines_on_slide(annotations, amap.slide.shape, case.annotation.name)
    roles = roles_of(annotations, rules.target, rules.exclude)
    labels = label_patches(annotations, amap.grid, roles, min_overlap=rules.min_overlap)
    lesions = lesion_mask(labels.area, amap.l0_mpp)
    found: list[_Judged] = []
    for score in _scores(amap, rules, case.map_path.name):
        view = _view(amap, score, rules.class_name)
        cut = _CUTS[view.scale.name] if rules.cut is None else rules.cut
        row = _row(case, amap, view, labels, cut, rules, tuple(notes), with_picture=not found)
        spots = hot_spots(view.values, amap.grid, cut)
        peaks = np.array([spot.peak_patch for spot in spots], np.int64)
        centres = amap.grid.l0_rc[peaks] + amap.grid.tile_l0 / 2
        hits = match_lesions([spot.peak for spot in spots], [(x, y) for y, x in centres.tolist()], lesions)
        found.append(_Judged(row, hits, lesion_overlaps(spots, labels.area)))
    return found


def _row(
    case: AgreementCase,
    amap: AttentionMap,
    view: MapView,
    labels: PatchLabels,
    cut: float,
    rules: AgreementRules,
    notes: tuple[str, ...],
    *,
    with_picture: bool,
) -> Agreement:
    measures = localise(view, labels, top_k=rules.top_k)
    at = measures.curve.at(cut)
    picture = overlap_picture(view.values, amap.grid, labels, cut) if with_picture and len(amap) else None
    model = amap.model.title or amap.model.pooling
    said = (*notes, *measures.notes)
    return Agreement(
        str(case.map_path),
        slide_name(amap.slide.path),
        model,
        measures,
        view.scale.name,
        at,
        measures.curve.best(),
        picture,
        said,
    )


def _cohort(group: Sequence[_Judged]) -> CohortAgreement:
    first = group[0].row
    return CohortAgreement(
        first.model,
        first.measures.score,
        first.scale,
        first.at.threshold,
        len({one.row.slide for one in group}),
        sum(one.row.measures.n_target > 0 for one in group),
        froc([one.hits for one in group]),
        average_precisions([one.overlaps for one in group]),
    )


def _scores(amap: AttentionMap, rules: AgreementRules, name: str) -> list[str]:
    """Return the scores of a map to judge, its first one first."""
    judgeable = [score for score, found in amap.scores.items() if found.kind != "spread"]
    if not rules.scores:
        chosen = sorted(judgeable, key=lambda score: score != amap.default_score)
    else:
        if missing := [score for score in rules.scores if score not in judgeable]:
            raise EvaluationError(
                f'{name} has no score "{missing[0]}" to judge. It has: {", ".join(judgeable)}. Name one of these.'
            )
        chosen = list(rules.scores)
    if rules.cut is not None and len({_comparable(amap, score) for score in chosen}) > 1:
        raise EvaluationError(
            f"{name} has scores on different scales ({', '.join(chosen)}), which share no threshold. "
            "Name the score that it is for."
        )
    return chosen


def _comparable(amap: AttentionMap, score: str) -> str | None:
    """Return the scale on which a score can be compared between slides; None is its default."""
    return "ratio" if amap.scores[score].kind == "attention" else None


def _view(amap: AttentionMap, score: str, class_name: str | None) -> MapView:
    names = amap.prediction.class_names
    index = 1 if len(names) == 2 else None
    if class_name is not None:
        if class_name not in names:
            raise EvaluationError(
                f'The map has no class "{class_name}". It has: {", ".join(names)}. Name one of these.'
            )
        index = names.index(class_name)
    try:
        return amap.view(score, _comparable(amap, score), index)
    except MapError as error:
        raise EvaluationError(str(error)) from error


def _offset_xy(amap: AttentionMap) -> tuple[float, float]:
    """Return where QuPath counts from on the map's slide: known where the slide still lies there, else its corner."""
    if not Path(amap.slide.path).exists():
        return 0.0, 0.0
    try:
        with open_slide(amap.slide.path) as slide:
            return slide.bounds_origin_xy
    except SlideError:
        return 0.0, 0.0
