"""A card in plain words: what training wrote is told, what it did not write is not made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_mil.models import ModelCard, card_details, card_summary

CARD = ModelCard(
    "attention", 1024, {"hidden": 256, "dropout": 0.25}, ("normal", "tumour"), title="T", task="Finds tumour.",
    encoder="uni", encoder_hash="0123456789abcdef", encoder_version="2", tile_px=256, mpp=0.5,
    training={
        "n_slides": 1200, "n_patients": 1000, "slides_per_class": {"normal": 700, "tumour": 500}, "folds": 3,
        "fold_aucs": [0.9, 0.92, None], "auc_mean": 0.91, "auc_sd": 0.01414, "auc_pooled": 0.905, "epochs": 12,
        "seed": 2026, "device": "cuda", "recipe": {"lr": 3e-4, "warm_up": None, "amp": True},
        "versions": {"torch": "2.15.0"},
        "slide_hashes": [f"{k:04x}" for k in range(1200)], "site": "Aachen", "note": "Fitted on all.",
    },
)  # fmt: skip


def test_a_whole_card_is_told_with_units() -> None:
    assert card_summary(CARD) == [
        "Finds tumour.",
        "Classes: normal, tumour",
        "Pooling: attention",
        "Takes 1,024 numbers per patch from uni (version 2, weights 0123456789ab); "
        "patches of 128 µm (256 px at 0.5 µm per pixel)",
        "Trained on: 1,200 slides of 1,000 patients; slides per class: normal 700, tumour 500",
        "AUC on patients held out: 0.910 ± 0.014 (3 folds; each: 0.900, 0.920, not known; all together 0.905)",
    ]
    assert card_details(CARD) == [
        "Sizes: hidden 256, dropout 0.25",
        "Training: 12 epochs; lr 0.0003, warm up not known, amp yes; seed 2026; on cuda",
        "Made with: torch 2.15.0",
        "Site: Aachen",
        "Slide hashes: 1,200 (0000, …)",
        "Note: Fitted on all.",
    ]


def test_a_folds_model_tells_of_its_own_fold() -> None:
    training = {"fold": 2, "auc": 0.875, "n_train": 60, "n_val": 15, "n_test": 16, "best_epoch": 7}
    lines = card_summary(replace(CARD, training=training))
    assert lines[-2:] == [
        "Trained on: 60 slides, 15 more for validation",
        "AUC on the 16 slides of fold 2 held out: 0.875",
    ]
    details = card_details(replace(CARD, training={**training, "threshold": 0.4321, "seen": {"slides": ["0f"]}}))
    assert details[1:] == [
        "Training: epoch 7 chosen by validation",
        "Threshold: tumour from a probability of 0.432, chosen on validation slides",
    ]


def test_what_is_not_known_is_not_made_up() -> None:
    bare = ModelCard("mean", 6, {}, ("tumour",))
    assert card_summary(bare) == [
        "It does not say what it predicts.",
        "One class: tumour, yes or no",
        "Pooling: mean",
        "Takes 6 numbers per patch; it does not say of which encoder, nor of which patches. "
        "Give the one it was trained on.",
    ]
    assert card_details(bare) == []
    assert card_summary(replace(bare, encoder="uni"))[3] == (
        "Takes 6 numbers per patch from uni; it does not say of which patches"
    )


@pytest.mark.parametrize("odd", ["a lot", [1, 2], {"a": {"b": 1}}, True, None, 1.5])
def test_any_json_under_a_known_name_is_told_somehow(odd: object) -> None:
    keys = [
        "data", "n_slides", "n_patients", "slides_per_class", "folds", "fold", "auc", "auc_mean", "auc_sd",
        "auc_pooled", "fold_aucs", "n_train", "n_val", "n_test", "best_epoch", "epochs", "recipe", "seed", "device",
        "versions", "source", "file", "note", "other",
    ]  # fmt: skip
    card = replace(CARD, training=dict.fromkeys(keys, odd))
    assert all(isinstance(line, str) and line for line in card_summary(card) + card_details(card))
    card = replace(CARD, training={"auc_mean": 0.5} | {key: odd for key in keys if key not in ("auc", "auc_mean")})
    assert any(line.startswith("AUC on patients held out: 0.500") for line in card_summary(card))
