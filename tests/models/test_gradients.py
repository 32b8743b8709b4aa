"""Gradients: completeness, and equality with the contribution where the model is linear."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_mil.errors import ModelError
from napari_mil.models import (
    MODEL_NAMES,
    _bag,
    create_model,
    iter_gradient_x_input,
    iter_integrated_gradients,
    iter_leave_one_out,
)
from napari_mil.progress import Progress, finish

D = 5
TOKENS = {"hidden": 8, "heads": 2}
SMALL = {
    "clam-sb": {"hidden": 8, "attention_dim": 4},
    "clam-mb": {"hidden": 8, "attention_dim": 4},
    "additive": {"hidden": 8, "attention_dim": 4, "psi_dim": 6},
    "dsmil": {"query_dim": 4},
    "transmil": {**TOKENS, "landmarks": 4},
    "dtfd": {"hidden": 8, "attention_dim": 4, "groups": 2, "splits": 2},
    "tda": {**TOKENS, "layers": 1},
}


def make(name, n_classes=2, n=7, seed=0, **config):
    """Return a random model and bag in float64."""
    sizes = {**SMALL.get(name, {"hidden": 8}), **config}
    model = create_model(name, in_features=D, n_classes=n_classes, seed=seed, **sizes).double()
    return model, torch.from_numpy(np.random.default_rng(seed).standard_normal((n, D)))


def start_of(bag, baseline):
    return torch.zeros_like(bag) if baseline == "zero" else bag.mean(dim=0).expand_as(bag)


@pytest.mark.parametrize("baseline", ["zero", "mean"])
@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_integrated_gradients_sum_to_what_the_bag_changes(name, n_classes, baseline):
    model, bag = make(name, n_classes)
    score = finish(iter_integrated_gradients(model, bag, baseline=baseline, steps=200))
    assert score.raw.shape == (n_classes, len(bag))
    assert score.kind == "integrated_gradients"
    whole = (model(bag).logits - model(start_of(bag, baseline)).logits).detach()
    # each kink of a rectifier on the way costs a step's worth of the integral
    np.testing.assert_allclose(score.raw.double().sum(dim=1), whole, atol=0.01 * float(score.raw.abs().sum()))


# without kinks on the way the rule is exact to rounding: rectifiers keep their side along a ray from zero
@pytest.mark.parametrize(
    "name", ["lse", "noisy-and", "attention", "gated-attention", "softmax-mean", "clam-mb", "dtfd"]
)
def test_without_kinks_the_sum_is_exact_in_thirty_two_steps(name):
    model, bag = make(name, 3)
    torch.nn.init.zeros_(model.projection.bias)
    raw = finish(iter_integrated_gradients(model, bag)).raw.double()
    whole = (model(bag).logits - model(torch.zeros_like(bag)).logits).detach()
    np.testing.assert_allclose(raw.sum(dim=1), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_classes", [1, 2, 3])
def test_both_are_the_contribution_of_a_linear_model(n_classes):
    """Of mean pooling without first bias the logit is linear along every ray from zero: all three are s_i / N."""
    model, bag = make("mean", n_classes)
    torch.nn.init.zeros_(model.projection.bias)
    contribution = model(bag).scores["contribution"].raw
    for found in (iter_gradient_x_input(model, bag), iter_integrated_gradients(model, bag, steps=1)):
        np.testing.assert_allclose(finish(found).raw, contribution, rtol=1e-6, atol=1e-9)


def test_max_pooling_names_the_one_patch_that_decides():
    model, bag = make("max", 2)
    torch.nn.init.zeros_(model.projection.bias)
    contribution = model(bag).scores["contribution"].raw
    np.testing.assert_allclose(finish(iter_gradient_x_input(model, bag)).raw, contribution, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(finish(iter_integrated_gradients(model, bag)).raw, contribution, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_gradient_times_input_is_the_slope_along_the_patch(name):
    model, bag = make(name, 3)
    raw = finish(iter_gradient_x_input(model, bag)).raw
    grow = torch.zeros(len(bag), 1, dtype=torch.float64)
    for i in (0, 4):
        grow[i] = 1e-6
        up, down = (model(bag * (1 + sign * grow), scores=False).logits.detach() for sign in (1, -1))
        grow[i] = 0
        np.testing.assert_allclose(raw[:, i], (up - down) / 2e-6, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["gated-attention", "additive", "tda"])
def test_blocks_computed_again_give_the_same_gradients(name, monkeypatch):
    model, bag = make(name, 2, n=11)
    whole = finish(iter_integrated_gradients(model, bag, steps=3)).raw
    monkeypatch.setattr(_bag, "BLOCK_ROWS", 4)
    np.testing.assert_allclose(finish(iter_integrated_gradients(model, bag, steps=3)).raw, whole, rtol=1e-6)


def test_nothing_is_left_switched_and_the_work_can_be_ended():
    model, bag = make("attention")
    steps = iter_integrated_gradients(model, bag.requires_grad_(), steps=50)
    first = next(steps)
    assert (first.done, first.total, first.unit) == (0, 50, "steps")
    assert isinstance(first, Progress)
    steps.close()
    finish(iter_gradient_x_input(model, bag))
    assert bag.grad is None
    assert all(weight.grad is None for weight in model.parameters())
    with torch.no_grad():
        finish(iter_gradient_x_input(model, bag))
        assert not torch.is_grad_enabled()


def test_half_precision_features_are_read_as_the_models_own():
    model = create_model("mean", in_features=D, seed=0, hidden=8)
    bag = torch.randn(4, D, generator=torch.Generator().manual_seed(0)).half()
    found, wanted = (finish(iter_gradient_x_input(model, given)).raw for given in (bag, bag.float()))
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(("options", "said"), [({"steps": 0}, "at least 1"), ({"baseline": "noise"}, "zero or mean")])
def test_what_makes_no_sense_is_refused(options, said):
    model, bag = make("mean")
    with pytest.raises(ValueError, match=said):
        finish(iter_integrated_gradients(model, bag, **options))


def test_features_that_are_not_finite_are_refused():
    model, bag = make("mean")
    bag[2, 1] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        finish(iter_gradient_x_input(model, bag))


@pytest.mark.parametrize("n_classes", [1, 2, 3])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_leave_one_out_of_every_pooling_is_what_leaving_one_out_does(name, n_classes):
    # one group, since the deal of dtfd into several is kept for the patches that stay: see test_dtfd
    model, bag = make(name, n_classes, **({"groups": 1} if name == "dtfd" else {}))
    raw = finish(iter_leave_one_out(model, bag)).raw
    whole = model(bag).logits
    brute = [whole - model(torch.cat([bag[:i], bag[i + 1 :]])).logits for i in range(len(bag))]
    np.testing.assert_allclose(raw, torch.stack(brute, dim=1).detach(), rtol=1e-4, atol=1e-6)
