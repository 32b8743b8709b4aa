"""Finished training runs as candidates."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..counting import agreed
from ..errors import EvaluationError
from ..training import youden_threshold
from ._predictions import Candidate, Predictions, read_predictions, refuse_twice

HALF = 0.5
_KEPT = ("pooling", "encoder", "seed", "recipe", "device", "versions", "n_slides", "n_patients", "epochs")


def read_run(folder: str | os.PathLike[str], *, name: str | None = None, threshold: float | None = None) -> Candidate:
    """Read a finished training run.

    Parameters
    ----------
    folder : path
        As `napari_mil.training.iter_train` leaves it: ``predictions.csv`` of the test slides and, where there are,
        ``validation.csv``, ``summary.json`` and the folds' models.
    name : str, optional
        What tables call it; the folder's name by default.
    threshold : float, optional
        For all folds, in place of that chosen on validation; for two classes.

    Returns
    -------
    Candidate
        Each fold's threshold is chosen on that fold's validation slides by Youden's index. Without such slides it is
        0.5, which `threshold_from` and a note say.

    Raises
    ------
    EvaluationError
        If this is no finished run, or its tables are damaged or at odds.
    """
    folder = Path(folder)
    test = read_predictions(folder / "predictions.csv")
    refuse_twice(test.slides, str(folder))
    summary = _read_summary(folder / "summary.json")
    folds = [int(fold) for fold in np.unique(test.folds)]
    validation_file = folder / "validation.csv"
    validation = read_predictions(validation_file) if validation_file.is_file() else None
    if validation is not None:
        _check_apart(folder, test, validation)
    thresholds, origin, notes = _thresholds(test, validation, threshold)
    models = {fold: path for fold in folds if (path := folder / f"fold_{fold}.safetensors").is_file()}
    tables = [folder / "predictions.csv"] + [validation_file] * (validation is not None)
    return Candidate(
        name=name or folder.resolve().name,
        pooling=str(summary.get("pooling", "unknown")),
        test=test,
        thresholds=thresholds,
        threshold_from=origin,
        models=models,
        provenance={
            "run": str(folder),
            "sha256": {table.name: hashlib.sha256(table.read_bytes()).hexdigest() for table in tables},
            **{key: summary[key] for key in _KEPT if key in summary},
        },
        notes=notes,
    )


def read_runs(folders: Sequence[str | os.PathLike[str]], *, threshold: float | None = None) -> list[Candidate]:
    """Read finished runs, each under a name of its own: the folder's, with its parents' where two are alike.

    Parameters
    ----------
    folders : sequence of path
        As `read_run` takes them.
    threshold : float, optional
        As in `read_run`.

    Returns
    -------
    list of Candidate
        In the order given.

    Raises
    ------
    EvaluationError
        As `read_run`, and if a folder is given twice.
    """
    names = distinct_names([Path(folder).resolve() for folder in folders])
    return [read_run(folder, name=name, threshold=threshold) for folder, name in zip(folders, names, strict=True)]


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of paths that tell all of them apart.

    Raises
    ------
    EvaluationError
        If a path is given twice.
    """
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if list(paths).count(path) > 1)
        raise EvaluationError(f"{twice} was given twice. Give each run or model once.")
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def _read_summary(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} cannot be read: {error}. Train again, or remove the file.") from error
    if not isinstance(found, dict):
        raise EvaluationError(f"{path} does not hold what training writes. Train again, or remove the file.")
    return found


def _check_apart(folder: Path, test: Predictions, validation: Predictions) -> None:
    """Refuse a validation table whose classes differ, or that shares slides or patients with its fold's test slides."""
    if validation.class_names != test.class_names:
        raise EvaluationError(f"The classes of {folder}'s predictions.csv and validation.csv differ. Train it again.")
    for fold in np.unique(test.folds):
        tested, chosen = test.folds == fold, validation.folds == fold
        for what in ("slides", "patients"):
            shared = sorted(_of(getattr(test, what), tested) & _of(getattr(validation, what), chosen))
            if shared:
                raise EvaluationError(
                    f"{folder} validates fold {fold} on {what} that it tests, {shared[0]} among them: a leak. "
                    "Train it again with the validation kept apart."
                )


def _of(values: Sequence[str], rows: np.ndarray[Any, np.dtype[np.bool_]]) -> set[str]:
    return {values[row] for row in np.flatnonzero(rows).tolist()}


def _thresholds(
    test: Predictions, validation: Predictions | None, given: float | None
) -> tuple[dict[int, float], str, tuple[str, ...]]:
    """Return thresholds by fold, where they are from, and what to know of them."""
    folds = [int(fold) for fold in np.unique(test.folds)]
    if len(test.class_names) > 2:
        if given is not None:
            raise EvaluationError("A threshold is for two classes; this run has more. Leave the threshold out.")
        return {}, "none: of more than two classes the likeliest is taken", ()
    if given is not None:
        return dict.fromkeys(folds, given), "given", ()
    if validation is None:
        note = "No validation.csv: no threshold was chosen on validation slides, 0.5 is used."
        return dict.fromkeys(folds, HALF), "0.5, without validation slides to choose one on", (note,)
    thresholds = {}
    for fold in folds:
        rows = validation.folds == fold
        thresholds[fold] = youden_threshold(validation.targets[rows] == 1, validation.probabilities[rows, 1])
    bare = [fold for fold in folds if np.isnan(thresholds[fold])]
    notes: tuple[str, ...] = ()
    if bare:
        shown = ", ".join(map(str, bare))
        notes = (
            f"The validation slides of {agreed(len(bare), 'fold', 'folds')} {shown} lack a class: "
            f"{agreed(len(bare), 'its threshold is', 'their thresholds are')} 0.5.",
        )
    origin = "Youden's index on the validation slides of each fold"
    return {fold: HALF if np.isnan(cut) else cut for fold, cut in thresholds.items()}, origin, notes
