"""What the Train button asks for, what is checked before it, and the steps of both for the worker's thread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import CohortError
from ...progress import Pacer, Progress

if TYPE_CHECKING:
    from ...progress import Steps
    from ...training import Cohort, EpochProgress, TrainingResult


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What the Train button asks for.

    Parameters
    ----------
    table, features, out : Path
        Cohort table, folder of feature files, folder of the results.
    pooling, recipe : str
        What `create_model` takes; a key of `RECIPES`.
    folds, epochs, seed : int
        Folds of the cohort, most epochs, and the seed of everything drawn.
    device : str
        "auto", "cpu", "cuda" or "mps".
    title, task : str
        For the model's card.
    resume : bool
        Go on where a training into the folder was stopped.
    """

    table: Path
    features: Path
    out: Path
    pooling: str
    recipe: str
    folds: int
    epochs: int
    seed: int
    device: str
    title: str
    task: str
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked at before a training.

    Parameters
    ----------
    table, features : Path or None
        None while not chosen.
    folds, seed : int
        As in `TrainRequest`.
    """

    table: Path | None
    features: Path | None
    folds: int
    seed: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found before a training; empty strings where nothing is wrong.

    Parameters
    ----------
    cohort : Cohort or None
        The table, where it can be read.
    table_fault, features_fault, folds_fault : str
        What is wrong, in words.
    found : int
        Feature files found.
    """

    cohort: Cohort | None = None
    table_fault: str = ""
    features_fault: str = ""
    folds_fault: str = ""
    found: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochsProgress(Progress):
    """Progress of a training with every epoch since the last one.

    Parameters
    ----------
    epochs : tuple of EpochProgress
        In order; none is ever left out.
    """

    epochs: tuple[EpochProgress, ...] = ()


def check_steps(wanted: Wanted) -> Steps[Checked]:
    """Look at table, features and folds, without reading any features.

    Parameters
    ----------
    wanted : Wanted
        What was chosen so far.

    Returns
    -------
    Checked
        What was found.
    """
    yield Progress("Looking at the table")
    # pandas comes with these and takes a moment to load
    from ...training import feature_files, make_folds, read_cohort

    if wanted.table is None:
        return Checked()
    try:
        cohort = read_cohort(wanted.table)
    except CohortError as error:
        return Checked(table_fault=str(error))
    checked = Checked(cohort)
    yield Progress("Looking for features")
    if wanted.features is not None:
        try:
            checked = replace(checked, found=len(feature_files(cohort, wanted.features)))
        except CohortError as error:
            checked = replace(checked, features_fault=str(error))
    yield Progress("Dividing the patients")
    try:
        make_folds(cohort, wanted.folds, wanted.seed)
    except CohortError as error:
        checked = replace(checked, folds_fault=str(error))
    return checked


def train_steps(request: TrainRequest) -> Steps[TrainingResult]:
    """Read table and features, and train; ten times a second at most, since epochs of small cohorts take less.

    Parameters
    ----------
    request : TrainRequest
        What was chosen.

    Returns
    -------
    TrainingResult
        As `iter_train`.
    """
    yield Progress("Starting")
    from ...training import RECIPES, EpochProgress, iter_train, load_bags, read_cohort

    cohort = read_cohort(request.table)
    yield Progress("Reading features")
    bags = load_bags(cohort, request.features)
    yield Progress("Preparing")
    training = iter_train(
        cohort,
        bags,
        request.pooling,
        request.out,
        recipe=replace(RECIPES[request.recipe], epochs=request.epochs, seed=request.seed),
        folds=request.folds,
        device=request.device,
        title=request.title,
        task=request.task,
        resume=request.resume,
    )
    waiting: list[EpochProgress] = []
    pacer = Pacer("Training", 1)
    try:
        while True:
            step = next(training)
            if isinstance(step, EpochProgress):
                waiting.append(step)
            paced = pacer.step(0)
            if paced is not None:
                yield _together(step, waiting)
                waiting = []
    except StopIteration as end:
        if waiting:
            yield _together(waiting[-1], waiting)
        result: TrainingResult = end.value
        return result
    finally:
        training.close()


def _together(step: Progress, epochs: list[EpochProgress]) -> EpochsProgress:
    return EpochsProgress(step.stage, step.done, step.total, step.rate, step.message, step.unit, epochs=tuple(epochs))
