"""Runs as training leaves them, made by hand, so that every figure is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from napari_mil.evaluation import Candidate, Predictions


@pytest.fixture(autouse=True, scope="session")
def _few_threads() -> None:
    torch.set_num_threads(1)  # tiny bags: threads cost more than they give


@pytest.fixture(scope="session")
def candidate() -> Callable[..., Candidate]:
    """Return a function that makes a candidate from true classes and probabilities."""

    def make(
        targets: Sequence[int],
        probabilities: object,
        *,
        name: str = "a",
        folds: Sequence[int] | None = None,
        patients: Sequence[str] | None = None,
        class_names: tuple[str, ...] = ("normal", "tumour"),
        threshold: float = 0.5,
    ) -> Candidate:
        p = np.asarray(probabilities, dtype=np.float64)
        p = np.stack([1 - p, p], axis=1) if p.ndim == 1 else p
        slides = tuple(f"s{i}" for i in range(len(p)))
        folds = np.asarray(folds if folds is not None else np.ones(len(p)), dtype=np.int64)
        test = Predictions(slides, tuple(patients or slides), np.asarray(targets), p, folds, class_names)
        cuts = {int(fold): threshold for fold in folds} if len(class_names) == 2 else {}
        return Candidate(name, "mean", test, cuts, "given")

    return make


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run: rows of (slide, patient, label, fold, probability of tumour)."""

    def write(name: str, test: Sequence[tuple], validation: Sequence[tuple] | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, rows in (("predictions.csv", test), ("validation.csv", validation)):
            if rows is not None:
                table = pd.DataFrame(rows, columns=["slide", "patient", "label", "fold", "p_tumour"])
                table.insert(4, "p_normal", [1 - p if isinstance(p, float) else p for p in table["p_tumour"]])
                table.to_csv(folder / file, index=False)
        (folder / "summary.json").write_text(json.dumps({"pooling": "mean", "seed": 3}))
        return folder

    return write
