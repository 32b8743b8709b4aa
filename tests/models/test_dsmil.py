"""DSMIL: its equations written out, its scores left out for real, its published weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mil.models import create_model

many = settings(deadline=None, max_examples=40)
sizes = {
    "n": st.integers(1, 10),
    "n_classes": st.integers(1, 3),
    "query": st.sampled_from(["two-layer", "linear"]),
    "value": st.sampled_from(["identity", "layer"]),
    "seed": st.integers(0, 2**32 - 1),
}


def make(n, n_classes, query, value, seed, gain=1.0):
    model = create_model(
        "dsmil", in_features=5, n_classes=n_classes, seed=seed, query_dim=4, query=query, value=value
    ).double()
    with torch.no_grad():
        model.query_in.weight *= gain
    return model, torch.from_numpy(np.random.default_rng(seed).standard_normal((n, 5)))


def by_equations(model, bag):
    """Return logits, attention (C, N), instance logits (C, N) by the paper's equations, in numpy."""
    w = {key: value.numpy() for key, value in model.state_dict().items()}
    x = bag.numpy()
    c = x @ w["instance.weight"].T + w["instance.bias"]
    q = x @ w["query_in.weight"].T + w["query_in.bias"]
    if "query_out.weight" in w:
        q = np.tanh(np.maximum(q, 0) @ w["query_out.weight"].T + w["query_out.bias"])
    v = np.maximum(x @ w["value.weight"].T + w["value.bias"], 0) if "value.weight" in w else x
    rows, b = [], []
    for k in range(c.shape[1]):
        energy = np.array([np.dot(q[i], q[c[:, k].argmax()]) / np.sqrt(q.shape[1]) for i in range(len(x))])
        a = np.exp(energy - energy.max()) / np.exp(energy - energy.max()).sum()
        rows.append(a)
        b.append(a @ v)
    logits = w["head.weight"] @ np.concatenate(b) + w["head.bias"]
    return logits, np.array(rows), c.T


@many
@given(**sizes)
def test_it_computes_the_papers_equations(n, n_classes, query, value, seed):
    model, bag = make(n, n_classes, query, value, seed)
    output = model(bag)
    logits, attention, instance = by_equations(model, bag)
    np.testing.assert_allclose(output.logits, logits, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(output.scores["attention"].raw, attention, rtol=1e-5)
    np.testing.assert_allclose(output.scores["instance_logit"].raw, instance, rtol=1e-5, atol=1e-7)


@many
@given(gain=st.sampled_from([1.0, 40.0]), **sizes)
def test_leave_one_out_is_what_leaving_one_out_does(n, n_classes, query, value, seed, gain):
    model, bag = make(n, n_classes, query, value, seed, gain)
    output = model(bag)
    scores = output.scores["leave_one_out"].raw
    if n == 1:
        assert torch.isnan(scores).all()
        return
    without = [model(torch.cat([bag[:i], bag[i + 1 :]])).logits for i in range(n)]
    brute = torch.stack([output.logits - logits for logits in without], dim=1)
    np.testing.assert_allclose(scores, brute, rtol=1e-4, atol=1e-6)


@many
@given(**sizes)
def test_contributions_sum_to_logit_less_bias_and_order_does_not_matter(n, n_classes, query, value, seed):
    model, bag = make(n, n_classes, query, value, seed)
    output = model(bag)
    total = output.scores["contribution"].raw.double().sum(dim=1)
    np.testing.assert_allclose(total, (output.logits - model.head.bias).detach(), rtol=1e-5, atol=1e-6)
    order = np.random.default_rng(seed).permutation(n)
    shuffled = model(bag[order])
    np.testing.assert_allclose(shuffled.logits, output.logits, rtol=1e-9, atol=1e-12)
    for name, score in output.scores.items():
        np.testing.assert_allclose(shuffled.scores[name].raw, score.raw[..., order], rtol=1e-4, atol=1e-6)


@many
@given(**sizes)
def test_absorbed_standardisation_answers_the_same(n, n_classes, query, value, seed):
    model, bag = make(n, n_classes, query, value, seed)
    g = np.random.default_rng(seed)
    mean, std = torch.from_numpy(g.normal(size=5)), torch.from_numpy(g.uniform(0.1, 10, size=5))
    before = model((bag - mean) / std)
    model.absorb_standardisation(mean, std)
    after = model(bag)
    np.testing.assert_allclose(after.logits, before.logits, rtol=1e-8, atol=1e-8)
    for name in ("attention", "instance_logit"):
        np.testing.assert_allclose(after.scores[name].raw, before.scores[name].raw, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", ["identity", "layer"])
def test_the_loss_is_half_of_either_stream_and_reaches_every_weight(value):
    model, bag = make(6, 2, "two-layer", value, 3)
    seen = []

    def criterion(logits, target):
        seen.append(logits.detach())
        return torch.logsumexp(logits, dim=0) - logits[target]

    loss = model.loss(bag, 1, criterion)
    loss.backward()
    output = model(bag)
    largest = output.scores["instance_logit"].raw.max(dim=1).values
    np.testing.assert_allclose(seen[0], output.logits)
    np.testing.assert_allclose(seen[1], largest, rtol=1e-6)
    halves = [torch.nn.functional.cross_entropy(logits[None], torch.tensor([1])) for logits in seen]
    np.testing.assert_allclose(loss.detach(), sum(halves) / 2, rtol=1e-9)
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []


def test_dropout_without_values_to_drop_is_refused():
    with pytest.raises(ValueError, match='Add value="layer"'):
        create_model("dsmil", in_features=4, dropout=0.2)
    assert create_model("dsmil", in_features=4, dropout=0.2, value="layer").dropout.p == 0.2
