"""Patch flipping worked out by hand on four patches, its identities, and its baseline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mil.errors import EvaluationError
from napari_mil.evaluation import aupc, iter_faithfulness, iter_flips, relevance_order
from napari_mil.evaluation._faithfulness import RANDOM, _relevance
from napari_mil.evaluation._flipping import steps_of
from napari_mil.features import EncoderInfo
from napari_mil.models import create_model, save_model
from napari_mil.progress import finish
from napari_mil.training import Bags


def mean_of_numbers():
    """Return a model whose one logit is the mean of the patches' one (positive) number, less 2."""
    model = create_model("mean", in_features=1, class_names=("tumour",), hidden=1)
    weights = {"projection.weight": [[1.0]], "projection.bias": [0.0], "head.weight": [[1.0]], "head.bias": [-2.0]}
    model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return model.eval()


def sigmoid(*logits):
    return 1 / (1 + np.exp(-np.array(logits)))


def test_four_patches_by_hand():
    """Patches 1, 4, 2, 3: dropped from the highest, the means that are left are 2.5, 2, 1.5, 1 and nought."""
    model, bag = mean_of_numbers(), torch.tensor([[1.0], [4.0], [2.0], [3.0]])
    order = relevance_order(bag[:, 0].numpy(), 0)
    assert order.tolist() == [1, 3, 2, 0]
    (found,) = finish(iter_flips(model, bag, [order], 0))
    assert found.flipped.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(found.drop_morf, sigmoid(0.5, 0, -0.5, -1, -2), atol=1e-6)
    np.testing.assert_allclose(found.drop_lerf, sigmoid(0.5, 1, 1.5, 2, -2), atol=1e-6)
    np.testing.assert_allclose(found.add_morf, sigmoid(-2, 2, 1.5, 1, 0.5), atol=1e-6)
    np.testing.assert_allclose(found.add_lerf, sigmoid(-2, -1, -0.5, 0, 0.5), atol=1e-6)
    assert aupc(found.drop_morf) == pytest.approx(sigmoid(0.5, 0, -0.5, -1, -2).mean(), abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_no_order_is_better_than_by_contribution_where_logits_add_up(n, seed):
    """Mean pooling of one logit: at every step the highest are gone, so that what is left cannot be lower."""
    g = np.random.default_rng(seed)
    model = create_model("mean", in_features=3, class_names=("tumour",), seed=seed % 1000, hidden=5).eval()
    bag = torch.from_numpy(g.normal(size=(n, 3)).astype(np.float32))
    best = relevance_order(model(bag).scores["contribution"].raw[0].numpy(), 0)
    found = finish(iter_flips(model, bag, [best, *(g.permutation(n) for _ in range(6))], 0))
    for other in found[1:]:
        assert (found[0].drop_morf <= other.drop_morf + 1e-6).all()
        assert (found[0].drop_lerf >= other.drop_morf - 1e-6).all()
        assert (found[0].add_morf >= other.add_morf - 1e-6).all()


@pytest.mark.parametrize(
    ("name", "n"), [("gated-attention", 7), ("gated-attention", 131), ("dsmil", 131), ("transmil", 7)]
)
def test_every_point_is_the_prediction_of_that_bag(name, n):
    config = {"hidden": 16, "heads": 2, "landmarks": 4} if name == "transmil" else {}
    model = create_model(name, in_features=4, n_classes=2, seed=1, **config).eval()
    g = np.random.default_rng(n)
    bag, order = torch.from_numpy(g.normal(size=(n, 4)).astype(np.float32)), g.permutation(n)
    (found,) = finish(iter_flips(model, bag, [order], 1))
    assert (found.flipped[0], found.flipped[-1], len(found.flipped)) == (0, n, min(n, 100) + 1)
    for k in (0, 1, len(found.flipped) // 2, -2, -1):
        count = int(found.flipped[k])
        for curve, kept in (
            (found.drop_morf, order[count:]),
            (found.drop_lerf, order[::-1][count:]),
            (found.add_morf, order[:count]),
            (found.add_lerf, order[::-1][:count]),
        ):
            part = bag[np.sort(kept)] if len(kept) else torch.zeros(1, 4)
            wanted = model.probabilities(model(part, scores=False).logits.detach())[1]
            assert curve[k] == pytest.approx(float(wanted), abs=1e-5)


def test_steps_are_one_percent():
    assert steps_of(3).tolist() == [0, 1, 2, 3]
    assert steps_of(1000).tolist() == list(range(0, 1001, 10))
    assert np.diff(steps_of(256)).max() == 3


def test_ties_do_not_follow_the_place():
    order = relevance_order(np.r_[np.zeros(50), 1], 3)
    assert order[0] == 50
    assert order[1:].tolist() != sorted(order[1:])
    np.testing.assert_array_equal(order, relevance_order(np.r_[np.zeros(50), 1], 3))


@pytest.fixture
def known(candidate, tmp_path):
    """Return a candidate of eight slides with `mean_of_numbers`, and their bags."""
    from dataclasses import replace

    model = mean_of_numbers()
    save_model(tmp_path / "one.safetensors", model)
    g = np.random.default_rng(0)
    targets = np.arange(8) % 2
    bags = {f"s{i}": (4 * g.random((20, 1))).astype(np.float32) for i in range(8)}
    p = [sigmoid(bags[f"s{i}"].mean() - 2)[0] for i in range(8)]
    one = replace(candidate(targets, np.array(p)), models={1: tmp_path / "one.safetensors"})
    return one, Bags(bags, EncoderInfo("toy", "1", "0", 1, 64, 1.0))


def test_over_slides(known):
    found, slides = finish(iter_faithfulness([known[0]], known[1], random_orders=4, replicates=100))
    by_score = {one.score: one for one in found}
    assert set(by_score) == {"contribution", "instance_logit", "leave_one_out", RANDOM}
    best, chance = by_score["contribution"], by_score[RANDOM]
    assert (best.n_slides, chance.n_slides, len(slides)) == (8, 8, 3 * 8 + 4 * 8)
    assert best.difference.low > 0
    assert abs(chance.difference.value) < best.difference.value / 5
    own = [s.areas["drop_lerf"] - s.areas["drop_morf"] for s in slides if s.score == "contribution"]
    assert best.difference.value == pytest.approx(np.mean(own))
    assert best.areas["add_morf"] == pytest.approx(best.areas["drop_lerf"])  # the same bags, backwards
    assert best.curves["drop_morf"][0] == pytest.approx(np.mean(known[0].test.probabilities[:, 1]), abs=1e-6)


def test_scores_asked_for(known):
    names = ["gradient_x_input", "contribution"]
    found, _ = finish(iter_faithfulness([known[0]], known[1], scores=names, most_slides=3, replicates=100))
    assert [(one.score, one.n_slides) for one in found if one.score != RANDOM] == [
        ("contribution", 3),
        ("gradient_x_input", 3),
    ]
    with pytest.raises(EvaluationError, match="does not give the score attention"):
        finish(iter_faithfulness([known[0]], known[1], scores=["attention"]))


def test_closing_ends_it(known):
    steps = iter_faithfulness([known[0]], known[1])
    assert next(steps).total == 8
    steps.close()


def test_models_are_needed(candidate, known):
    with pytest.raises(EvaluationError, match="no model of fold 1"):
        finish(iter_faithfulness([candidate([0, 1], [0.1, 0.9])], known[1]))


def test_of_two_classes_the_difference_is_judged():
    """What a patch adds to both logits moves no probability, so that it must not decide the order."""
    model = create_model("mean", in_features=2, n_classes=2, hidden=2)
    with torch.no_grad():
        model.projection.weight.copy_(torch.eye(2))
        model.projection.bias.zero_()
        model.head.weight.copy_(torch.tensor([[9.0, 0.0], [9.0, 1.0]]))  # the first feature speaks for both
        model.head.bias.zero_()
    bag = torch.rand(30, 2, generator=torch.Generator().manual_seed(0))
    target, relevance = finish(_relevance("m", model, bag, ["contribution", "leave_one_out", "gradient_x_input"]))
    assert target == 1
    for values in relevance.values():
        np.testing.assert_array_equal(np.argsort(values), np.argsort(bag[:, 1].numpy()))
