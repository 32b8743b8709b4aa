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


def test_softmax_attention_by_hand(explicit_model):
    model = explicit_model("softmax-attention", 2, {"hidden": 2, "attention_dim": 1}, **ATTENTION)
    # V h + v = 1.25, -2.75, 1.25; what is negative is kept to a hundredth
    check_attention(model(BAG), 2 * np.array([1.25, -0.0275, 1.25]) - 3)


def test_softmax_mean_by_hand(explicit_model):
    gates = [[1, 0], [0, -0.5]]  # g = (1, 0), (0, -1.5), (2, -0.5)
    output = explicit_model("softmax-mean", 2, {"hidden": 2, "gates": 2}, **LINEAR, gate_weight=gates)(BAG)

    def pooled(keep):
        shares = [np.exp(np.array(g)[keep]) / np.exp(np.array(g)[keep]).sum() for g in ([1, 0, 2], [0, -1.5, -0.5])]
        return np.mean(shares, axis=0), EVIDENCE[:, keep] @ np.mean(shares, axis=0) + BIAS

    a, y = pooled([0, 1, 2])
    scores = scores_of(output)
    np.testing.assert_allclose(output.logits.numpy(), y, rtol=1e-6)
    np.testing.assert_allclose(scores["attention"], a, rtol=1e-6)
    np.testing.assert_allclose(scores["instance_logit"], EVIDENCE + BIAS[:, None])
    np.testing.assert_allclose(scores["contribution"], a * EVIDENCE, rtol=1e-6)
    without = np.stack([pooled(rest)[1] for rest in ([1, 2], [0, 2], [0, 1])], axis=1)
    np.testing.assert_allclose(scores["leave_one_out"], y[:, None] - without, rtol=1e-5)
    assert set(scores) == {"attention", "instance_logit", "contribution", "leave_one_out"}


@pytest.mark.parametrize("r", [0.5, 5.0])
def test_lse_by_hand(explicit_model, r):
    output = explicit_model("lse", 2, {"hidden": 2, "r": r}, **LINEAR)(BAG)

    def lse(evidence):
        return np.log(np.exp(r * evidence).mean(axis=1)) / r + BIAS

    scores = scores_of(output)
    np.testing.assert_allclose(output.logits.numpy(), lse(EVIDENCE), rtol=1e-6)
    np.testing.assert_allclose(scores["instance_logit"], EVIDENCE + BIAS[:, None])
    powers = np.exp(r * EVIDENCE)
    np.testing.assert_allclose(scores["attention"], powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)
    without = np.stack([lse(EVIDENCE[:, rest]) for rest in ([1, 2], [0, 2], [0, 1])], axis=1)
    np.testing.assert_allclose(scores["leave_one_out"], lse(EVIDENCE)[:, None] - without, rtol=1e-5)
    assert set(scores) == {"attention", "instance_logit", "leave_one_out"}


def test_lse_lies_between_mean_and_max():
    bag = torch.from_numpy(np.random.default_rng(0).standard_normal((20, 5)))
    soft, middle, sharp = (
        create_model("lse", in_features=5, seed=1, r=r).double()(bag).logits for r in (1e-6, 5.0, 1e4)
    )
    mean, largest = (create_model(name, in_features=5, seed=1).double()(bag).logits for name in ("mean", "max"))
    np.testing.assert_allclose(soft, mean, atol=1e-5)
    np.testing.assert_allclose(sharp, largest, atol=1e-3)
    assert (mean < middle).all()
    assert (middle < largest).all()


def test_leaving_out_all_that_counts_keeps_its_digits(explicit_model):
    """One patch outweighs the other two by e^200, so that their sum is lost beside it."""
    one = {"projection_weight": [[1.0]], "projection_bias": [0.0], "head_weight": [[100.0]], "head_bias": [-100.0]}
    bag = torch.tensor([[0.0], [3.0], [1.0]])  # s + b = -100, 200, 0
    scores = scores_of(explicit_model("lse", 1, {"hidden": 1, "r": 5.0}, **one)(bag))
    # 200 - log(3) / 5 with it, 0 - log(2) / 5 without
    np.testing.assert_allclose(scores["leave_one_out"][0, 1], 200 - np.log(1.5) / 5, rtol=1e-6)
    scores = scores_of(explicit_model("noisy-and", 1, {"hidden": 1}, **one, beta=[0.0])(bag))
    whole, without = noisy_and((1 + 0.5) / 3, 0.5), noisy_and(0.5 / 2, 0.5)
    expected = np.log(whole / (1 - whole)) - np.log(without / (1 - without))
    np.testing.assert_allclose(scores["leave_one_out"][0, 1], expected, rtol=1e-5)


def noisy_and(p, b, a=10.0):
    """Return P by the paper's equation as it stands."""

    def sigmoid(t):
        return 1 / (1 + np.exp(-t))

    return (sigmoid(a * (p - b)) - sigmoid(-a * b)) / (sigmoid(a * (1 - b)) - sigmoid(-a * b))


@pytest.mark.parametrize(("p", "expected"), [(0.25, 0.0701), (0.5, 0.5), (0.75, 0.9299)])
def test_noisy_and_of_known_shares(explicit_model, p, expected):
    """Four patches that show the class surely or surely not: the mean probability is their share."""
    one = {"projection_weight": [[1.0]], "projection_bias": [0.0], "head_weight": [[80.0]], "head_bias": [-40.0]}
    bag = torch.tensor([[float(k < 4 * p)] for k in range(4)])
    model = explicit_model("noisy-and", 1, {"hidden": 1}, **one, beta=[0.0])
    assert float(model.probabilities(model(bag).logits)) == pytest.approx(expected, abs=5e-5)


def test_noisy_and_by_hand(explicit_model):
    model = explicit_model("noisy-and", 2, {"hidden": 2, "a": 4}, **LINEAR, beta=[-0.5, 1.0])
    output = model(BAG)
    p = 1 / (1 + np.exp(-(EVIDENCE + BIAS[:, None])))  # (C, N)
    b = 1 / (1 + np.exp(-np.array([-0.5, 1.0])))

    def logit(mean, b=b):
        share = noisy_and(mean, b, 4.0)
        return np.log(share / (1 - share))

    scores = scores_of(output)
    np.testing.assert_allclose(output.logits.numpy(), logit(p.mean(axis=1)), rtol=1e-5)
    np.testing.assert_allclose(scores["instance_logit"], logit(p, b[:, None]), rtol=1e-5)
    without = np.stack([logit(p[:, rest].mean(axis=1)) for rest in ([1, 2], [0, 2], [0, 1])], axis=1)
    np.testing.assert_allclose(scores["leave_one_out"], output.logits.numpy()[:, None] - without, rtol=1e-4, atol=1e-6)
    assert set(scores) == {"instance_logit", "leave_one_out"}


def test_noisy_and_begins_with_a_threshold_of_a_half():
    assert torch.equal(create_model("noisy-and", in_features=3, n_classes=3, seed=1).beta, torch.zeros(3))


def test_noisy_and_stays_finite_where_every_patch_is_sure(explicit_model):
    """A share of 0 or 1 to the last bit has no log odds in single precision; the logit and its gradient must."""
    one = {"projection_weight": [[1.0]], "projection_bias": [0.0], "head_weight": [[1e4]], "head_bias": [-5e3]}
    model = explicit_model("noisy-and", 1, {"hidden": 1}, **one, beta=[0.0])
    for value, sign in ((0.0, -1), (1.0, 1)):
        logits = model(torch.full((5, 1), value), scores=False).logits
        assert torch.isfinite(logits).all()
        assert sign * float(logits.detach()) > 50
        logits.sum().backward()
        assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


def test_probabilities_are_softmax_or_one_sigmoid():
    two, one = create_model("mean", in_features=3), create_model("mean", in_features=3, n_classes=1)
    np.testing.assert_allclose(two.probabilities(torch.tensor([0.0, np.log(3.0)])), [0.25, 0.75], rtol=1e-6)
    np.testing.assert_allclose(one.probabilities(torch.tensor([np.log(3.0)])), [0.75], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("mean", "instance_logit"),
        ("max", "instance_logit"),
        ("lse", "instance_logit"),
        ("noisy-and", "instance_logit"),
        ("attention", "attention"),
        ("gated-attention", "attention"),
        ("softmax-attention", "attention"),
        ("softmax-mean", "attention"),
        ("clam-sb", "attention"),
        ("clam-mb", "attention"),
    ],
)
def test_the_score_to_show_first_is_one_that_the_model_gives(name, default):
    model = create_model(name, in_features=3)
    assert model.default_score == default
    assert default in model(torch.zeros(2, 3)).scores
