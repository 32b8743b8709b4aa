"""Folding a standardisation into a model changes nothing: neither answers and scores, nor passes with dropout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_mil.models import MODEL_NAMES, create_model, dropout_passes, load_model, save_model

D = 5
SMALL = {
    "clam-sb": {"hidden": 8},
    "clam-mb": {"hidden": 8, "attention": "plain"},
    "transmil": {"hidden": 8, "heads": 2, "landmarks": 4},
    "tda": {"hidden": 8, "heads": 2, "layers": 2},
    "dtfd": {"hidden": 8, "distillation": "maxmins"},
}
FORMS = [(name, SMALL.get(name, {"hidden": 8})) for name in MODEL_NAMES if name != "dsmil"]
FORMS += [("dsmil", {"query_dim": 4, "value": "layer", "query": query}) for query in ("two-layer", "linear")]
MEAN = torch.tensor([3.0, -20.0, 0.0, 0.5, 100.0], dtype=torch.float64)
STD = torch.tensor([1.0, 7.0, 0.2, 3.0, 0.05], dtype=torch.float64)


def made(name, sizes, dropout=0.5):
    model = create_model(name, in_features=D, n_classes=2, seed=1, dropout=dropout, **sizes)
    return model, torch.from_numpy(np.random.default_rng(2).standard_normal((11, D))).float()


def folded(model, path):
    """Return a model with the standardisation folded in, as it comes from its file."""
    model.absorb_standardisation(MEAN, STD)
    save_model(path, model)
    return load_model(path)


def in_full(loaded, model):
    """Return a model from its file with the digits that the file, of single precision, lacks."""
    loaded.double().load_state_dict(model.state_dict())
    return loaded


def same(one, other):
    torch.testing.assert_close(one.logits, other.logits, rtol=1e-6, atol=1e-8)
    assert one.scores.keys() == other.scores.keys()
    for name, score in one.scores.items():
        torch.testing.assert_close(score.raw, other.scores[name].raw, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize(("name", "sizes"), FORMS)
def test_passes_with_dropout_are_those_of_before(name, sizes, tmp_path):
    """The same seed drops the same numbers: each pass of the folded model is that pass of the model in training."""
    model, z = made(name, sizes)
    x = z.double() * STD + MEAN
    before = list(dropout_passes(model.double(), z.double(), 3, seed=4))
    after = list(dropout_passes(in_full(folded(model, tmp_path / "m.safetensors"), model), x, 3, seed=4))
    for one, other in zip(before, after, strict=True):
        same(one, other)
    assert not torch.equal(before[0].logits, before[1].logits), "the passes differ, so that there was something to drop"


@pytest.mark.parametrize(("name", "sizes"), FORMS)
def test_predictions_and_scores_are_those_of_before(name, sizes, tmp_path):
    model, z = made(name, sizes, dropout=0.0)
    x = z.double() * STD + MEAN
    before = model.double()(z.double())
    model.absorb_standardisation(MEAN, STD)
    same(before, model(x))


def test_folding_twice_is_folding_both():
    model, z = made("dsmil", {"query_dim": 4, "value": "layer"})
    model = model.double()
    before = list(dropout_passes(model, z.double(), 2, seed=1))
    model.absorb_standardisation(torch.full((D,), 2.0).double(), torch.full((D,), 3.0).double())
    model.absorb_standardisation(MEAN, STD)
    x = (z.double() * 3 + 2) * STD + MEAN
    for one, other in zip(before, dropout_passes(model, x, 2, seed=1), strict=True):
        same(one, other)


def test_what_training_steps_by_is_what_a_pass_with_dropout_answers():
    """The gradient step sees the same numbers as a pass: the loss in training, with the masks of one seed."""
    model, z = made("dsmil", {"query_dim": 4, "value": "layer"})
    model = model.double()

    def loss(bag):
        torch.manual_seed(7)
        model.train()
        found = model.loss(bag, 1, lambda y, t: torch.logsumexp(y, 0) - y[t]).item()
        model.eval()
        return found

    with torch.random.fork_rng():
        before = loss(z.double())
        model.absorb_standardisation(MEAN, STD)
        assert loss(z.double() * STD + MEAN) == pytest.approx(before, rel=1e-9)


TRANSFORMER = {"pool_att_dim": 4, "transf_att_dim": 4, "transf_n_heads": 1, "transf_dropout": 0.5}


@pytest.mark.parametrize(
    ("name", "config"),
    [("DSMIL", {"att_dim": 4, "nonlinear_v": True, "dropout": 0.5}), ("TransformerABMIL", TRANSFORMER)],
)
def test_models_of_torchmil_keep_theirs(name, config, tmp_path):
    pytest.importorskip("torchmil.models")
    model = create_model(f"torchmil:{name}", in_features=D, n_classes=2, seed=1, **config)
    z = torch.from_numpy(np.random.default_rng(2).standard_normal((11, D)))
    before = list(dropout_passes(model.double(), z, 2, seed=4))
    loaded = in_full(folded(model, tmp_path / "m.safetensors"), model)
    for one, other in zip(before, dropout_passes(loaded, z * STD + MEAN, 2, seed=4), strict=True):
        same(one, other)
