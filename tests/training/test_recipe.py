"""Recipes: learning rates by hand, losses in closed form, optimisers step by step."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_mil.errors import ModelError
from napari_mil.training import RECIPES, Recipe, learning_rate
from napari_mil.training._losses import criterion, entropy
from napari_mil.training._optimise import Lookahead, Stepper


def rates(recipe):
    return [learning_rate(recipe, epoch) for epoch in range(1, recipe.epochs + 1)]


def test_halving_halves_every_ten_epochs():
    found = rates(RECIPES["halving"])
    np.testing.assert_allclose(found, [3e-4 * 0.5 ** (i // 10) for i in range(100)])
    assert (found[9], found[10], found[20]) == (3e-4, 1.5e-4, 0.75e-4)


def test_warm_up_is_a_line_to_where_the_cosine_begins():
    found = rates(Recipe(epochs=13, warmup_epochs=3, lr=4.0, lr_end=1.0))
    np.testing.assert_allclose(found[:4], [1, 2, 3, 4])
    np.testing.assert_allclose(found[8], 2.5)  # half way down
    np.testing.assert_allclose(found[4:], [1 + 1.5 * (1 + math.cos(math.pi * t / 10)) for t in range(1, 10)])


def test_originals_have_the_rates_that_they_publish():
    assert rates(RECIPES["abmil"]) == [5e-4] * 20
    dtfd = rates(RECIPES["dtfd"])
    np.testing.assert_allclose([dtfd[0], dtfd[99], dtfd[100], dtfd[199]], [1e-4, 1e-4, 2e-5, 2e-5])
    dsmil = rates(RECIPES["dsmil"])
    assert dsmil[0] == 1e-4
    assert 5e-6 < dsmil[-1] < 5.2e-6
    assert RECIPES["dsmil"].betas == (0.5, 0.9)
    assert RECIPES["clam"].sampling == "balanced"
    assert RECIPES["transmil"].optimiser == "lookahead-radam"


@pytest.mark.parametrize(
    "fault",
    [
        {"epochs": 0}, {"lr": 0.0}, {"lr": math.nan}, {"schedule": "linear"}, {"hard_share": 1.5}, {"max_patches": -1},
        {"patience": 0}, {"warmup_epochs": 100}, {"keep_after": 1.0}, {"precision": "half"}, {"seed": -1},
        {"entropy_weight": math.inf},
    ],
)  # fmt: skip
def test_faults_are_refused(fault):
    with pytest.raises(ValueError, match=next(iter(fault))):
        Recipe(**fault)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_its_closed_form(gamma):
    logits = torch.tensor([1.0, -0.5, 0.25])
    p = float(torch.softmax(logits, 0)[1])
    found = criterion(Recipe(loss="focal", focal_gamma=gamma))(logits, 1)
    assert float(found) == pytest.approx(-((1 - p) ** gamma) * math.log(p), rel=1e-5)


def test_focal_loss_keeps_its_digits_where_the_model_is_sure():
    logits = torch.tensor([0.0, 12.0], dtype=torch.float64)  # 1 - p = 6.1e-6
    q = 1 / (1 + math.exp(12))
    found = criterion(Recipe(loss="focal", focal_gamma=1.0))(logits, 1)
    assert float(found) == pytest.approx(q * -math.log1p(-q), rel=1e-6)
    assert float(criterion(Recipe())(torch.tensor([2.0, 0.0]), 0)) == pytest.approx(math.log1p(math.exp(-2)))


def test_entropy_of_attention():
    assert float(entropy([torch.full((8,), 1 / 8)])) == pytest.approx(math.log(8))
    assert float(entropy([torch.tensor([1.0, 0.0])])) == pytest.approx(0, abs=1e-6)
    both = torch.tensor([[0.5, 1.0], [0.5, 0.0]])  # two attentions over two patches
    assert float(entropy([both])) == pytest.approx(math.log(2) / 2)
    energy = torch.tensor([0.0, 300.0], requires_grad=True)
    entropy([torch.softmax(energy, 0)]).backward()
    assert torch.isfinite(energy.grad).all()


def test_lookahead_draws_back_every_k_steps():
    weight = nn.Parameter(torch.tensor([1.0]))
    optimiser = Lookahead(torch.optim.SGD([weight], lr=0.1), k=2, alpha=0.5)
    seen = []
    for _ in range(4):
        optimiser.zero_grad()
        (weight**2 / 2).sum().backward()
        optimiser.step()
        seen.append(float(weight.detach()))
    # 1 -> 0.9 -> 0.81, then half way back to 1: 0.905; once more: 0.8145 -> 0.73305, half way back to 0.905
    np.testing.assert_allclose(seen, [0.9, 0.905, 0.8145, (0.73305 + 0.905) / 2], rtol=1e-6)


def test_a_long_gradient_is_cut_to_its_length():
    model = nn.Linear(3, 1, bias=False)
    before = model.weight.detach().clone()
    stepper = Stepper(model, Recipe(clip_norm=5.0))
    stepper.optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    stepper.backward(model(torch.tensor([30.0, 0.0, 40.0])).sum())
    stepper.step()
    np.testing.assert_allclose((before - model.weight.detach()).numpy(), [[3, 0, 4]], rtol=1e-5)


def test_short_floats_only_where_they_are_known():
    model = nn.Linear(4, 4)
    with Stepper(model, Recipe(precision="bfloat16")).autocast():
        assert model(torch.ones(2, 4)).dtype == torch.bfloat16
    with Stepper(model, Recipe()).autocast():
        assert model(torch.ones(2, 4)).dtype == torch.float32
    with pytest.raises(ModelError, match="float16 is not possible on cpu"):
        Stepper(model, replace(RECIPES["transmil"], precision="float16"))
