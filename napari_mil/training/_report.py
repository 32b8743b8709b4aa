"""What a training run leaves in its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import ExportError
from ..models import MILModel, save_model
from ..slides import slide_name
from ._figure import roc_figure
from ._threshold import youden_threshold

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ._cohort import Cohort
    from ._folds import Fold
    from ._job import Job
    from ._results import FoldResult, TrainingResult


_TABLES = ("metrics.csv", "predictions.csv", "validation.csv", "roc.png", "summary.json")


def fold_training(job: Job, part: Fold, result: FoldResult, validation: pd.DataFrame) -> dict[str, Any]:
    """Return what the card of a fold's model says of its training, given its predictions of its validation slides."""
    threshold = chosen_threshold(job.cohort, validation)
    return {
        **_common_training(job),
        "note": f"Model of fold {result.fold}; auc is on the {result.n_test} test slides of patients it had not seen.",
        "seen": fingerprints(job.cohort, np.concatenate([part.train, part.val]), job.quickhashes),
        **_plain(asdict(result)),
        **({} if threshold is None else {"threshold": threshold}),
    }


def final_training(job: Job, result: TrainingResult, validation: pd.DataFrame) -> dict[str, Any]:
    """Return what the card of the final model says of its training, given the folds' predictions on validation.

    The final model has no validation slides of its own, so that its threshold is the median of the folds'.
    """
    each = [chosen_threshold(job.cohort, table) for _, table in validation.groupby("fold")]
    known = [threshold for threshold in each if threshold is not None]
    return {
        **_common_training(job),
        "note": (
            f"Fitted on all {result.n_slides} slides of {result.n_patients} patients for {result.epochs} epochs, the "
            "median of the folds; the AUCs are those of the fold models on patients they had not seen."
        ),
        "n_slides": result.n_slides,
        "n_patients": result.n_patients,
        "folds": len(result.folds),
        "fold_aucs": [_plain(asdict(fold))["auc"] for fold in result.folds],
        "epochs": result.epochs,
        "seen": fingerprints(job.cohort, np.arange(len(job.cohort)), job.quickhashes),
        **({"threshold": float(np.median(known))} if known else {}),
        **_plain({"auc_mean": result.auc_mean, "auc_sd": result.auc_sd, "auc_pooled": result.auc_pooled}),
    }


def chosen_threshold(cohort: Cohort, validation: pd.DataFrame) -> float | None:
    """Return the threshold that validation chooses; None with more than two classes, or where it lacks one."""
    if len(cohort.class_names) != 2:
        return None
    truth, probabilities = truth_and_probabilities(cohort, validation)
    threshold = youden_threshold(truth == 1, probabilities[:, 1])
    return None if np.isnan(threshold) else threshold


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
        f"{larger} of {len(job.sizes)} slides have more than {most} patches: {most} of theirs were drawn anew in each "
        "training epoch, by the seed; all were used to validate and to test."
    )


def remove_earlier(out: Path) -> None:
    """Remove what an earlier training left, but for its final model: fold models and tables of two must not mix."""
    try:
        for path in [*out.glob("fold_*.safetensors"), *(out / name for name in _TABLES)]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(f"Cannot replace the results in {out}: {error.strerror}. Choose another folder.") from error


def save(job: Job, model: MILModel, name: str, training: Mapping[str, Any]) -> None:
    """Complete a fitted model's card and write it as ``<name>.safetensors``."""
    model.card = replace(model.card, **job.origin, training=training)
    save_model(job.out / f"{name}.safetensors", model)


def write_tables(
    job: Job, result: TrainingResult, metrics: pd.DataFrame, predictions: pd.DataFrame, validation: pd.DataFrame
) -> None:
    """Write ``metrics.csv``, ``predictions.csv``, ``validation.csv``, ``roc.png`` and ``summary.json``."""
    pairs = [truth_and_probabilities(job.cohort, table) for _, table in predictions.groupby("fold")]
    figure = roc_figure([truth for truth, _ in pairs], [p for _, p in pairs], job.cohort.class_names)
    summary = final_training(job, result, validation) | {
        "pooling": result.pooling,
        "class_names": result.class_names,
        "n_slides": result.n_slides,
        "n_patients": result.n_patients,
        "encoder": job.origin,
        "folds": [_plain(asdict(fold)) for fold in result.folds],
    }
    try:
        metrics.to_csv(job.out / "metrics.csv", index=False)
        predictions.to_csv(job.out / "predictions.csv", index=False)
        validation.to_csv(job.out / "validation.csv", index=False)
        figure.savefig(job.out / "roc.png")
        (job.out / "summary.json").write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ExportError(
            f"Cannot write the results to {job.out}: {error.strerror}. Free or choose a folder."
        ) from error


def truth_and_probabilities(cohort: Cohort, table: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return true classes (n,) and predicted probabilities (n, C) of a table of predictions."""
    truth = np.array([cohort.class_names.index(label) for label in table["label"]], dtype=np.int64)
    return truth, table[[f"p_{name}" for name in cohort.class_names]].to_numpy(np.float64)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Put None where JSON has no word for NaN."""
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in values.items()}
