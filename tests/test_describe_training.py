"""What is said of a training and of a fine-tuning: one of a thing is one, and what is not known is said in words."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from napari_mil.describe_training import describe_fine_tuning, describe_training
from napari_mil.features import EncoderInfo
from napari_mil.models import ModelCard, card_details, card_summary
from napari_mil.training import FineTuned, FoldResult, TrainingResult

NAN = math.nan


def training(folds: int, auc_sd: float, n: int, epochs: int, auc_mean: float = 0.9) -> TrainingResult:
    results = tuple(FoldResult(k + 1, auc_mean, 1, 1, 1, 1) for k in range(folds))
    files = Path("out"), Path("out/model.safetensors")
    return TrainingResult(*files, "mean", ("a", "b"), results, auc_mean, auc_sd, 0.85, epochs, n, n, "")


@pytest.mark.parametrize(
    ("result", "first", "second", "last"),
    [
        (
            training(1, NAN, 1, 1),
            "mean on 1 slide of 1 patient, 1 fold",
            "AUC on held-out patients: 0.900",
            "1 epoch: ",
        ),
        (
            training(5, 0.04, 1200, 12),
            "mean on 1,200 slides of 1,200 patients, 5 folds",
            "AUC on held-out patients: 0.900 ± 0.040 (all folds together 0.850)",
            "12 epochs: ",
        ),
        (
            training(1, NAN, 3, 2, auc_mean=NAN),
            "mean on 3 slides of 3 patients, 1 fold",
            "AUC on held-out patients: unknown: no fold's test slides hold every class",
            "2 epochs: ",
        ),
    ],
)
def test_a_training_in_words(result: TrainingResult, first: str, second: str, last: str) -> None:
    record, text = describe_training(result, Path("out"))
    lines = text.splitlines()
    assert lines[:2] == [first, second]
    assert lines[2].startswith(f"Model, fitted again on all slides for {last}")
    json.dumps(record, allow_nan=False)  # what is not known is null
    assert record["auc_sd"] is None or record["auc_sd"] == result.auc_sd


def test_a_fine_tuning_in_words() -> None:
    fold = (FoldResult(1, NAN, 1, 1, 1, 1),)
    info = EncoderInfo("base-tuned", "1", "0123456789abcdef", 6, 16, 4.0)
    files = Path("out"), Path("out/model.safetensors"), Path("out/base-tuned.pt")
    record, text = describe_fine_tuning(FineTuned(*files, info, "mean", ("a", "b"), fold, NAN, NAN, 1, 1, 1))
    assert text.startswith("base-tuned and mean on 1 slide of 1 patient, 1 fold\n")
    assert "fitted again on all slides for 1 epoch. Use them with\n" in text
    assert "--model out/model.safetensors --encoder out/base-tuned.pt --out DIR" in text
    json.dumps(record, allow_nan=False)


def test_a_card_of_one_slide() -> None:
    told = {"n_slides": 1, "n_patients": 1, "auc_mean": 0.5, "folds": 1, "epochs": 1}
    card = ModelCard("mean", 1, {}, ("a", "b"), encoder="e", training=told)
    said = "\n".join([*card_summary(card), *card_details(card)])
    for words in ("Trained on: 1 slide of 1 patient", "(1 fold)", "Training: 1 epoch", "Takes 1 number per patch"):
        assert words in said
