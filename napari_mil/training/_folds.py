"""Folds that never share a patient."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from ..counting import counted
from ..errors import CohortError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._cohort import Cohort

_VAL_PARTS = 5  # validation is one part in five of the training slides


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One way to divide a cohort; no patient is in two parts.

    Parameters
    ----------
    train, val, test : (n,) int64
        Positions in the cohort: to fit on, to stop early on, and to measure on once.
    """

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


def make_folds(cohort: Cohort, k: int, seed: int) -> list[Fold]:
    """Divide a cohort into folds by patient, each class spread evenly.

    Parameters
    ----------
    cohort : Cohort
        The table. Where it has a split, that is the single fold; a missing validation part is taken from train.
    k : int
        Number of folds, at least 2.
    seed : int
        Seed of the division.

    Returns
    -------
    list of Fold
        Without a given split every slide is in exactly one test part.

    Raises
    ------
    CohortError
        If a class has too few patients to be in every part.
    """
    if k < 2:
        raise ValueError(f"k must be at least 2, not {k}")
    everyone = np.arange(len(cohort), dtype=np.int64)
    if cohort.splits is not None:
        splits = np.array(cohort.splits)
        train, val, test = (everyone[splits == name] for name in ("train", "val", "test"))
        if len(val) == 0:
            train, val = _divide(cohort, train, _VAL_PARTS, seed)[0]
        return [Fold(train, val, test)]
    _check_patients(cohort, everyone, k)
    folds = []
    for number, (rest, test) in enumerate(_divide(cohort, everyone, k, seed)):
        train, val = _divide(cohort, rest, _VAL_PARTS, seed + number)[0]
        folds.append(Fold(train, val, test))
    return folds


def _divide(
    cohort: Cohort, rows: NDArray[np.int64], parts: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Split rows into (rest, part) pairs by patient; fewer parts where a class has too few patients for as many."""
    targets, patients = cohort.targets[rows], np.array(cohort.patients)[rows]
    parts = min(parts, _fewest_patients(cohort, rows)[0])
    if parts < 2:
        raise CohortError(
            f"Class {_fewest_patients(cohort, rows)[1]} has too few patients to fit, stop early and test on different "
            "ones. Give at least three patients of each class, or fewer folds."
        )
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a part without a class is refused below, in words
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        pairs = [(rows[rest], rows[part]) for rest, part in splitter.split(targets, targets, patients)]
    for rest, _ in pairs:
        if len(np.unique(cohort.targets[rest])) < len(np.unique(targets)):
            raise CohortError("A class is held by so few patients that a fold misses it. Give more, or fewer folds.")
    return pairs


def _fewest_patients(cohort: Cohort, rows: NDArray[np.int64]) -> tuple[int, str]:
    """Return the smallest number of patients that any class has among these rows, and that class."""
    pairs = {(cohort.labels[row], cohort.patients[row]) for row in rows}
    counts = Counter(dict.fromkeys(cohort.class_names, 0))
    counts.update(label for label, _ in pairs)
    name = min(counts, key=lambda label: counts[label])
    return counts[name], name


def _check_patients(cohort: Cohort, rows: NDArray[np.int64], k: int) -> None:
    fewest, name = _fewest_patients(cohort, rows)
    if fewest < k:
        raise CohortError(
            f"Class {name} has {counted(fewest, 'patient')}, too few for {counted(k, 'fold')}. "
            f"Ask for {counted(max(fewest, 2), 'fold')} or fewer, or add patients."
        )
