"""Saved models as candidates, judged on a cohort that they were not trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..counting import counted
from ..errors import EvaluationError
from ..progress import Pacer, Steps
from ..slides import slide_name
from ..training import fingerprint, predict
from ._cost import fitting_model
from ._predictions import Candidate, Predictions
from ._runs import HALF, distinct_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models import MILModel, ModelCard
    from ..training import Bags, Cohort

_SHOWN = 5
_FOLD = 0  # there are no folds


def iter_held_out(
    paths: Sequence[Path], cohort: Cohort, bags: Bags, *, threshold: float | None = None, device: str = "cpu"
) -> Steps[list[Candidate]]:
    """Predict a held-out cohort with saved models.

    Parameters
    ----------
    paths : sequence of Path
        Model files.
    cohort : Cohort
        The slides; where it has splits, those of "test".
    bags : Bags
        Their features.
    threshold : float, optional
        For all models, in place of that on their cards; for two classes. It must not come from this cohort.
    device : str
        Torch device.

    Yields
    ------
    Progress
        In slides.

    Returns
    -------
    list of Candidate
        In the order given.

    Raises
    ------
    EvaluationError
        If a model was trained on a slide or patient of the cohort, does not know its classes, or gives no number.
    ModelError
        If a model cannot be loaded, or takes other features.
    """
    names = distinct_names([path.resolve() for path in paths])
    rows = _test_rows(cohort)
    pacer = Pacer("Predicting", len(paths) * len(rows), unit="slides")
    found = []
    for number, (path, name) in enumerate(zip(paths, names, strict=True)):
        model = fitting_model(path, bags.encoder).to(device)
        notes = _refuse_leaks(name, model.card.training, cohort, rows, bags.quickhashes)
        class_names = _class_names(name, model.card, cohort)
        chances = []
        for done, row in enumerate(rows, start=number * len(rows) + 1):
            chances.append(_probabilities(name, model, cohort.slides[row], bags))
            progress = pacer.step(done, name)
            if progress is not None:
                yield progress
        test = Predictions(
            tuple(cohort.slides[row] for row in rows),
            tuple(cohort.patients[row] for row in rows),
            np.array([class_names.index(cohort.labels[row]) for row in rows], dtype=np.int64),
            np.array(chances),
            np.full(len(rows), _FOLD, dtype=np.int64),
            class_names,
        )
        cut, origin, more = _threshold(model.card.training, class_names, threshold)
        found.append(
            Candidate(
                name, model.card.pooling, test, cut, origin, {_FOLD: path}, _origin(path, model.card), notes + more
            )
        )
    return found


def _test_rows(cohort: Cohort) -> list[int]:
    if cohort.splits is None:
        return list(range(len(cohort)))
    return [row for row, split in enumerate(cohort.splits) if split == "test"]


def _refuse_leaks(
    who: str, training: Mapping[str, Any], cohort: Cohort, rows: Sequence[int], quickhashes: Mapping[str, str]
) -> tuple[str, ...]:
    """Refuse a model trained on what it is to be judged on, by name or scan; return what could not be checked."""
    names = {
        "slides": {slide_name(cohort.slides[row]) for row in rows},
        "patients": {cohort.patients[row] for row in rows},
    }
    seen = training.get("seen")
    if not isinstance(seen, Mapping) or not names.keys() <= seen.keys():
        return ("Its card does not list what it was trained on: that none of it is in this cohort was not checked.",)
    for what, tested in names.items():
        shared = sorted(name for name in tested if fingerprint(name) in seen[what])
        if shared:
            shown = ", ".join(shared[:_SHOWN]) + (f" and {len(shared) - _SHOWN} more" if len(shared) > _SHOWN else "")
            raise EvaluationError(
                f"{who} was trained on {counted(len(shared), what.removesuffix('s'))} of this cohort ({shown}): a "
                "leak, the figures would measure memory. Remove them from the table, or give the folder of the "
                "training run instead."
            )
    scans = {cohort.slides[row] for row in rows if quickhashes.get(cohort.slides[row]) in seen.get("scans", ())}
    if scans:
        raise EvaluationError(
            f"{who} was trained on slides of this cohort under other names ({', '.join(sorted(scans)[:_SHOWN])}; their "
            "files have the same hash): a leak, the figures would measure memory. Remove them from the table."
        )
    return ()


def _class_names(name: str, card: ModelCard, cohort: Cohort) -> tuple[str, ...]:
    """Return the classes to judge; a model of one class tells it from the one other label of the table."""
    labels = set(cohort.labels)
    if len(card.class_names) == 1:
        others = sorted(labels - set(card.class_names))
        if len(others) == 1:
            return others[0], card.class_names[0]
    elif labels <= set(card.class_names):
        return card.class_names
    raise EvaluationError(
        f"{name} knows {', '.join(card.class_names)}; the table has {', '.join(sorted(labels))}. "
        "Name the classes in the table as the model does."
    )


def _probabilities(name: str, model: MILModel, slide: str, bags: Bags) -> NDArray[np.float64]:
    found = predict(model, bags.values[slide])
    if not np.isfinite(found).all():
        raise EvaluationError(f"{name} gives no number for {slide}. Its weights may be damaged: train it again.")
    return found if len(found) > 1 else np.array([1 - found[0], found[0]])


def _threshold(
    training: Mapping[str, Any], class_names: tuple[str, ...], given: float | None
) -> tuple[dict[int, float], str, tuple[str, ...]]:
    if len(class_names) > 2:
        if given is not None:
            raise EvaluationError("A threshold is for two classes; this model has more. Leave the threshold out.")
        return {}, "none: of more than two classes the likeliest is taken", ()
    if given is not None:
        return {_FOLD: given}, "given", ()
    known = training.get("threshold")
    if isinstance(known, int | float) and np.isfinite(known):
        return {_FOLD: float(known)}, "the model's card, chosen on validation slides in training", ()
    note = "Its card states no threshold chosen on validation slides: 0.5 is used."
    return {_FOLD: HALF}, "0.5, for want of one on the model's card", (note,)


def _origin(path: Path, card: ModelCard) -> dict[str, Any]:
    return {
        "model": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "title": card.title,
        "encoder": {"name": card.encoder, "hash": card.encoder_hash, "version": card.encoder_version},
    }
