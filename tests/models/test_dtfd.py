"""DTFD-MIL: its equations written out, each kind of distillation, and patches left out for real."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mil.models import create_model

KINDS = ("afs", "maxs", "maxmins")
many = settings(deadline=None, max_examples=40)
sizes = {
    "kind": st.sampled_from(KINDS),
    "n": st.integers(1, 14),
    "n_classes": st.integers(1, 3),
    "seed": st.integers(0, 2**32 - 1),
}


def make(kind, n, n_classes, seed, gain=1.0, splits=3):
    config = {"hidden": 6, "attention_dim": 4, "groups": 3, "distillation": kind, "splits": splits}
    model = create_model("dtfd", in_features=5, n_classes=n_classes, seed=seed, **config).double()
    with torch.no_grad():
        for energy in (model.energy1, model.energy2):
            energy.w.weight *= 5 * gain
    return model, torch.from_numpy(np.random.default_rng(seed).standard_normal((n, 5)))


def softmax(x):
    return np.exp(x - x.max()) / np.exp(x - x.max()).sum()


def by_equations(model, bag, kind):
    """Return the logits (C,) by the paper's equations, in numpy, over the model's own deals."""
    w = {key: value.numpy() for key, value in model.state_dict().items()}

    def energy(tier, h):
        v = np.tanh(h @ w[f"energy{tier}.V.weight"].T + w[f"energy{tier}.V.bias"])
        u = 1 / (1 + np.exp(-(h @ w[f"energy{tier}.U.weight"].T + w[f"energy{tier}.U.bias"])))
        return ((v * u) @ w[f"energy{tier}.w.weight"].T + w[f"energy{tier}.w.bias"])[:, 0]

    h = np.maximum(bag.numpy() @ w["projection.weight"].T + w["projection.bias"], 0)
    logits = []
    for groups in model.deal(len(h)).numpy():
        distilled = []
        for g in sorted(set(groups)):
            inside = h[groups == g]
            t = softmax(energy(1, inside))[:, None] * inside
            evidence = t @ w["group_head.weight"].T
            if evidence.shape[1] <= 2:  # the probability of the last class ranks as this does
                spoken = evidence[:, -1] - (evidence[:, 0] if evidence.shape[1] == 2 else 0)
            else:
                spoken = (evidence - evidence.mean(axis=1, keepdims=True)).max(axis=1)
            if kind == "afs":
                distilled.append(t.sum(axis=0))
            else:
                distilled.append(inside[spoken.argmax()])
            if kind == "maxmins":
                distilled.append(inside[spoken.argmin()])
        distilled = np.array(distilled)
        logits.append(w["head.weight"] @ (softmax(energy(2, distilled)) @ distilled) + w["head.bias"])
    return np.mean(logits, axis=0)


@many
@given(**sizes)
def test_it_computes_the_papers_equations(kind, n, n_classes, seed):
    model, bag = make(kind, n, n_classes, seed)
    np.testing.assert_allclose(model(bag).logits, by_equations(model, bag, kind), rtol=1e-9, atol=1e-11)


@many
@given(gain=st.sampled_from([1.0, 30.0]), **sizes)
def test_leave_one_out_keeps_the_deal_and_computes_the_rest_anew(kind, n, n_classes, seed, gain):
    model, bag = make(kind, n, n_classes, seed, gain)
    output = model(bag)
    found = output.scores["leave_one_out"].raw
    if n == 1:
        assert torch.isnan(found).all()
        return
    deals = model.deal(n)
    brute = []
    for i in range(n):
        kept = torch.arange(n) != i
        model.deal = lambda count, device="cpu", kept=kept: deals[:, kept]
        brute.append(output.logits - model(bag[kept], scores=False).logits)
    np.testing.assert_allclose(found, torch.stack(brute, dim=1).detach(), rtol=1e-4, atol=1e-6)


@many
@given(**sizes)
def test_contributions_sum_and_attention_is_a_share(kind, n, n_classes, seed):
    model, bag = make(kind, n, n_classes, seed)
    output = model(bag)
    total = output.scores["contribution"].raw.double().sum(dim=1)
    np.testing.assert_allclose(total, (output.logits - model.head.bias).detach(), rtol=1e-5, atol=1e-6)
    share = output.scores["attention"].raw.double()
    assert (share >= 0).all()
    assert float(share.sum()) == pytest.approx(1, abs=1e-6)


@many
@given(**sizes)
def test_instance_logit_is_the_bag_of_that_patch_alone(kind, n, n_classes, seed):
    model, bag = make(kind, n, n_classes, seed)
    alone = torch.stack([model(bag[i : i + 1]).logits for i in range(n)], dim=1)
    np.testing.assert_allclose(model(bag).scores["instance_logit"].raw, alone, rtol=1e-5, atol=1e-6)


@many
@given(**sizes)
def test_whole_bag_attention_and_a_single_group_do_not_heed_the_order(kind, n, n_classes, seed):
    model, bag = make(kind, n, n_classes, seed)
    order = np.random.default_rng(seed).permutation(n)
    shuffled, plain = model(bag[order]), model(bag)
    np.testing.assert_allclose(
        shuffled.scores["attention"].raw, plain.scores["attention"].raw[order], rtol=1e-5, atol=1e-9
    )
    model.deal = lambda count, device="cpu": torch.zeros(1, count, dtype=torch.int64)
    np.testing.assert_allclose(model(bag[order]).logits, model(bag).logits, rtol=1e-8, atol=1e-9)


def test_deals_are_even_seeded_and_new_in_training():
    model, bag = make("afs", 11, 2, 0)
    assert torch.equal(model.deal(11), model.deal(11))
    assert model.deal(11).shape == (3, 11)
    for groups in model.deal(11):
        assert sorted(torch.bincount(groups).tolist()) == [3, 4, 4]
    assert len({tuple(groups.tolist()) for groups in model.deal(11)}) == 3
    before = torch.get_rng_state()
    assert torch.equal(model(bag).logits, model(bag).logits)
    assert torch.equal(torch.get_rng_state(), before)
    other = create_model("dtfd", in_features=5, split_seed=1, groups=3, splits=3)
    assert not torch.equal(other.deal(11), model.deal(11))
    model.train()
    assert len({tuple(model.deal(11)[0].tolist()) for _ in range(9)}) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_of_pseudo_bags_and_bag_and_keeps_tier_two_out_of_tier_one(kind):
    model, bag = make(kind, 9, 2, 4, splits=1)
    seen = []

    def criterion(logits, target):
        seen.append(logits)
        return torch.logsumexp(logits, dim=0) - logits[target]

    loss = model.loss(bag, 1, criterion)
    assert len(seen) == 3 + 1
    np.testing.assert_allclose(seen[-1].detach(), model(bag).logits, rtol=1e-10)
    each = [float(torch.nn.functional.cross_entropy(logits.detach()[None], torch.tensor([1]))) for logits in seen]
    assert float(loss.detach()) == pytest.approx(np.mean(each[:3]) + each[3])
    loss.backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []
    model.zero_grad()
    model.loss(bag, 1, criterion)
    (tier2,) = seen[-1:]
    tier2.sum().backward()
    reached = {key.split(".")[0] for key, weight in model.named_parameters() if weight.grad is not None}
    assert reached == {"energy2", "head"}


def test_absorbed_standardisation_answers_the_same():
    model, bag = make("afs", 8, 2, 5)
    g = np.random.default_rng(5)
    mean, std = torch.from_numpy(g.normal(size=5)), torch.from_numpy(g.uniform(0.1, 10, size=5))
    before = model((bag - mean) / std).logits
    model.absorb_standardisation(mean, std)
    np.testing.assert_allclose(model(bag).logits, before, rtol=1e-9, atol=1e-9)


def test_an_unknown_distillation_is_refused():
    with pytest.raises(ValueError, match="afs, maxs, maxmins"):
        create_model("dtfd", in_features=5, distillation="mean")
