"""What fine-tuning leaves in its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import ExportError
from ..features import EncoderInfo
from ..files import replacing
from ._figure import roc_figure
from ._report import fingerprints, truth_and_probabilities
from ._results import FoldResult

if TYPE_CHECKING:
    from ._cohort import Cohort
    from ._deep_fit import FineTuning


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


def card_training(
    cohort: Cohort,
    base: EncoderInfo,
    recipe: FineTuning,
    folds: Sequence[FoldResult],
    *,
    epochs: int,
    patches_per_slide: int,
    device: str,
) -> dict[str, Any]:
    """Return what the card of the fitted pooling says of its training."""
    mean, sd = fold_auc(folds)
    settings = asdict(recipe)
    return {
        "note": (
            f"Encoder and pooling were fitted together on all {len(cohort)} slides of {len(set(cohort.patients))} "
            f"patients for {epochs} epochs, the median of the folds; the AUCs are those of the folds' own pairs on "
            f"patients they had not seen, by up to {patches_per_slide:,} patches a slide."
        ),
        "base_encoder": {"name": base.name, "weights_hash": base.weights_hash, "version": base.version},
        "slides_per_class": {name: cohort.labels.count(name) for name in cohort.class_names},
        "n_slides": len(cohort),
        "n_patients": len(set(cohort.patients)),
        "folds": len(folds),
        "fold_aucs": [_known(fold.auc) for fold in folds],
        "epochs": epochs,
        "seen": fingerprints(cohort, np.arange(len(cohort)), {}),
        "auc_mean": _known(mean),
        "auc_sd": _known(sd),
        "patches_per_slide": patches_per_slide,
        "augmentation": "each patch turned and mirrored; brightness, contrast and saturation of a bag by up to 10 %",
        "seed": settings.pop("seed"),
        "recipe": settings,
        "device": device,
        "versions": {name: version(name) for name in ("napari-mil", "torch", "numpy")},
    }


def fold_auc(folds: Sequence[FoldResult]) -> tuple[float, float]:
    """Return mean and standard deviation (ddof 1) of the folds' AUC, NaN where undefined."""
    known = np.array([fold.auc for fold in folds if np.isfinite(fold.auc)])
    return (
        float(known.mean()) if len(known) else float("nan"),
        float(known.std(ddof=1)) if len(known) > 1 else float("nan"),
    )


def write_tables(
    out: Path,
    cohort: Cohort,
    pooling: str,
    training: Mapping[str, Any],
    metrics: pd.DataFrame,
    predictions: pd.DataFrame,
) -> None:
    """Write ``metrics.csv``, ``predictions.csv``, ``roc.png`` and ``summary.json``, each whole or not at all."""
    pairs = [truth_and_probabilities(cohort, table) for _, table in predictions.groupby("fold")]
    figure = roc_figure([truth for truth, _ in pairs], [p for _, p in pairs], cohort.class_names)
    with replacing(out / "metrics.csv", ExportError) as path:
        metrics.to_csv(path, index=False)
    with replacing(out / "predictions.csv", ExportError) as path:
        predictions.to_csv(path, index=False)
    with replacing(out / "roc.png", ExportError) as path:
        figure.savefig(path)
    with replacing(out / "summary.json", ExportError) as path:
        summary = {**training, "pooling": pooling, "class_names": cohort.class_names}
        path.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None  # JSON has no word for NaN
