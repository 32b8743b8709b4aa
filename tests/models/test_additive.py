"""Additive pooling: its equations written out, contributions that sum, patches left out for real."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mil.errors import ModelError
from napari_mil.models import _bag, create_model, iter_leave_one_out
from napari_mil.progress import finish

many = settings(deadline=None, max_examples=40)
sizes = {"n": st.integers(1, 10), "n_classes": st.integers(1, 4), "seed": st.integers(0, 2**32 - 1)}


def make(n, n_classes, seed):
    model = create_model(
        "additive", in_features=5, n_classes=n_classes, seed=seed, hidden=7, attention_dim=6, psi_dim=4
    ).double()
    with torch.no_grad():
        model.m[-1].weight *= 30
    return model, torch.from_numpy(np.random.default_rng(seed).standard_normal((n, 5)))


def by_equations(model, bag):
    """Return attention (N,), contributions (C, N) and psi of whole patches (C, N), in numpy."""
    w = {key: value.numpy() for key, value in model.state_dict().items()}

    def layer(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x)

    def psi(x):
        return layer("psi.4", np.maximum(layer("psi.2", np.maximum(layer("psi.0", x), 0)), 0))

    h = np.maximum(layer("projection", bag.numpy()), 0)
    e = layer("m.4", leaky(layer("m.2", leaky(layer("m.0", h)))))[:, 0]
    a = np.exp(e - e.max()) / np.exp(e - e.max()).sum()
    return a, np.stack([psi(a_i * h_i) for a_i, h_i in zip(a, h, strict=True)], axis=1), psi(h).T


@many
@given(**sizes)
def test_it_computes_the_papers_equations(n, n_classes, seed):
    model, bag = make(n, n_classes, seed)
    output = model(bag)
    attention, contribution, alone = by_equations(model, bag)
    np.testing.assert_allclose(output.logits, contribution.sum(axis=1), rtol=1e-9, atol=1e-12)
    expected = {"attention": attention, "contribution": contribution, "instance_logit": alone}
    assert {key: score.kind for key, score in output.scores.items()} == {key: key for key in expected}
    for key, values in expected.items():
        np.testing.assert_allclose(output.scores[key].raw, values, rtol=1e-5, atol=1e-7)


@many
@given(**sizes)
def test_contributions_sum_to_the_logit(n, n_classes, seed):
    model, bag = make(n, n_classes, seed)
    output = model(bag)
    np.testing.assert_allclose(output.scores["contribution"].raw.double().sum(dim=1), output.logits, atol=1e-5)


@many
@given(**sizes)
def test_order_of_patches_changes_nothing_but_the_order_of_scores(n, n_classes, seed):
    model, bag = make(n, n_classes, seed)
    order = np.random.default_rng(seed + 1).permutation(n)
    plain, shuffled = model(bag), model(bag[order])
    np.testing.assert_allclose(shuffled.logits, plain.logits, rtol=1e-9, atol=1e-9)
    for key, score in plain.scores.items():
        np.testing.assert_allclose(shuffled.scores[key].raw, score.raw[..., order], rtol=1e-4, atol=1e-6)


@many
@given(**sizes)
def test_patches_left_out_for_real(n, n_classes, seed):
    model, bag = make(n, n_classes, seed)
    raw = finish(iter_leave_one_out(model, bag)).raw
    if n == 1:
        assert torch.isnan(raw).all()
        return
    whole = model(bag).logits
    without = [model(torch.cat([bag[:i], bag[i + 1 :]])).logits for i in range(n)]
    np.testing.assert_allclose(raw, torch.stack([whole - logits for logits in without], dim=1), rtol=1e-4, atol=1e-6)


def test_a_patch_alone_is_the_bag_of_that_patch():
    model, bag = make(6, 3, 1)
    alone = torch.stack([model(bag[i : i + 1]).logits for i in range(6)], dim=1)
    np.testing.assert_allclose(model(bag).scores["instance_logit"].raw, alone, rtol=1e-5, atol=1e-7)


def test_reading_in_blocks_is_reading_at_once(monkeypatch):
    model, bag = make(11, 2, 3)
    whole = model(bag)
    monkeypatch.setattr(_bag, "BLOCK_ROWS", 4)
    blocked = model(bag)
    np.testing.assert_allclose(blocked.logits, whole.logits, rtol=1e-12)
    for key, score in whole.scores.items():
        np.testing.assert_allclose(blocked.scores[key].raw, score.raw, rtol=1e-6)


def test_absorbed_standardisation_answers_the_same():
    model, bag = make(6, 2, 5)
    g = np.random.default_rng(5)
    mean, std = torch.from_numpy(g.normal(size=5)), torch.from_numpy(g.uniform(0.1, 10, size=5))
    before = model((bag - mean) / std).logits
    model.absorb_standardisation(mean, std)
    np.testing.assert_allclose(model(bag).logits, before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [1, 9])
def test_training_reaches_every_weight_and_a_bag_of_one_patch_can_be_trained_on(n):
    model, bag = make(n, 3, 1)
    trained = model(bag, scores=False)
    assert torch.equal(model(bag).logits, trained.logits)
    trained.logits[1].backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []


def test_features_that_are_not_finite_are_refused():
    model, bag = make(4, 2, 0)
    bag[2, 1] = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        model(bag)


def test_contribution_is_shown_first():
    model, bag = make(2, 2, 0)
    assert model.default_score == "contribution" in model(bag).scores
