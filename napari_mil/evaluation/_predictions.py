"""What models said of slides they had not seen: tables of finished runs, and one candidate per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..counting import agreed, counted
from ..errors import EvaluationError
from ..training import Cohort

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHOWN = 5
_COLUMNS = ("slide", "patient", "label", "fold")


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Class probabilities of slides, and what they truly are.

    Parameters
    ----------
    slides, patients : tuple of str
        One entry per slide.
    targets : (S,) int64
        Index of each slide's class.
    probabilities : (S, C) float64
        Finite, in the order of the classes.
    folds : (S,) int64
        The fold whose model said so.
    class_names : tuple of str
        C names; the last of two is the positive one.
    """

    slides: tuple[str, ...]
    patients: tuple[str, ...]
    targets: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    folds: NDArray[np.int64]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.slides)

    def take(self, rows: NDArray[np.intp]) -> Predictions:
        """Return the slides at some rows, in that order."""
        return Predictions(
            tuple(self.slides[row] for row in rows),
            tuple(self.patients[row] for row in rows),
            self.targets[rows],
            self.probabilities[rows],
            self.folds[rows],
            self.class_names,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A model, or the models of a run's folds, to be judged.

    Parameters
    ----------
    name : str
        What tables call it.
    pooling : str
        How its models pool.
    test : Predictions
        Of slides that the models had not seen.
    thresholds : mapping of int to float
        By fold, the least probability of the positive class to call a slide positive; empty for more than two classes.
    threshold_from : str
        In words, where the thresholds are from.
    models : mapping of int to Path
        The model file of each fold; empty where there are none.
    provenance : mapping
        Where all this is from; JSON-able.
    notes : tuple of str
        What a reader must know.
    """

    name: str
    pooling: str
    test: Predictions
    thresholds: Mapping[int, float]
    threshold_from: str
    models: Mapping[int, Path] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def decided(self) -> NDArray[np.int64]:
        """The class decided for each test slide, (S,): by its fold's threshold, of more classes the likeliest."""
        if len(self.test.class_names) > 2:
            likeliest: NDArray[np.int64] = self.test.probabilities.argmax(axis=1)
            return likeliest
        cut = np.array([self.thresholds[int(fold)] for fold in self.test.folds])
        return (self.test.probabilities[:, 1] >= cut).astype(np.int64)


def read_predictions(path: Path) -> Predictions:
    """Read a table of predictions as training writes it.

    Parameters
    ----------
    path : Path
        CSV with the columns slide, patient, label, fold and ``p_<class>`` for each class.

    Returns
    -------
    Predictions
        In the table's order.

    Raises
    ------
    EvaluationError
        If the table cannot be read, lacks a column or a slide, or holds a prediction that is no probability. Rows are
        numbered as in a spreadsheet: the header is 1.
    """
    table = _read_table(path)
    class_names = tuple(name.removeprefix("p_") for name in table.columns if name.startswith("p_"))
    missing = [name for name in _COLUMNS if name not in table]
    if missing or len(class_names) < 2:
        wanted = ", ".join(missing) or "p_<class> for at least two classes"
        raise EvaluationError(f"{path} lacks the column {wanted}. Give the folder of a run of napari-mil train.")
    if table.empty:
        raise EvaluationError(f"{path} holds no predictions. Train again, with slides to test on.")
    unknown = sorted(set(table["label"]) - set(class_names))
    if unknown:
        raise EvaluationError(
            f"{path} has slides of {', '.join(unknown[:_SHOWN])}, of which the model knows nothing (it knows "
            f"{', '.join(class_names)}). Remove these rows, or train with that class."
        )
    probabilities = table[[f"p_{name}" for name in class_names]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    folds = pd.to_numeric(table["fold"], errors="coerce").to_numpy(float)
    _refuse(path, ~np.isfinite(probabilities).all(axis=1), "a prediction that is not a number")
    _refuse(path, ((probabilities < 0) | (probabilities > 1)).any(axis=1), "a prediction outside 0 to 1")
    _refuse(path, ~(folds == np.round(folds)), "a fold that is not a whole number")
    return Predictions(
        tuple(table["slide"]),
        tuple(table["patient"]),
        np.array([class_names.index(label) for label in table["label"]], dtype=np.int64),
        probabilities,
        folds.astype(np.int64),
        class_names,
    )


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise EvaluationError(
            f"There is no {path.name} in {path.parent}, so this is no finished run. Give the folder that napari-mil "
            "train wrote to, once it has ended."
        ) from error
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise EvaluationError(
            f"{path} cannot be read as a table: {error}. Train again, or restore the file."
        ) from error


def _refuse(path: Path, faulty: NDArray[np.bool_], fault: str) -> None:
    rows = np.flatnonzero(faulty) + 2
    if len(rows):
        shown = ", ".join(map(str, rows[:_SHOWN])) + (f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else "")
        raise EvaluationError(
            f"{path} has {fault} in {agreed(len(rows), 'row', 'rows')} {shown}. Train this run again, or leave it out."
        )


def refuse_twice(slides: Sequence[str], where: str) -> None:
    """Refuse slides that are tested twice: measures would count them twice, and no test is paired.

    Raises
    ------
    EvaluationError
        Naming them.
    """
    seen: set[str] = set()
    twice = sorted({slide for slide in slides if slide in seen or seen.add(slide)})  # type: ignore[func-returns-value]
    if twice:
        raise EvaluationError(
            f"{where} tests {counted(len(twice), 'slide')} more than once, {twice[0]} among them. "
            "Evaluate one repetition at a time."
        )


def cohort_of(candidates: Sequence[Candidate]) -> Cohort:
    """Return the test slides of all candidates as a cohort, to find their features.

    Parameters
    ----------
    candidates : sequence of Candidate
        Of the same classes.

    Returns
    -------
    Cohort
        Each slide once.
    """
    names = candidates[0].test.class_names
    rows: dict[str, tuple[str, str]] = {}
    for candidate in candidates:
        test = candidate.test
        for slide, target, patient in zip(test.slides, test.targets.tolist(), test.patients, strict=True):
            rows.setdefault(slide, (names[target], patient))
    labels, patients = zip(*rows.values(), strict=True)
    return Cohort(tuple(rows), labels, patients, None, names, {})
