"""Fine-tune over folds, measure on unseen patients, then fit the encoder and pooling to keep on everyone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..features import Encoder, choose_device
from ..models import MILModel, create_model
from ..progress import Pacer, Progress, Steps
from ._deep_fit import fit_deep
from ._deep_job import FINAL, DeepBench, DeepJob
from ._deep_patches import PatchStore, iter_pools
from ._deep_predict import predict_pool
from ._deep_recipe import FineTuning
from ._deep_report import FineTuned, check_encoder, write_results
from ._deep_slides import find_slides, iter_quickhashes
from ._deep_told import STAGE, Told
from ._folder import check_free, run_folder
from ._folds import Fold, make_folds
from ._leaks import check_leaks
from ._metrics import bag_auc
from ._report import remove_earlier, truth_and_probabilities
from ._results import FoldResult
from ._resume import Resume
from ._run import Run, predictions_table

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ._cohort import Cohort
    from ._deep import DeepMIL


def iter_fine_tune(
    cohort: Cohort,
    slides: str | os.PathLike[str],
    encoder: Encoder,
    pooling: str,
    out: str | os.PathLike[str],
    *,
    recipe: FineTuning | None = None,
    folds: int = 5,
    patches_per_slide: int = 512,
    slide_mpp: float | None = None,
    device: str = "auto",
    name: str = "",
    title: str = "",
    task: str = "",
    config: Mapping[str, float | str] | None = None,
    resume: bool = False,
) -> Steps[FineTuned]:
    """Train an encoder and a pooling end to end (`DeepMIL`) over patient-disjoint folds, then a pair on all slides.

    For small cohorts on which no encoder at hand does well as it is. It costs as many trainings as there are folds and
    one more: with the defaults up to 30 000 forward passes of a patch for each slide, a backward pass counted as two,
    where extracting features takes one for each tile; `FineTuning` and ``patches_per_slide`` set it. Patches are
    decoded once and kept on the disk of ``out`` meanwhile, ``tile_px**2 * 3`` bytes each. Every fold begins with the
    encoder as it was given; a fold's test slides are predicted once, by the pair that its validation slides chose.

    Parameters
    ----------
    cohort : Cohort
        Slides, labels and patients.
    slides : path
        Folder of the slides.
    encoder : Encoder
        Where to begin; it is given back as it was.
    pooling : str
        Name of the pooling, as `create_model` takes it.
    out : path
        Folder for the encoder, ``model.safetensors``, ``metrics.csv``, ``predictions.csv`` (test) and
        ``validation.csv`` of the folds' pairs, ``roc.png`` and ``summary.json``; made if need be. It must not hold such
        a model or encoder yet.
    recipe : FineTuning, optional
        How; by default that class's defaults.
    folds : int
        Number of folds; ignored where the cohort has its own split.
    patches_per_slide : int
        Most patches of a slide that are looked at: training draws from them, validation and test take them all.
    slide_mpp : float, optional
        Microns per level-0 pixel of slides that do not state it.
    device : {"auto", "cpu", "cuda", "mps"}
        Where to compute.
    name : str
        Name of the fine-tuned encoder, letters, digits, _ and -; by default the encoder's with "-tuned".
    title, task : str
        For the model's card.
    config : mapping, optional
        Sizes of the pooling that differ from its defaults.
    resume : bool
        Go on where a fine-tuning into this folder was stopped, if one was; it must have been begun with the same
        cohort, slides, encoder, pooling and recipe. Patches are read again. On the CPU, with as many threads, the
        result is the very one that it would have had.

    Yields
    ------
    Progress
        In slides. Closing the generator ends the training; ``resume.pt`` stays, from which it can go on. It holds the
        weights of a pair, its best ones and the optimiser's two moments.

    Returns
    -------
    FineTuned
        The figures and where the files are.

    Raises
    ------
    EncoderError
        If the encoder has no weights that carry gradients, or cannot be saved; both are tried before anything is read.
    CohortError
        If slides are missing, a slide is listed under two names, the cohort cannot be divided, or a patient or a slide
        would be in two parts.
    SlideError, TilingError
        If a slide cannot be read, or has no scale or no tissue.
    ModelError
        If the pooling is unknown, the loss is no longer finite, the GPU's memory does not suffice, or the training
        that is to go on is another one.
    ExportError
        If the folder cannot be written, another training is writing into it, or it holds a model or such an encoder.
    ValueError
        If ``patches_per_slide`` is not positive, or the name has other letters.
    """
    recipe = recipe or FineTuning()
    if patches_per_slide < 1:
        raise ValueError(f"patches_per_slide must be positive, not {patches_per_slide}")
    parts = make_folds(cohort, folds, recipe.seed)
    paths = find_slides(cohort, slides)
    name = name or re.sub(r"[^\w-]+", "_", encoder.info.name.removeprefix("timm:")) + "-tuned"
    out = Path(out)
    check_free(out, name, resume=resume)
    with run_folder(out, name):
        check_free(out, name, resume=resume)  # again: a run that held the folder may just have ended
        yield Progress(STAGE, message="trying the encoder")
        sizes = dict[str, Any](config or {})
        create_model(pooling, in_features=encoder.info.dim, class_names=cohort.class_names, **sizes)
        check_encoder(encoder, out, name)
        hashes = yield from iter_quickhashes(cohort, paths, slide_mpp)
        check_leaks(cohort, parts, hashes)
        job = DeepJob(
            cohort=cohort,
            quickhashes=hashes,
            encoder=encoder,
            name=name,
            pooling=pooling,
            config=sizes,
            recipe=recipe,
            patches_per_slide=patches_per_slide,
            slide_mpp=slide_mpp,
            device=choose_device(device).device,
            out=out,
        )
        kept = Resume(out, job.key(folds), go_on=resume)
        result = yield from _tuned(job, paths, parts, kept, {"title": title, "task": task})
        kept.remove()
        return result


def _tuned(
    job: DeepJob, paths: list[Path], parts: list[Fold], kept: Resume, words: Mapping[str, str]
) -> Steps[FineTuned]:
    """Read the patches, fit all pairs, write the results."""
    recipe, everyone = job.recipe, len(job.cohort)
    need = len(paths) * job.patches_per_slide * job.encoder.info.tile_px**2 * 3
    sizes = [recipe.epochs * len(part.train) for part in parts]
    done = sum(sizes[: len(kept.folds)])
    with closing(PatchStore(job.out, need)) as store, _given_back(job.encoder) as start:
        pools = yield from iter_pools(
            paths, job.encoder.info, store, most=job.patches_per_slide, seed=recipe.seed, slide_mpp=job.slide_mpp
        )
        bench = DeepBench(job, pools, start)
        pacer = Pacer(STAGE, sum(sizes) + recipe.epochs * everyone, done=done, unit="slides")
        runs: list[Run] = []
        for number, part in enumerate(parts, start=1):
            told = Told(pacer, sum(sizes[: number - 1]), len(part.train), f"fold {number} of {len(parts)}")
            runs.append((yield from _run_fold(bench, part, number, told, kept)))
        epochs = int(np.median([run.result.best_epoch for run in runs]))
        pooling = yield from _fit_final(
            bench, epochs, Told(pacer, sum(sizes), everyone, "final pair, all slides"), kept
        )
        return write_results(job, runs, pooling, epochs, [len(pool) for pool in pools], words)


@contextmanager
def _given_back(encoder: Encoder) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield a copy of an encoder's weights, and put them back at the end: its name and hash are theirs."""
    start = {key: value.detach().clone() for key, value in encoder.to("cpu").module.state_dict().items()}
    try:
        yield start
    finally:
        encoder.to("cpu").module.load_state_dict(start)


def _run_fold(bench: DeepBench, part: Fold, number: int, told: Told, kept: Resume) -> Steps[Run]:
    if len(kept.folds) >= number:
        return Run.of(kept.folds[number - 1])
    job, model = bench.job, bench.new_model(number)
    fitting = fit_deep(model, bench.pools, job.cohort.targets, part.train, part.val, job.recipe_of(number), keeper=kept)
    best, history = yield from told.fitted(fitting)
    predictions = yield from _predictions(bench, model, part.test, number, told)
    validation = yield from _predictions(bench, model, part.val, number, told)
    auc = bag_auc(*truth_and_probabilities(job.cohort, predictions))
    result = FoldResult(number, auc, best, len(part.train), len(part.val), len(part.test))
    if number == 1:
        remove_earlier(job.out)
    run = Run(result, history, predictions, validation)
    kept.add(run.record())
    return run


def _predictions(
    bench: DeepBench, model: DeepMIL, rows: NDArray[np.int64], number: int, told: Told
) -> Steps[pd.DataFrame]:
    found = []
    for row in rows:
        found.append((yield from told.predicted(predict_pool(model, bench.pools[row]))))  # noqa: PERF401  (it yields)
    return predictions_table(bench.job.cohort, rows, number, found)


def _fit_final(bench: DeepBench, epochs: int, told: Told, kept: Resume) -> Steps[MILModel]:
    """Fit the pair to keep on all slides, for the median best epoch of the folds; return its pooling."""
    job = bench.job
    everyone, nobody = np.arange(len(job.cohort), dtype=np.int64), np.empty(0, dtype=np.int64)
    model = bench.new_model(FINAL)
    fitting = fit_deep(
        model, bench.pools, job.cohort.targets, everyone, nobody, job.recipe_of(FINAL), stop=epochs, keeper=kept
    )
    yield from told.fitted(fitting)
    return model.split()
