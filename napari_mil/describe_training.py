"""What a training or a fine-tuning came to: a record for machines, text for people."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .counting import counted
from .describe import Described

if TYPE_CHECKING:
    from .training import FineTuned, TrainingResult


def describe_training(result: TrainingResult, out: Path) -> Described:
    """Say what a training run came to.

    Parameters
    ----------
    result : TrainingResult
        The training run.
    out : Path
        Its folder.

    Returns
    -------
    (dict, str)
        JSON-able record, and the same as text.
    """
    record = {
        "out": str(out),
        **_both(result),
        "auc_pooled": _finite(result.auc_pooled),
        "subsampling": result.subsampling,
    }
    together = f" (all folds together {result.auc_pooled:.3f})" if len(result.folds) > 1 else ""
    text = (
        f"{result.pooling} on {counted(result.n_slides, 'slide')} of {counted(result.n_patients, 'patient')}, "
        f"{counted(len(result.folds), 'fold')}\n"
        f"AUC on held-out patients: {_auc_words(result.auc_mean, result.auc_sd)}{together}\n"
        + (f"{result.subsampling}\n" if result.subsampling else "")
        + f"Model, fitted again on all slides for {counted(result.epochs, 'epoch')}: {result.model_path}"
    )
    return record, text


def describe_fine_tuning(result: FineTuned) -> Described:
    """Say what fine-tuning came to, and how to use what it left.

    Parameters
    ----------
    result : FineTuned
        The fine-tuning.

    Returns
    -------
    (dict, str)
        JSON-able record, and the same as text.
    """
    record = {
        "out": str(result.out),
        **_both(result),
        "encoder": str(result.encoder_path),
        "encoder_info": asdict(result.encoder),
    }
    text = (
        f"{result.encoder.name} and {result.pooling} on {counted(result.n_slides, 'slide')} of "
        f"{counted(result.n_patients, 'patient')}, {counted(len(result.folds), 'fold')}\n"
        f"AUC on held-out patients: {_auc_words(result.auc_mean, result.auc_sd)}\n"
        f"Encoder and model, fitted again on all slides for {counted(result.epochs, 'epoch')}. Use them with\n"
        f"  napari-mil run SLIDE --model {result.model_path} --encoder {result.encoder_path} --out DIR\n"
        "or copy both, with the encoder's .json, into the models folder."
    )
    return record, text


def _both(result: TrainingResult | FineTuned) -> dict[str, Any]:
    """Return what is recorded of a training and of a fine-tuning alike."""
    return {
        "model": str(result.model_path),
        "pooling": result.pooling,
        "class_names": list(result.class_names),
        "slides": result.n_slides,
        "patients": result.n_patients,
        "folds": len(result.folds),
        "auc_mean": _finite(result.auc_mean),
        "auc_sd": _finite(result.auc_sd),
        "epochs": result.epochs,
    }


def _auc_words(mean: float, sd: float) -> str:
    """Return a mean AUC of folds and its standard deviation, or why there is none; NaN stands for none."""
    if mean != mean:
        return "unknown: no fold's test slides hold every class"
    return f"{mean:.3f} ± {sd:.3f}" if sd == sd else f"{mean:.3f}"


def _finite(x: float) -> float | None:
    return x if x == x else None  # JSON has no word for NaN
