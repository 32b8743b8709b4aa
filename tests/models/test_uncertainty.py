"""Passes with dropout: what is on, what is off, and what a seed fixes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_mil.errors import ModelError
from napari_mil.models import MODEL_NAMES, check_dropout, create_model, dropout_passes, gives_leave_one_out, has_dropout

D = 5
SMALL = {
    "clam-sb": {"hidden": 8},
    "clam-mb": {"hidden": 8},
    "dsmil": {"query_dim": 4, "value": "layer"},
    "transmil": {"hidden": 8, "heads": 2, "landmarks": 4},
    "tda": {"hidden": 8, "heads": 2, "layers": 1},
}


def make(name, dropout=0.5, n=9):
    sizes = SMALL.get(name, {"hidden": 8})
    model = create_model(name, in_features=D, n_classes=2, seed=1, dropout=dropout, **sizes)
    return model, torch.from_numpy(np.random.default_rng(2).standard_normal((n, D)).astype(np.float32))


def logits_of(passes):
    return torch.stack([one.logits for one in passes])


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_a_seed_gives_the_same_passes_and_another_seed_others(name):
    model, bag = make(name)
    first, again, other = (logits_of(dropout_passes(model, bag, 4, seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first.std(dim=0) > 0).any()


@pytest.mark.parametrize("name", ["gated-attention", "dsmil", "tda", "transmil"])
def test_at_little_dropout_the_mean_nears_the_prediction(name):
    model, bag = make(name, dropout=0.5)
    sure = model(bag).logits.detach()
    away = []
    for p in (0.5, 0.001):
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = p
        passes = logits_of(dropout_passes(model, bag, 40, 0))
        away.append(float((passes.mean(dim=0) - sure).abs().max()))
    assert away[1] < 0.01
    assert away[1] < away[0]


def test_only_dropout_is_on_and_all_is_off_afterwards():
    model, bag = make("dtfd")
    model.norm = nn.BatchNorm1d(D)  # would fail on or learn from the bag, were it in training
    seen = []

    def look(module, *_):
        seen.append((model.training, model.norm.training, model.dropout.training))

    model.dropout.register_forward_hook(look)
    passes = dropout_passes(model, bag, 3)
    next(passes)
    assert set(seen) == {(False, False, True)}
    assert not any(layer.training for layer in model.modules())  # also where nobody asks for the rest
    passes.close()


def test_global_random_numbers_are_left_alone():
    model, bag = make("attention")
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    list(dropout_passes(model, bag, 2))
    assert torch.equal(torch.rand(3), wanted)


def test_a_model_without_dropout_says_so():
    model, bag = make("attention", dropout=0.0)
    with pytest.raises(ModelError, match="has no dropout"):
        next(dropout_passes(model, bag, 5))
    with pytest.raises(ModelError, match="every pass says the same"):
        check_dropout(model)


def test_one_pass_has_no_spread():
    model, bag = make("attention")
    with pytest.raises(ValueError, match="at least 2 passes"):
        next(dropout_passes(model, bag, 1))


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_what_the_card_says_without_torch_is_what_the_model_does(name):
    for dropout in (0.0, 0.2):
        model, bag = make(name, dropout=dropout)
        assert has_dropout(model.card) == any(isinstance(m, nn.Dropout) and m.p > 0 for m in model.modules())
    assert gives_leave_one_out(name) == ("leave_one_out" in model(bag).scores)
