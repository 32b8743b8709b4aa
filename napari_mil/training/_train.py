"""Train over folds, measure on unseen patients, then fit the model to keep on everyone."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import ModelError
from ..models import MILModel
from ..progress import Pacer, Steps
from ._fit import Picked, fit, predict
from ._folder import run_folder
from ._folds import Fold, make_folds
from ._job import FINAL, Job
from ._leaks import check_leaks
from ._metrics import bag_auc
from ._recipe import RECIPES, Recipe
from ._report import (
    final_training,
    fold_training,
    origin,
    remove_earlier,
    save,
    subsampling,
    training_summary,
    truth_and_probabilities,
    write_tables,
)
from ._results import Epoch, EpochProgress, FoldResult, TrainingResult
from ._resume import Resume
from ._run import Run, fold_auc, predictions_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._bags import Bags
    from ._cohort import Cohort


def iter_train(
    cohort: Cohort,
    bags: Bags,
    pooling: str,
    out: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    folds: int = 5,
    device: str = "auto",
    title: str = "",
    task: str = "",
    config: Mapping[str, float | str] | None = None,
    resume: bool = False,
) -> Steps[TrainingResult]:
    """Train a model over patient-disjoint folds, then the one to keep on all slides.

    Nothing is chosen by looking at a fold's test slides: each is predicted once, by the model that the fold's
    validation slides chose.

    Parameters
    ----------
    cohort : Cohort
        Slides, labels and patients.
    bags : Bags
        Their features.
    pooling : str
        Name of the model, as `create_model` takes it.
    out : path
        Folder for ``metrics.csv``, ``predictions.csv`` (test) and ``validation.csv`` of the fold models, ``roc.png``,
        ``summary.json``, ``fold_<k>.safetensors`` and ``model.safetensors``; made if need be. What an earlier training
        left there is removed when the first fold is done, its ``model.safetensors`` replaced at the end.
    recipe : Recipe, optional
        How each model is fitted; by default ``RECIPES["default"]``. Its seed is that of the folds too; on the CPU the
        same seed gives the same model.
    folds : int
        Number of folds; ignored where the cohort has its own split.
    device : str
        Torch device, or "auto" for the best one here.
    title, task : str
        For the model's card.
    config : mapping, optional
        Sizes of the pooling that differ from its defaults.
    resume : bool
        Go on where a training into this folder was stopped, if one was; it must have been begun with the same cohort,
        features, pooling and recipe. On the CPU, with as many threads, the result is the very one that it would have
        had.

    Yields
    ------
    EpochProgress
        After every epoch. Closing the generator ends the training; the models of finished folds stay, and so does
        ``resume.pt``, from which it can go on.

    Returns
    -------
    TrainingResult
        The figures and where the files are.

    Raises
    ------
    CohortError
        If the cohort cannot be divided, or a patient or a slide would be in two parts.
    ModelError
        If the pooling is unknown, the recipe is not for it or for the device, the loss is no longer finite, or the
        training that is to go on is another one.
    ExportError
        If the folder cannot be written, or another training is writing into it.
    """
    recipe = recipe or RECIPES["default"]
    parts = make_folds(cohort, folds, recipe.seed)
    check_leaks(cohort, parts, bags.quickhashes)
    sizes = bags.sizes
    job = Job(
        cohort=cohort,
        bags=Picked(bags.values, cohort.slides),
        sizes=np.array([sizes[slide] for slide in cohort.slides], dtype=np.int64),
        quickhashes=bags.quickhashes,
        pooling=pooling,
        config=config or {},
        recipe=recipe,
        device=_resolve(device),
        out=Path(out),
        origin={"title": title, "task": task, **origin(bags.encoder)},
    )
    _check_sizes(job)
    with run_folder(job.out):
        kept = Resume(job.out, _key(job, bags, folds), go_on=resume)
        pacer = Pacer(_STAGE, (len(parts) + 1) * recipe.epochs, unit="epochs")
        runs = []
        for number, part in enumerate(parts, start=1):
            runs.append((yield from _run_fold(job, part, number, len(parts), pacer, kept)))
        result = yield from _finish(job, runs, pacer, kept)
        kept.remove()
        return result


_STAGE = "Training"


def _run_fold(job: Job, part: Fold, number: int, n_folds: int, pacer: Pacer, kept: Resume) -> Steps[Run]:
    if len(kept.folds) >= number:
        run = Run.of(kept.folds[number - 1])
        for epoch in run.epochs:
            yield _progress(epoch, number, n_folds, job.recipe.epochs, 0.0)
        return run
    model = job.new_model(number)
    fitting = fit(
        model, job.bags, job.cohort.targets, part.train, part.val, job.recipe_of(number), device=job.device, keeper=kept
    )
    best, history = yield from _reported(fitting, pacer, number, n_folds, job.recipe.epochs)
    predictions, validation = (_predictions(job, model, rows, number) for rows in (part.test, part.val))
    auc = bag_auc(*truth_and_probabilities(job.cohort, predictions))
    result = FoldResult(number, auc, best, len(part.train), len(part.val), len(part.test))
    if number == 1:
        remove_earlier(job.out)
    save(job, model, f"fold_{number}", fold_training(job, part, result, validation))
    run = Run(result, history, predictions, validation)
    kept.add(run.record())
    return run


def _finish(job: Job, runs: list[Run], pacer: Pacer, kept: Resume) -> Steps[TrainingResult]:
    """Fit the model to keep on all slides; write it, the tables and the picture."""
    epochs = int(np.median([run.result.best_epoch for run in runs]))
    everyone, nobody = np.arange(len(job.cohort), dtype=np.int64), np.empty(0, dtype=np.int64)
    model = job.new_model(FINAL)
    fitting = fit(
        model,
        job.bags,
        job.cohort.targets,
        everyone,
        nobody,
        job.recipe_of(FINAL),
        device=job.device,
        stop=epochs,
        keeper=kept,
    )
    yield from _reported(fitting, pacer, FINAL, len(runs), job.recipe.epochs)
    predictions = pd.concat([run.predictions for run in runs])
    auc_mean, auc_sd = fold_auc([run.result for run in runs])
    result = TrainingResult(
        out=job.out,
        model_path=job.out / "model.safetensors",
        pooling=job.pooling,
        class_names=job.cohort.class_names,
        folds=tuple(run.result for run in runs),
        auc_mean=auc_mean,
        auc_sd=auc_sd,
        auc_pooled=bag_auc(*truth_and_probabilities(job.cohort, predictions)),
        epochs=epochs,
        n_slides=len(job.cohort),
        n_patients=len(set(job.cohort.patients)),
        subsampling=subsampling(job),
    )
    validation = pd.concat([run.validation for run in runs])
    write_tables(job.out, job.cohort, runs, training_summary(job, result, validation))
    save(job, model, "model", final_training(job, result, validation))
    return result


def _reported(
    fitting: Generator[Epoch, None, int], pacer: Pacer, number: int, n_folds: int, epochs: int
) -> Steps[tuple[int, list[Epoch]]]:
    """Pass a fit on as Progress; return the epoch it kept and all its epochs."""
    history: list[Epoch] = []
    rate = 0.0
    while True:
        try:
            epoch = next(fitting)
        except StopIteration as end:
            return end.value, history
        history.append(epoch)
        progress = _progress(epoch, number, n_folds, epochs, rate)
        paced = pacer.step(progress.done)
        rate = rate if paced is None else paced.rate
        yield replace(progress, rate=rate)


def _progress(epoch: Epoch, number: int, n_folds: int, epochs: int, rate: float) -> EpochProgress:
    what = f"fold {number} of {n_folds}" if number != FINAL else "final model, all slides"
    known = "" if np.isnan(epoch.val_auc) else f", validation AUC {epoch.val_auc:.2f}"
    done = (number - 1 if number != FINAL else n_folds) * epochs + epoch.epoch
    message = f"{what}, epoch {epoch.epoch}{known}"
    return EpochProgress(
        _STAGE, done, (n_folds + 1) * epochs, rate, message, "epochs", fold=number, n_folds=n_folds, epoch=epoch
    )


def _predictions(job: Job, model: MILModel, rows: NDArray[np.int64], number: int) -> pd.DataFrame:
    return predictions_table(job.cohort, rows, number, [predict(model, job.bags[row]) for row in rows])


def _key(job: Job, bags: Bags, folds: int) -> dict[str, Any]:
    """Return what the numbers of a run depend on, by what to call it."""
    cohort = job.cohort
    return {
        "cohort": [cohort.slides, cohort.labels, cohort.patients, cohort.splits, cohort.class_names],
        "set of features": [asdict(bags.encoder), job.sizes.tolist(), sorted(bags.quickhashes.items())],
        "pooling": [job.pooling, dict(job.config)],
        "recipe": asdict(job.recipe),
        "number of folds": folds if cohort.splits is None else 0,
        "version of torch": version("torch"),
    }


def _check_sizes(job: Job) -> None:
    """Say before anything is computed that the model cannot be made so."""
    try:
        job.new_model(FINAL)
    except ValueError as error:
        raise ModelError(str(error)) from error


def _resolve(device: str) -> str:
    from ..features import choose_device

    return choose_device(device).device if device == "auto" else device
