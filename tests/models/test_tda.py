"""TDA-MIL: its two passes written out plainly, and what must hold for any weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from napari_mil.models import create_model, iter_leave_one_out
from napari_mil.progress import finish

many = settings(deadline=None, max_examples=25)
sizes = {
    "n": st.integers(1, 9),
    "n_classes": st.integers(1, 3),
    "layers": st.integers(1, 3),
    "seed": st.integers(0, 2**32 - 1),
}


def make(n, n_classes, layers, seed):
    config = {"hidden": 8, "heads": 2, "layers": layers, "mlp_ratio": 2}
    model = create_model("tda", in_features=5, n_classes=n_classes, seed=seed, **config).double()
    return model, torch.from_numpy(np.random.default_rng(seed).standard_normal((n, 5)))


def by_equations(model, bag):
    """Return logits (C,), relevance (N,) and the class token's last attention (N,), head by head and token by token."""
    w = model.state_dict()
    heads = model.card.config["heads"]

    def affine(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(name, x):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def layer(number, x, down):
        name = f"layers.{number}"
        z = norm(f"{name}.norm1", x)
        q, k, v = affine(f"{name}.query", z), affine(f"{name}.key", z), affine(f"{name}.value", z + down)
        parts, rows = [], []
        for a, b, c in zip(*(t.chunk(heads, dim=1) for t in (q, k, v)), strict=True):
            matrix = (a @ b.T / a.shape[1] ** 0.5).softmax(dim=1)
            parts.append(matrix @ c)
            rows.append(matrix[0, 1:] / matrix[0, 1:].sum())
        y = x + affine(f"{name}.out", torch.cat(parts, dim=1))
        mlp = affine(f"{name}.mlp.3", F.gelu(affine(f"{name}.mlp.0", norm(f"{name}.norm2", y))))
        return y + mlp, torch.stack(rows).mean(0)

    start = torch.cat([w["class_token"][None], affine("projection", bag)])
    x, count = start, model.card.config["layers"]
    for number in range(count):
        x, _ = layer(number, x, 0)
    found, task = norm("norm", x), w["task_token"]
    relevance = torch.stack([(row @ task / (row.norm() * task.norm())).clamp(0, 1) for row in found[1:]])
    selected = torch.cat([found[:1], relevance[:, None] * found[1:]])
    down, feedback = selected @ w["channels.weight"].T, {}
    for number in reversed(range(count)):
        down = affine(f"decoders.{number}.2", F.gelu(affine(f"decoders.{number}.0", down)))
        feedback[number] = down
    x = start
    for number in range(count):
        x, row = layer(number, x, feedback[number])
    return affine("head", norm("norm", x)[0]), relevance, row


@many
@given(**sizes)
def test_it_computes_the_equations(n, n_classes, layers, seed):
    model, bag = make(n, n_classes, layers, seed)
    output = model(bag)
    logits, relevance, row = by_equations(model, bag)
    np.testing.assert_allclose(output.logits, logits, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(output.scores["relevance"].raw, relevance, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(output.scores["attention"].raw, row, rtol=1e-5, atol=1e-7)


@many
@given(**sizes)
def test_order_of_patches_changes_nothing_but_the_order_of_scores(n, n_classes, layers, seed):
    model, bag = make(n, n_classes, layers, seed)
    order = np.random.default_rng(seed).permutation(n)
    plain, shuffled = model(bag), model(bag[order])
    np.testing.assert_allclose(shuffled.logits, plain.logits, rtol=1e-8, atol=1e-10)
    for name, score in plain.scores.items():
        np.testing.assert_allclose(shuffled.scores[name].raw, score.raw[order], rtol=1e-5, atol=1e-7)
    assert plain.scores["relevance"].kind == "relevance"
    assert ((plain.scores["relevance"].raw >= 0) & (plain.scores["relevance"].raw <= 1)).all()


@settings(deadline=None, max_examples=10)
@given(**sizes)
def test_leave_one_out_is_what_leaving_one_out_does(n, n_classes, layers, seed):
    model, bag = make(n, n_classes, layers, seed)
    score = finish(iter_leave_one_out(model, bag)).raw
    if n == 1:
        assert torch.isnan(score).all()
        return
    whole = model(bag).logits
    brute = torch.stack([whole - model(torch.cat([bag[:i], bag[i + 1 :]])).logits for i in range(n)], dim=1)
    np.testing.assert_allclose(score, brute, rtol=1e-4, atol=1e-6)


def test_every_weight_learns_and_standardisation_is_absorbed():
    model, bag = make(6, 2, 2, 0)
    model(bag, scores=False).logits[0].backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []
    g = np.random.default_rng(0)
    mean, std = torch.from_numpy(g.normal(size=5)), torch.from_numpy(g.uniform(0.1, 10, size=5))
    before = model((bag - mean) / std).logits
    model.absorb_standardisation(mean, std)
    np.testing.assert_allclose(model(bag).logits, before, rtol=1e-8, atol=1e-9)


def test_heads_that_do_not_divide_the_tokens_are_refused():
    with pytest.raises(ValueError, match="multiple of heads"):
        create_model("tda", in_features=4, hidden=10, heads=4)
