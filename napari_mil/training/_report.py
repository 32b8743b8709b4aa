"""What a training run leaves in its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..counting import agreed, counted
from ..errors import ExportError
from ..files import replacing
from ..models import MILModel, save_model
from ..slides import slide_name
from ._figure import roc_figure
from ._folder import TABLE_FILES
from ._run import metrics_table
from ._threshold import youden_threshold

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ..features import EncoderInfo
    from ._cohort import Cohort
    from ._folds import Fold
    from ._job import Job
    from ._results import FoldResult, TrainingResult
    from ._run import Run


def fold_training(job: Job, part: Fold, result: FoldResult, validation: pd.DataFrame) -> dict[str, Any]:
    """Return what the card of a fold's model says of its training, given its predictions of its validation slides."""
    threshold = chosen_threshold(job.cohort, validation)
    return {
        **_common_training(job),
        "note": (
            f"Model of fold {result.fold}; auc is on the {counted(result.n_test, 'test slide')} of patients it had not "
            "seen."
        ),
        "seen": fingerprints(job.cohort, np.concatenate([part.train, part.val]), job.quickhashes),
        **plain(asdict(result)),
        **({} if threshold is None else {"threshold": threshold}),
    }


def final_training(job: Job, result: TrainingResult, validation: pd.DataFrame) -> dict[str, Any]:
    """Return what the card of the final model says of its training, given the folds' predictions on validation.

    The final model has no validation slides of its own, so that its threshold is the median of the folds'.
    """
    threshold = median_threshold(job.cohort, validation)
    return {
        **_common_training(job),
        "note": (
            f"Fitted on all {counted(result.n_slides, 'slide')} of {counted(result.n_patients, 'patient')} for "
            f"{counted(result.epochs, 'epoch')}, the median of the folds; the AUCs are those of the fold models on "
            "patients they had not seen."
        ),
        "n_slides": result.n_slides,
        "n_patients": result.n_patients,
        "folds": len(result.folds),
        "fold_aucs": [plain(asdict(fold))["auc"] for fold in result.folds],
        "epochs": result.epochs,
        "seen": fingerprints(job.cohort, np.arange(len(job.cohort)), job.quickhashes),
        **({} if threshold is None else {"threshold": threshold}),
        **plain({"auc_mean": result.auc_mean, "auc_sd": result.auc_sd, "auc_pooled": result.auc_pooled}),
    }


def chosen_threshold(cohort: Cohort, validation: pd.DataFrame) -> float | None:
    """Return the threshold that validation chooses; None with more than two classes, or where it lacks one."""
    if len(cohort.class_names) != 2:
        return None
    truth, probabilities = truth_and_probabilities(cohort, validation)
    threshold = youden_threshold(truth == 1, probabilities[:, 1])
    return None if np.isnan(threshold) else threshold


def median_threshold(cohort: Cohort, validation: pd.DataFrame) -> float | None:
    """Return the median of the folds' thresholds: for what was fitted on all slides, which has no validation."""
    each = [chosen_threshold(cohort, table) for _, table in validation.groupby("fold")]
    known = [threshold for threshold in each if threshold is not None]
    return float(np.median(known)) if known else None


def origin(encoder: EncoderInfo) -> dict[str, Any]:
    """Return the fields of a model card that say which features the model takes."""
    return {
        "encoder": encoder.name,
        "encoder_hash": encoder.weights_hash,
        "encoder_version": encoder.version,
        "tile_px": encoder.tile_px,
        "mpp": encoder.mpp,
    }


def fingerprints(cohort: Cohort, rows: NDArray[np.int64], quickhashes: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the fingerprints of the slides at some rows and of their patients, and the hashes of the scans known."""
    return {
        "scans": sorted({quickhashes.get(cohort.slides[row], "") for row in rows} - {""}),
        "slides": sorted({fingerprint(slide_name(cohort.slides[row])) for row in rows}),
        "patients": sorted({fingerprint(cohort.patients[row]) for row in rows}),
    }


def fingerprint(name: str) -> str:
    """Return what stands for a slide's or patient's name on a card: it tells a leak, without spelling names out.

    Parameters
    ----------
    name : str
        Stem of the slide's file (`slide_name`), or the patient as the cohort table has it.

    Returns
    -------
    str
        The first 16 hexadecimal digits of its SHA-256.
    """
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _common_training(job: Job) -> dict[str, Any]:
    counts = {name: job.cohort.labels.count(name) for name in job.cohort.class_names}
    versions = {name: version(name) for name in ("napari-mil", "torch", "numpy", "scikit-learn")}
    recipe = asdict(job.recipe)
    seed = recipe.pop("seed")
    return {
        "slides_per_class": counts,
        "patches_per_slide": _patches_seen(job),
        "seed": seed,
        "recipe": recipe,
        "device": job.device,
        "versions": versions,
    }


def _patches_seen(job: Job) -> dict[str, Any]:
    """Return how many patches the slides have, and how training looked at them."""
    sizes = job.sizes
    seen = {"least": int(sizes.min()), "median": float(np.median(sizes)), "most": int(sizes.max())}
    return {**seen, "subsampling": subsampling(job) or "none: training looked at all patches"}


def subsampling(job: Job) -> str:
    """Say what of the larger slides training looked at; nothing where at all of them."""
    most = job.recipe.max_patches
    larger = int((job.sizes > most).sum()) if most else 0
    if not larger:
        return ""
    return (
        f"{larger:,} of {counted(len(job.sizes), 'slide')} {agreed(larger, 'has', 'have')} more than "
        f"{counted(most, 'patch')}: {most:,} of theirs {agreed(most, 'was', 'were')} drawn anew in each training "
        "epoch, by the seed; all were used to validate and to test."
    )


def remove_earlier(out: Path) -> None:
    """Remove what an earlier training left, but for its final model: fold models and tables of two must not mix."""
    try:
        for path in [*out.glob("fold_*.safetensors"), *(out / name for name in TABLE_FILES)]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(f"Cannot replace the results in {out}: {error.strerror}. Choose another folder.") from error


def save(job: Job, model: MILModel, name: str, training: Mapping[str, Any]) -> None:
    """Complete a fitted model's card and write it as ``<name>.safetensors``."""
    model.card = replace(model.card, **job.origin, training=training)
    save_model(job.out / f"{name}.safetensors", model)


def training_summary(job: Job, result: TrainingResult, validation: pd.DataFrame) -> dict[str, Any]:
    """Return what ``summary.json`` says of a training."""
    return final_training(job, result, validation) | {
        "pooling": result.pooling,
        "class_names": result.class_names,
        "n_slides": result.n_slides,
        "n_patients": result.n_patients,
        "encoder": job.origin,
        "folds": [plain(asdict(fold)) for fold in result.folds],
    }


def write_tables(out: Path, cohort: Cohort, runs: Sequence[Run], summary: Mapping[str, Any]) -> None:
    """Write ``metrics.csv``, ``predictions.csv``, ``validation.csv``, ``roc.png`` and ``summary.json``, each whole."""
    pairs = [truth_and_probabilities(cohort, run.predictions) for run in runs]
    figure = roc_figure([truth for truth, _ in pairs], [p for _, p in pairs], cohort.class_names)
    tables = {
        "metrics.csv": metrics_table(runs),
        "predictions.csv": pd.concat([run.predictions for run in runs]),
        "validation.csv": pd.concat([run.validation for run in runs]),
    }
    for name, table in tables.items():
        with replacing(out / name, ExportError) as path:
            table.to_csv(path, index=False)
    with replacing(out / "roc.png", ExportError) as path:
        figure.savefig(path)
    with replacing(out / "summary.json", ExportError) as path:
        path.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def truth_and_probabilities(cohort: Cohort, table: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return true classes (n,) and predicted probabilities (n, C) of a table of predictions."""
    truth = np.array([cohort.class_names.index(label) for label in table["label"]], dtype=np.int64)
    return truth, table[[f"p_{name}" for name in cohort.class_names]].to_numpy(np.float64)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put None where JSON has no word for NaN."""
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in values.items()}
