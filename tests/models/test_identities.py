"""Identities that hold for any weights, so that no checkpoint is needed to prove the scores right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mil.errors import ModelError
from napari_mil.models import MODEL_NAMES, _bag, create_model

# the first call of a process pays for loading torch, so time says nothing
many = settings(deadline=None, max_examples=60)
few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)
# all that these identities ask: a linear head
SHARING = ("attention", "gated-attention", "softmax-attention", "softmax-mean", "clam-sb", "clam-mb")
LINEAR = ("mean", "max", *SHARING)
SMOOTH = ("lse", "noisy-and")  # a linear head, then a sum that is not linear: no contributions
poolings = st.sampled_from(LINEAR + SMOOTH)
linear_poolings = st.sampled_from(LINEAR)
attention_poolings = st.sampled_from(SHARING)
sizes = {"n": st.integers(1, 12), "n_classes": st.integers(1, 4), "seed": seeds, "gain": st.sampled_from([1.0, 30.0])}


def make(name, n, n_classes, seed, gain=1.0):
    """Return a random model and bag in float64; a large gain drives the attention to nought and one."""
    model = create_model(name, in_features=5, n_classes=n_classes, seed=seed, hidden=7).double()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if key.startswith(("attention_w", "gate")):
                weight *= 10 * gain
            if key.startswith("head"):
                weight *= gain
    bag = np.random.default_rng(seed).standard_normal((n, 5))
    return model, torch.from_numpy(bag)


@many
@given(name=poolings, **sizes)
def test_order_of_patches_changes_nothing_but_the_order_of_scores(name, n, n_classes, seed, gain):
    model, bag = make(name, n, n_classes, seed, gain)
    order = np.random.default_rng(seed + 1).permutation(n)
    plain, shuffled = model(bag), model(bag[order])
    np.testing.assert_allclose(shuffled.logits.numpy(), plain.logits.numpy(), rtol=1e-9, atol=1e-9)
    for key, score in plain.scores.items():
        np.testing.assert_allclose(shuffled.scores[key].raw, score.raw[..., order], rtol=1e-4, atol=1e-6 * gain)


@many
@given(name=attention_poolings, **sizes)
def test_attention_is_a_share(name, n, n_classes, seed, gain):
    model, bag = make(name, n, n_classes, seed, gain)
    attention = model(bag).scores["attention"].raw
    assert attention.shape == ((n_classes, n) if name == "clam-mb" else (n,))
    assert (attention >= 0).all()
    np.testing.assert_allclose(attention.double().sum(dim=-1), 1, atol=1e-6)


@many
@given(name=linear_poolings, **sizes)
def test_contributions_sum_to_logit_less_bias(name, n, n_classes, seed, gain):
    model, bag = make(name, n, n_classes, seed, gain)
    output = model(bag)
    total = output.scores["contribution"].raw.double().sum(dim=1)
    np.testing.assert_allclose(total, (output.logits - model.head.bias).detach(), rtol=1e-5, atol=1e-6 * gain * n)


@many
@given(name=poolings, **sizes)
def test_instance_logit_is_the_bag_of_that_patch_alone(name, n, n_classes, seed, gain):
    model, bag = make(name, n, n_classes, seed, gain)
    alone = torch.stack([model(bag[i : i + 1]).logits for i in range(n)], dim=1)  # (C, N)
    np.testing.assert_allclose(model(bag).scores["instance_logit"].raw, alone.detach(), rtol=1e-5, atol=1e-6 * gain)


@many
@given(name=poolings, **sizes)
def test_leave_one_out_is_what_leaving_one_out_does(name, n, n_classes, seed, gain):
    model, bag = make(name, n, n_classes, seed, gain)
    output = model(bag)
    closed = output.scores["leave_one_out"].raw
    assert closed.shape == (n_classes, n)
    if n == 1:
        assert torch.isnan(closed).all()
        return
    without = [model(torch.cat([bag[:i], bag[i + 1 :]])).logits for i in range(n)]
    brute = torch.stack([output.logits - logits for logits in without], dim=1).detach()
    np.testing.assert_allclose(closed, brute, rtol=1e-4, atol=1e-6 * gain)


@pytest.mark.parametrize("energy", [40.0, 800.0])
def test_leave_one_out_survives_a_patch_that_takes_all_attention(energy):
    """1 - a_i is lost to rounding here; the patch without which the bag says something else must still show it."""
    model = create_model("attention", in_features=2, n_classes=1, hidden=2, attention_dim=1)
    values = {
        "projection.weight": torch.eye(2),
        "projection.bias": torch.zeros(2),
        "head.weight": torch.tensor([[0.0, 3.0]]),
        "head.bias": torch.tensor([0.5]),
        "attention_V.weight": torch.tensor([[1.0, 0.0]]),
        "attention_V.bias": torch.zeros(1),
        "attention_w.weight": torch.tensor([[energy]]),
        "attention_w.bias": torch.zeros(1),
    }
    model.load_state_dict(values)
    # h = (9, 4) holds all attention: logit 3 * 4 + b; without it the others (h2 = 1 and 2) share evenly: 3 * 1.5 + b
    output = model(torch.tensor([[0.0, 1.0], [9.0, 4.0], [0.0, 2.0]]))
    assert float(output.logits[0]) == pytest.approx(12.5)
    assert float(output.scores["attention"].raw[1]) == 1.0
    np.testing.assert_allclose(output.scores["leave_one_out"].raw[0, 1], 7.5, rtol=1e-6)
    np.testing.assert_allclose(output.scores["leave_one_out"].raw[0, [0, 2]], 0, atol=1e-12)


@few
@given(name=poolings, seed=seeds, rows=st.integers(1, 5))
def test_reading_in_blocks_is_reading_at_once(name, seed, rows):
    model, bag = make(name, 11, 2, seed)
    whole = model(bag)
    kept, _bag.BLOCK_ROWS = _bag.BLOCK_ROWS, rows
    try:
        blocked = model(bag)
    finally:
        _bag.BLOCK_ROWS = kept
    np.testing.assert_allclose(blocked.logits, whole.logits, rtol=1e-12)
    for key, score in whole.scores.items():
        np.testing.assert_allclose(blocked.scores[key].raw, score.raw, rtol=1e-5, atol=1e-9)


@few
@given(name=poolings, seed=seeds, n_classes=st.integers(1, 3))
def test_absorbed_standardisation_answers_the_same(name, seed, n_classes):
    model, bag = make(name, 6, n_classes, seed)
    g = np.random.default_rng(seed)
    mean, std = torch.from_numpy(g.normal(size=5)), torch.from_numpy(g.uniform(0.1, 10, size=5))
    before = model((bag - mean) / std).logits
    model.absorb_standardisation(mean, std)
    np.testing.assert_allclose(model(bag).logits, before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", LINEAR + SMOOTH)
def test_training_logits_equal_scored_logits_and_carry_gradients(name):
    model, bag = make(name, 9, 3, 1)
    scored, trained = model(bag), model(bag, scores=False)
    assert torch.equal(scored.logits, trained.logits)
    assert trained.scores == {}
    assert not scored.logits.requires_grad
    trained.logits.sum().backward()
    dead = [key for key, w in model.named_parameters() if w.grad is None and "instance" not in key]  # see test_clam
    assert dead == []


def test_half_precision_features_are_read_as_float32():
    model = create_model("gated-attention", in_features=5, seed=3)
    bag = torch.from_numpy(np.random.default_rng(3).standard_normal((4, 5))).half()
    assert torch.equal(model(bag).logits, model(bag.float()).logits)


@pytest.mark.parametrize(
    "bag", [torch.zeros(0, 5), torch.zeros(3, 4), torch.zeros(5), torch.zeros(2, 5, dtype=torch.int64)]
)
def test_a_bag_of_another_shape_is_refused(bag):
    with pytest.raises(ValueError, match="bag must be"):
        create_model("mean", in_features=5)(bag)


@pytest.mark.parametrize("name", LINEAR + SMOOTH)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(name, bad):
    bag = torch.ones(4, 5)
    bag[2, :] = bad
    bag[3, 0] = bad
    model = create_model(name, in_features=5, seed=0)
    with pytest.raises(ModelError, match="not finite"):
        model(bag)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", LINEAR + SMOOTH)
def test_the_gpu_gives_what_the_cpu_gives(name):
    model = create_model(name, in_features=64, seed=0)
    bag = torch.from_numpy(np.random.default_rng(0).standard_normal((20_000, 64)).astype(np.float32))
    on_cpu, on_gpu = model(bag), model.to("cuda")(bag)  # the bag stays where it is
    np.testing.assert_allclose(on_gpu.logits.cpu(), on_cpu.logits, atol=1e-4)
    for key, score in on_cpu.scores.items():
        assert on_gpu.scores[key].raw.device.type == "cpu"
        np.testing.assert_allclose(on_gpu.scores[key].raw, score.raw, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in MODEL_NAMES if not name.startswith("torchmil")])
def test_a_bag_read_once_gives_the_logits_of_any_part(name):
    model = create_model(name, in_features=6, n_classes=3, seed=5)
    bag = torch.from_numpy(np.random.default_rng(5).standard_normal((9, 6)).astype(np.float32))
    of_part = model.read_once(bag)
    for rows in (torch.arange(9), torch.tensor([0, 3, 4, 8]), torch.tensor([7])):
        np.testing.assert_allclose(of_part(rows), model(bag[rows]).logits, rtol=1e-4, atol=1e-5)
