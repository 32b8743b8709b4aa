"""The measures of one candidate on its test slides, by scikit-learn, with intervals over resampled patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from ..counting import counted
from ._bootstrap import auc_of, average_precision_of, interval, mean_of, share_of
from ._calibration import Calibration, calibrate, squared_errors
from ._delong import delong

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ._bootstrap import Measure
    from ._predictions import Candidate, Predictions

_Z = 1.959963984540054  # of the normal distribution, 95 %


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure and its 95 % interval; NaN where undefined.

    Parameters
    ----------
    value, low, high : float
        Of the test slides, and the percentiles over resampled patients.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """How one candidate did on its test slides.

    All are of the slides of all folds together unless they say otherwise. Of more than two classes, `auc`,
    `average_precision`, `sensitivity` and `specificity` are plain means over each class against the rest.

    Parameters
    ----------
    n_slides, n_patients : int
        Tested.
    class_counts : tuple of int
        Slides of each class.
    auc, average_precision : Estimate
        Of the ranking.
    auc_delong : (float, float)
        DeLong's 95 % interval of the AUC, cut to [0, 1]; NaN for more than two classes.
    accuracy, balanced_accuracy, sensitivity, specificity : Estimate
        Of the decisions at the candidate's thresholds (of more classes, of the likeliest).
    brier : Estimate
        Mean squared error of probabilities; see `Calibration`.
    calibration : Calibration
        With the expected calibration error.
    confusion : (C, C) int64
        Slides by true class (rows) and decided class (columns).
    folds : tuple of (int, int, float)
        Fold, its test slides, its AUC (NaN where it lacks a class).
    fold_mean, fold_sd : float
        Of the folds' AUC; the deviation with ddof 1.
    notes : tuple of str
        What a reader must know.
    """

    n_slides: int
    n_patients: int
    class_counts: tuple[int, ...]
    auc: Estimate
    average_precision: Estimate
    auc_delong: tuple[float, float]
    accuracy: Estimate
    balanced_accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    brier: Estimate
    calibration: Calibration
    confusion: NDArray[np.int64]
    folds: tuple[tuple[int, int, float], ...]
    fold_mean: float
    fold_sd: float
    notes: tuple[str, ...]


def measure(candidate: Candidate, drawn: NDArray[np.int32]) -> Measures:
    """Measure a candidate on its test slides.

    Parameters
    ----------
    candidate : Candidate
        With its thresholds, which its test slides had no part in.
    drawn : (B, S) int32
        Resampled patients as `resample` draws them of the test slides.

    Returns
    -------
    Measures
        What is undefined is NaN, and a note says why.
    """
    test, decided = candidate.test, candidate.decided
    targets, probabilities = test.targets, test.probabilities
    sides = _sides(test)
    everyone = np.ones(len(test), dtype=np.bool_)
    recalls = [share_of(decided == c, targets == c) for c in range(len(test.class_names))]
    absences = [share_of(decided != c, targets != c) for c, _, _ in sides]
    folds = tuple(_of_fold(test, int(fold)) for fold in np.unique(test.folds))
    fold_aucs = np.array([area for _, _, area in folds if np.isfinite(area)])
    errors = squared_errors(targets, probabilities)
    auc = _macro(sides, _auc)
    return Measures(
        n_slides=len(test),
        n_patients=len(set(test.patients)),
        class_counts=tuple(int((targets == c).sum()) for c in range(len(test.class_names))),
        auc=_estimate(auc, mean_of([auc_of(positive, p) for _, positive, p in sides]), drawn),
        average_precision=_estimate(
            _macro(sides, _average_precision),
            mean_of([average_precision_of(positive, p) for _, positive, p in sides]),
            drawn,
        ),
        auc_delong=_delong_interval(sides),
        accuracy=_own(share_of(decided == targets, everyone), drawn),
        balanced_accuracy=_own(mean_of(recalls), drawn),
        sensitivity=_own(mean_of([recalls[c] for c, _, _ in sides]), drawn),
        specificity=_own(mean_of(absences), drawn),
        brier=_own(share_of(errors, everyone), drawn),
        calibration=calibrate(targets, probabilities),
        confusion=confusion_matrix(targets, decided, labels=range(len(test.class_names))),
        folds=folds,
        fold_mean=float(fold_aucs.mean()) if len(fold_aucs) else float("nan"),
        fold_sd=float(fold_aucs.std(ddof=1)) if len(fold_aucs) > 1 else float("nan"),
        notes=(*candidate.notes, *_notes(test, folds, auc)),
    )


_Side = tuple[int, "NDArray[np.bool_]", "NDArray[np.float64]"]  # a class, which slides are of it, its probability


def _sides(test: Predictions) -> list[_Side]:
    """Return the classes that are told from the rest: the last of two, else each."""
    classes = [1] if len(test.class_names) == 2 else range(len(test.class_names))
    return [(c, test.targets == c, test.probabilities[:, c]) for c in classes]


def _auc(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    return float(roc_auc_score(positive, scores)) if 0 < positive.sum() < len(positive) else float("nan")


def _average_precision(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    return float(average_precision_score(positive, scores)) if positive.any() else float("nan")


def _macro(sides: Sequence[_Side], of_one: object) -> float:
    return float(np.mean([of_one(positive, scores) for _, positive, scores in sides]))  # type: ignore[operator]


def macro_auc(test: Predictions) -> float:
    """Return the AUC of the last class of two, or the plain mean over each class against the rest; NaN if one lacks."""
    return _macro(_sides(test), _auc)


def macro_auc_measure(test: Predictions) -> Measure:
    """Return `macro_auc` as a measure of resampled slides."""
    return mean_of([auc_of(positive, scores) for _, positive, scores in _sides(test)])


def _estimate(value: float, of_drawn: Measure, drawn: NDArray[np.int32]) -> Estimate:
    low, high = interval(drawn, of_drawn) if np.isfinite(value) else (float("nan"), float("nan"))
    return Estimate(value, low, high)


def _own(of_drawn: Measure, drawn: NDArray[np.int32]) -> Estimate:
    """Return the estimate of a share, whose value is the measure with every slide counted once."""
    return _estimate(float(of_drawn(np.ones((1, drawn.shape[1])))[0]), of_drawn, drawn)


def _delong_interval(sides: Sequence[_Side]) -> tuple[float, float]:
    if len(sides) > 1:
        return float("nan"), float("nan")
    _, positive, scores = sides[0]
    auc, covariance = delong(positive, scores[None])
    half = _Z * np.sqrt(max(covariance[0, 0], 0.0)) if np.isfinite(covariance[0, 0]) else np.nan
    return tuple(float(x) for x in np.clip([auc[0] - half, auc[0] + half], 0, 1))  # type: ignore[return-value]


def _of_fold(test: Predictions, fold: int) -> tuple[int, int, float]:
    rows = np.flatnonzero(test.folds == fold)
    return fold, len(rows), macro_auc(test.take(rows))


def _notes(test: Predictions, folds: Sequence[tuple[int, int, float]], auc: float) -> list[str]:
    notes = []
    absent = [name for c, name in enumerate(test.class_names) if not (test.targets == c).any()]
    if absent:
        notes.append(
            f"No test slide is {' or '.join(absent)}: AUC and all that needs both sides are undefined, shown as a dash."
        )
    bare = [str(fold) for fold, _, area in folds if np.isnan(area)]
    if bare and not absent:
        notes.append(f"Fold {', '.join(bare)} has no AUC of its own: its test slides lack a class.")
    if auc in (0.0, 1.0):
        notes.append(f"At an AUC of {auc:.0f} neither bootstrap nor DeLong gives an interval a width: add slides.")
    if len(set(test.patients)) < len(test):
        notes.append(
            f"{counted(len(test), 'slide')} are of {counted(len(set(test.patients)), 'patient')}: intervals resample "
            "patients; DeLong takes slides for independent and is too sure here."
        )
    return notes
