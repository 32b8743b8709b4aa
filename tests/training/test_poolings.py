"""Every pooling can be trained, and each that needs few slides learns what tells them apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_mil.models import MODEL_NAMES, load_model
from napari_mil.progress import finish
from napari_mil.training import Recipe, iter_train, predict

SMALL = {"hidden": 16}
RECIPE = Recipe(epochs=30, lr=3e-3, patience=30)
FEW_TOKENS = {"transmil": {"hidden": 16, "heads": 2, "landmarks": 4}}  # ten patches are padded to the landmarks


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_pooling_is_trained_and_kept(separable, tmp_path, name):
    cohort, bags = separable(12)
    config = FEW_TOKENS.get(name, {})
    result = finish(
        iter_train(cohort, bags, name, tmp_path, folds=2, recipe=Recipe(epochs=2), device="cpu", config=config)
    )
    model = load_model(result.model_path)
    assert model.card.pooling == name
    chances = predict(model, bags.values[cohort.slides[0]])
    assert chances.sum() == pytest.approx(1)
    assert json.loads((tmp_path / "summary.json").read_text())["pooling"] == name


@pytest.mark.parametrize(
    "name", ["lse", "noisy-and", "softmax-attention", "softmax-mean", "clam-sb", "clam-mb", "additive"]
)
def test_a_separable_cohort_is_told_apart(separable, tmp_path, name):
    cohort, bags = separable()
    steps = iter_train(cohort, bags, name, tmp_path, folds=3, recipe=RECIPE, device="cpu", config=SMALL)
    result = finish(steps)
    assert result.auc_mean > 0.95
    assert np.isfinite(result.auc_sd)
