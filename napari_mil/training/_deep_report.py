"""What fine-tuning leaves in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..counting import counted
from ..errors import ExportError
from ..features import Encoder, EncoderInfo, save_encoder
from ..files import cannot_write
from ..models import MILModel, save_model
from ._deep import check_trainable
from ._folder import MODEL_FILE, encoder_files, remove
from ._metrics import bag_auc
from ._report import fingerprints, median_threshold, origin, plain, truth_and_probabilities, write_tables
from ._results import FoldResult
from ._run import Run, fold_auc

if TYPE_CHECKING:
    from ._deep_job import DeepJob


@dataclass(frozen=True, slots=True)
class FineTuned:
    """What fine-tuning came to.

    Parameters
    ----------
    out : Path
        Folder of all files.
    model_path : Path
        The pooling, fitted on all slides.
    encoder_path : Path
        The encoder fitted with it; `load_encoder` takes it.
    encoder : EncoderInfo
        What a model card and a feature file remember of that encoder.
    pooling : str
        Name of the pooling.
    class_names : tuple of str
        Its classes.
    folds : tuple of FoldResult
        One per fold.
    auc_mean, auc_sd : float
        Mean and standard deviation (ddof 1) of the folds' test AUC; NaN where undefined.
    epochs : int
        Epochs that the final pair was fitted for.
    n_slides, n_patients : int
        Size of the cohort.
    """

    out: Path
    model_path: Path
    encoder_path: Path
    encoder: EncoderInfo
    pooling: str
    class_names: tuple[str, ...]
    folds: tuple[FoldResult, ...]
    auc_mean: float
    auc_sd: float
    epochs: int
    n_slides: int
    n_patients: int


def check_encoder(encoder: Encoder, folder: Path, name: str) -> None:
    """Try what would otherwise fail after hours: a gradient, and writing the encoder.

    Raises
    ------
    EncoderError
        If it carries no gradients to its weights, or cannot be written so that it computes the same.
    ExportError
        If the folder cannot be written.
    """
    check_trainable(encoder)
    try:
        with TemporaryDirectory(prefix=".partial-", dir=folder) as trial:
            save_encoder(encoder, trial, name)
    except OSError as err:
        raise ExportError(cannot_write(folder, err)) from err


def write_results(
    job: DeepJob,
    runs: Sequence[Run],
    pooling: MILModel,
    epochs: int,
    n_patches: Sequence[int],
    words: Mapping[str, str],
) -> FineTuned:
    """Write encoder, tables, picture and, last of all, the pooling that makes the folder a finished run.

    Parameters
    ----------
    job : DeepJob
        The run; its encoder is the one fitted on all slides.
    runs : sequence of Run
        Its folds.
    pooling : MILModel
        Fitted with that encoder.
    epochs : int
        For how many epochs.
    n_patches : sequence of int
        Patches of each slide that were looked at.
    words : mapping
        Title and task for the model's card.

    Returns
    -------
    FineTuned
        The figures and where the files are.
    """
    training = _card_training(job, runs, epochs, n_patches)
    for path in encoder_files(job.out, job.name):
        remove(path)  # of a run that was killed here; `check_free` has seen that there was none before it
    saved = save_encoder(job.encoder, job.out, job.name, title=f"{job.encoder.title}, fine-tuned")
    about = {**words, **origin(saved.info)}
    summary = training | {
        "pooling": job.pooling,
        "class_names": job.cohort.class_names,
        "encoder": about,
        "folds": [plain(asdict(run.result)) for run in runs],
    }
    write_tables(job.out, job.cohort, runs, summary)
    pooling.card = replace(pooling.card, **about, training=training)
    save_model(job.out / MODEL_FILE, pooling)
    return FineTuned(
        out=job.out,
        model_path=job.out / MODEL_FILE,
        encoder_path=Path(saved.source),
        encoder=saved.info,
        pooling=job.pooling,
        class_names=job.cohort.class_names,
        folds=tuple(run.result for run in runs),
        auc_mean=training["auc_mean"] if training["auc_mean"] is not None else float("nan"),
        auc_sd=training["auc_sd"] if training["auc_sd"] is not None else float("nan"),
        epochs=epochs,
        n_slides=len(job.cohort),
        n_patients=training["n_patients"],
    )


def _card_training(job: DeepJob, runs: Sequence[Run], epochs: int, n_patches: Sequence[int]) -> dict[str, Any]:
    """Return what the card of the fitted pooling says of its training.

    It has no validation slides of its own, so that its threshold is the median of the folds'.
    """
    cohort, base, settings = job.cohort, job.encoder.info, asdict(job.recipe)
    auc_mean, auc_sd = fold_auc([run.result for run in runs])
    predictions, validation = (pd.concat([getattr(run, of) for run in runs]) for of in ("predictions", "validation"))
    threshold = median_threshold(cohort, validation)
    n_patients = len(set(cohort.patients))
    return {
        "note": (
            f"Encoder and pooling were fitted together on all {counted(len(cohort), 'slide')} of "
            f"{counted(n_patients, 'patient')} for {counted(epochs, 'epoch')}, the median of the folds; the AUCs are "
            f"those of the folds' own pairs on patients they had not seen, by up to "
            f"{counted(job.patches_per_slide, 'patch')} a slide."
        ),
        "base_encoder": {"name": base.name, "weights_hash": base.weights_hash, "version": base.version},
        "slides_per_class": {name: cohort.labels.count(name) for name in cohort.class_names},
        "n_slides": len(cohort),
        "n_patients": n_patients,
        "folds": len(runs),
        "fold_aucs": [plain(asdict(run.result))["auc"] for run in runs],
        "epochs": epochs,
        "seen": fingerprints(cohort, np.arange(len(cohort)), job.quickhashes),
        **plain({"auc_mean": auc_mean, "auc_sd": auc_sd}),
        **plain({"auc_pooled": bag_auc(*truth_and_probabilities(cohort, predictions))}),
        **({} if threshold is None else {"threshold": threshold}),
        "patches_per_slide": {
            "least": min(n_patches),
            "median": float(np.median(n_patches)),
            "most": max(n_patches),
            "subsampling": f"at most {job.patches_per_slide:,} of a slide's, spread over its tissue",
        },
        "augmentation": "each patch turned and mirrored; brightness, contrast and saturation of a bag by up to 10 %",
        "seed": settings.pop("seed"),
        "recipe": settings,
        "device": job.device,
        "versions": {name: version(name) for name in ("napari-mil", "torch", "numpy")},
    }
