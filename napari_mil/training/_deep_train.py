"""Fine-tune over folds, measure on unseen patients, then fit the encoder and pooling to keep on everyone."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import ExportError
from ..features import Encoder, EncoderInfo, choose_device, save_encoder
from ..files import cannot_write
from ..models import MILModel, create_model, save_model
from ..progress import Pacer, Progress, Steps
from ._deep import DeepMIL, check_trainable
from ._deep_fit import DeepEpoch, FineTuning, fit_deep, predict_pool
from ._deep_patches import PatchStore, find_slides, iter_pools
from ._deep_report import FineTuned, card_training, fold_auc, write_tables
from ._folds import Fold, make_folds
from ._metrics import bag_auc
from ._report import truth_and_probabilities
from ._results import FoldResult

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ._cohort import Cohort

STAGE = "Fine-tuning"
MODEL_FILE = "model.safetensors"
FINAL = 0  # number of the pair fitted on all slides; the folds count from 1


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
        Folder for the encoder, ``model.safetensors``, ``metrics.csv``, ``predictions.csv``, ``roc.png`` and
        ``summary.json``; made if need be. It must not hold such a model yet.
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

    Yields
    ------
    Progress
        In slides. Closing the generator ends the training and leaves nothing of it.

    Returns
    -------
    FineTuned
        The figures and where the files are.

    Raises
    ------
    EncoderError
        If the encoder has no weights that carry gradients, or cannot be saved; both are tried before anything is read.
    CohortError
        If slides are missing, a slide is listed under two names, or the cohort cannot be divided.
    SlideError, TilingError
        If a slide cannot be read, or has no scale or no tissue.
    ModelError
        If the pooling is unknown, the loss is no longer finite, or the GPU's memory does not suffice.
    ExportError
        If the folder cannot be written or holds a model.
    ValueError
        If ``patches_per_slide`` is not positive, or the name has other letters.
    """
    recipe = recipe or FineTuning()
    if patches_per_slide < 1:
        raise ValueError(f"patches_per_slide must be positive, not {patches_per_slide}")
    parts = make_folds(cohort, folds, recipe.seed)
    paths = find_slides(cohort, slides)
    name = name or re.sub(r"[^\w-]+", "_", encoder.info.name.removeprefix("timm:")) + "-tuned"
    folder = _empty_folder(Path(out))
    yield Progress(STAGE, message="trying the encoder")
    create_model(pooling, in_features=encoder.info.dim, class_names=cohort.class_names, **dict[str, Any](config or {}))
    _check_encoder(encoder, folder, name)
    need = len(paths) * patches_per_slide * encoder.info.tile_px**2 * 3
    with closing(PatchStore(folder, need)) as store, _given_back(encoder) as start:
        pools = yield from iter_pools(
            cohort, paths, encoder.info, store, most=patches_per_slide, seed=recipe.seed, slide_mpp=slide_mpp
        )
        job = _Job(cohort, pools, encoder, start, pooling, config or {}, recipe, choose_device(device).device)
        pacer = Pacer(STAGE, recipe.epochs * (sum(len(part.train) for part in parts) + len(cohort)), unit="slides")
        runs: list[_Run] = []
        for number, part in enumerate(parts, start=1):
            runs.append((yield from _run_fold(job, part, number, len(parts), _Told(pacer, runs, recipe.epochs))))
        model, epochs = yield from _fit_final(job, runs, _Told(pacer, runs, recipe.epochs))
        training = card_training(
            cohort,
            encoder.info,
            recipe,
            [run.result for run in runs],
            epochs=epochs,
            patches_per_slide=patches_per_slide,
            device=job.device,
        )
        saved = save_encoder(encoder, folder, name, title=f"{encoder.title}, fine-tuned")
    _save_pooling(folder / MODEL_FILE, model, saved.info, title, task, training)
    tables = zip(*((run.metrics, run.predictions) for run in runs), strict=True)
    write_tables(folder, cohort, pooling, training, *(pd.concat(parts_of) for parts_of in tables))
    return _result(folder, saved, job, [run.result for run in runs], epochs)


@contextmanager
def _given_back(encoder: Encoder) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yield a copy of an encoder's weights, and put them back at the end: its name and hash are theirs."""
    start = {key: value.detach().clone() for key, value in encoder.to("cpu").module.state_dict().items()}
    try:
        yield start
    finally:
        encoder.to("cpu").module.load_state_dict(start)


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """What all folds share."""

    cohort: Cohort
    pools: list[NDArray[np.uint8]]
    encoder: Encoder
    start: Mapping[str, torch.Tensor]
    pooling: str
    config: Mapping[str, Any]
    recipe: FineTuning
    device: str

    def new_model(self, number: int) -> DeepMIL:
        """Return the encoder as it was given, with a fresh pooling."""
        self.encoder.to(self.device).module.load_state_dict(self.start)
        pooling = create_model(
            self.pooling,
            in_features=self.encoder.info.dim,
            class_names=self.cohort.class_names,
            seed=self._seed(number),
            **self.config,
        )
        return DeepMIL(self.encoder, pooling, chunk=self.recipe.chunk).to(self.device)

    def recipe_of(self, number: int) -> FineTuning:
        """Return the recipe of a fold (or `FINAL`), with a seed of its own."""
        return replace(self.recipe, seed=self._seed(number))

    def _seed(self, number: int) -> int:
        return int(np.random.SeedSequence([self.recipe.seed, number]).generate_state(1)[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A finished fold: its figures, its epochs, its test predictions."""

    result: FoldResult
    metrics: pd.DataFrame
    predictions: pd.DataFrame


class _Told:
    """Turns a fit's signs of life into Progress."""

    def __init__(self, pacer: Pacer, runs: list[_Run], epochs: int) -> None:
        self._pacer = pacer
        self._done = epochs * sum(run.result.n_train for run in runs)

    def of(self, fitting: Generator[DeepEpoch | bool, None, int], what: str) -> Steps[tuple[int, list[DeepEpoch]]]:
        """Yield Progress; return the epoch that was kept and all epochs."""
        history: list[DeepEpoch] = []
        with closing(fitting):
            while True:
                try:
                    found = next(fitting)
                except StopIteration as end:
                    return end.value, history
                if isinstance(found, DeepEpoch):
                    history.append(found)
                else:
                    self._done += found
                progress = self._pacer.step(self._done, _words(what, history))
                if progress is not None:
                    yield progress


def _words(what: str, history: list[DeepEpoch]) -> str:
    known = history and not np.isnan(history[-1].val_auc)
    return f"{what}, epoch {len(history) + 1}" + (f", validation AUC {history[-1].val_auc:.2f}" if known else "")


def _run_fold(job: _Job, part: Fold, number: int, n_folds: int, told: _Told) -> Steps[_Run]:
    model, targets = job.new_model(number), job.cohort.targets
    fitting = fit_deep(model, job.pools, targets, part.train, part.val, job.recipe_of(number))
    what = f"fold {number} of {n_folds}"
    kept, history = yield from told.of(fitting, what)
    rows = []
    for row in part.test:
        cohort = job.cohort
        record: dict[str, Any] = {"slide": cohort.slides[row], "patient": cohort.patients[row]}
        record |= {"label": cohort.labels[row], "fold": number, "patches": len(job.pools[row])}
        predicting = predict_pool(model, job.pools[row])
        while True:
            try:
                next(predicting)
            except StopIteration as end:
                record |= {f"p_{name}": p for name, p in zip(cohort.class_names, end.value, strict=True)}
                break
            yield Progress(STAGE, message=f"{what}, predicting unseen patients")
        rows.append(record)
    predictions = pd.DataFrame(rows)
    auc = bag_auc(*truth_and_probabilities(job.cohort, predictions))
    result = FoldResult(number, auc, kept, len(part.train), len(part.val), len(part.test))
    return _Run(result, pd.DataFrame([{"fold": number, **asdict(epoch)} for epoch in history]), predictions)


def _fit_final(job: _Job, runs: list[_Run], told: _Told) -> Steps[tuple[MILModel, int]]:
    """Fit the pair to keep on all slides, for the median best epoch of the folds; return its pooling and the epochs."""
    epochs = int(np.median([run.result.best_epoch for run in runs]))
    everyone, nobody = np.arange(len(job.cohort), dtype=np.int64), np.empty(0, dtype=np.int64)
    model = job.new_model(FINAL)
    fitting = fit_deep(model, job.pools, job.cohort.targets, everyone, nobody, job.recipe_of(FINAL), stop=epochs)
    yield from told.of(fitting, "final pair, all slides")
    return model.split(), epochs


def _save_pooling(
    path: Path, pooling: MILModel, info: EncoderInfo, title: str, task: str, training: Mapping[str, Any]
) -> None:
    """Write the pooling with a card that names the encoder fitted with it."""
    pooling.card = replace(
        pooling.card,
        title=title,
        task=task,
        encoder=info.name,
        encoder_hash=info.weights_hash,
        encoder_version=info.version,
        tile_px=info.tile_px,
        mpp=info.mpp,
        training=training,
    )
    save_model(path, pooling)


def _result(folder: Path, saved: Encoder, job: _Job, folds: list[FoldResult], epochs: int) -> FineTuned:
    mean, sd = fold_auc(folds)
    return FineTuned(
        out=folder,
        model_path=folder / MODEL_FILE,
        encoder_path=Path(saved.source),
        encoder=saved.info,
        pooling=job.pooling,
        class_names=job.cohort.class_names,
        folds=tuple(folds),
        auc_mean=mean,
        auc_sd=sd,
        epochs=epochs,
        n_slides=len(job.cohort),
        n_patients=len(set(job.cohort.patients)),
    )


def _check_encoder(encoder: Encoder, folder: Path, name: str) -> None:
    """Try what would otherwise fail after hours: a gradient, and writing the encoder."""
    check_trainable(encoder)
    try:
        with TemporaryDirectory(prefix=".partial-", dir=folder) as trial:
            save_encoder(encoder, trial, name)
    except OSError as err:
        raise ExportError(cannot_write(folder, err)) from err


def _empty_folder(out: Path) -> Path:
    if (out / MODEL_FILE).exists():
        raise ExportError(f"{out} holds a model already. Choose another folder, or move it away.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ExportError(f"Cannot make the folder {out}: {err.strerror}. Choose another one.") from err
    return out
