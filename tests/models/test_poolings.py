"""Values of each pooling: worked out by hand on tiny weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_mil.models import create_model

# h = relu(x) (identity projection), W = [[1, 0], [0, 2]], b = [0.5, -0.5]; x gives h = (1, 0), (0, 3), (2, 1)
BAG = torch.tensor([[1.0, -5.0], [-2.0, 3.0], [2.0, 1.0]])
EVIDENCE = np.array([[1.0, 0.0, 2.0], [0.0, 6.0, 2.0]])  # (C, N) = W h_i
BIAS = np.array([0.5, -0.5])
LINEAR = {
    "projection_weight": [[1, 0], [0, 1]],
    "projection_bias": [0, 0],
    "head_weight": [[1, 0], [0, 2]],
    "head_bias": [0.5, -0.5],
}


def scores_of(output):
    return {name: score.raw.numpy() for name, score in output.scores.items()}


def test_mean_by_hand(explicit_model):
    output = explicit_model("mean", 2, {"hidden": 2}, **LINEAR)(BAG)
    scores = scores_of(output)
    np.testing.assert_allclose(output.logits.numpy(), [1.5, 8 / 3 - 0.5], rtol=1e-6)
    np.testing.assert_allclose(scores["instance_logit"], EVIDENCE + BIAS[:, None])
    np.testing.assert_allclose(scores["contribution"], EVIDENCE / 3, rtol=1e-6)
    # without patch 0 the means are (0 + 2) / 2 = 1 and (6 + 2) / 2 = 4, and so on
    without = np.array([[1.0, 1.5, 0.5], [4.0, 1.0, 3.0]])
    np.testing.assert_allclose(scores["leave_one_out"], np.array([[1.0], [8 / 3]]) - without, rtol=1e-5)
    assert set(scores) == {"instance_logit", "contribution", "leave_one_out"}


def test_max_by_hand(explicit_model):
    output = explicit_model("max", 2, {"hidden": 2}, **LINEAR)(BAG)
    scores = scores_of(output)
    np.testing.assert_allclose(output.logits.numpy(), [2.5, 5.5])
    np.testing.assert_allclose(scores["instance_logit"], EVIDENCE + BIAS[:, None])
    np.testing.assert_allclose(scores["contribution"], [[0, 0, 2], [0, 6, 0]])
    np.testing.assert_allclose(scores["leave_one_out"], [[0, 0, 1], [0, 4, 0]])
    assert set(scores) == {"instance_logit", "contribution", "leave_one_out"}


def test_max_with_a_tie_credits_one_patch_and_misses_none(explicit_model):
    scores = scores_of(explicit_model("max", 2, {"hidden": 2}, **LINEAR)(BAG[[0, 0]]))
    np.testing.assert_allclose(scores["contribution"][0], [1, 0])
    np.testing.assert_allclose(scores["leave_one_out"][0], [0, 0])  # the twin takes over


ATTENTION = {
    **LINEAR,
    "attention_V_weight": [[1, -1]],
    "attention_V_bias": [0.25],
    "attention_w_weight": [[2.0]],
    "attention_w_bias": [-3.0],
}


def expected_attention(energy):
    a = np.exp(energy) / np.exp(energy).sum()
    y = EVIDENCE @ a + BIAS
    # leave-one-out by brute force: the attention is shared anew among the other patches
    changes = np.empty((2, 3))
    for i in range(3):
        rest = [j for j in range(3) if j != i]
        left = np.exp(energy[rest]) / np.exp(energy[rest]).sum()
        changes[:, i] = y - (EVIDENCE[:, rest] @ left + BIAS)
    return a, y, changes


def check_attention(output, energy):
    a, y, changes = expected_attention(energy)
    scores = scores_of(output)
    np.testing.assert_allclose(output.logits.detach().numpy(), y, rtol=1e-6)
    np.testing.assert_allclose(scores["attention"], a, rtol=1e-5)
    np.testing.assert_allclose(scores["instance_logit"], EVIDENCE + BIAS[:, None])
    np.testing.assert_allclose(scores["contribution"], a * EVIDENCE, rtol=1e-5)
    np.testing.assert_allclose(scores["leave_one_out"], changes, rtol=1e-4, atol=1e-6)
    assert set(scores) == {"attention", "instance_logit", "contribution", "leave_one_out"}
    assert {name: score.kind for name, score in output.scores.items()} == {name: name for name in scores}


def test_attention_by_hand(explicit_model):
    model = explicit_model("attention", 2, {"hidden": 2, "attention_dim": 1}, **ATTENTION)
    # V h + v = (1, -3, 1) + 0.25
    check_attention(model(BAG), 2 * np.tanh([1.25, -2.75, 1.25]) - 3)


def test_gated_attention_by_hand(explicit_model):
    gate = {"attention_U_weight": [[0.5, 1.0]], "attention_U_bias": [-1.0]}
    model = explicit_model("gated-attention", 2, {"hidden": 2, "attention_dim": 1}, **ATTENTION, **gate)
    # U h + u = (0.5, 3, 2) - 1
    sigmoid = 1 / (1 + np.exp(-np.array([-0.5, 2.0, 1.0])))
    check_attention(model(BAG), 2 * np.tanh([1.25, -2.75, 1.25]) * sigmoid - 3)


def test_probabilities_are_softmax_or_one_sigmoid():
    two, one = create_model("mean", in_features=3), create_model("mean", in_features=3, n_classes=1)
    np.testing.assert_allclose(two.probabilities(torch.tensor([0.0, np.log(3.0)])), [0.25, 0.75], rtol=1e-6)
    np.testing.assert_allclose(one.probabilities(torch.tensor([np.log(3.0)])), [0.75], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("mean", "instance_logit"),
        ("max", "instance_logit"),
        ("attention", "attention"),
        ("gated-attention", "attention"),
    ],
)
def test_the_score_to_show_first_is_one_that_the_model_gives(name, default):
    model = create_model(name, in_features=3)
    assert model.default_score == default
    assert default in model(torch.zeros(2, 3)).scores
