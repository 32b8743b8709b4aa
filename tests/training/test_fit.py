"""Fitting one model: the best epoch is kept, classes count the same, the seed decides all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_mil.errors import ModelError
from napari_mil.models import create_model
from napari_mil.training import Recipe, bag_auc, fit, predict
from napari_mil.training._fit import standardisation
from napari_mil.training._losses import class_weights


def run(fitting):
    epochs = []
    while True:
        try:
            epochs.append(next(fitting))
        except StopIteration as end:
            return epochs, end.value


@pytest.fixture
def data(separable):
    cohort, bags = separable(20)
    rows = np.arange(20)
    return [bags.values[slide] for slide in cohort.slides], cohort.targets, rows[:12], rows[12:]


def recipe(**changes):
    return Recipe(**{"epochs": 12, "lr": 1e-2, "patience": 12} | changes)


def small(seed=0, **config):
    return create_model("gated-attention", in_features=4, seed=seed, hidden=8, attention_dim=4, **config)


def loss_on(model, bags, targets, rows, weights):
    logs = [np.log(predict(model, bags[row])[targets[row]]) for row in rows]
    w = np.asarray(weights)[targets[rows]]
    return float(-(w * logs).sum() / w.sum())


def test_early_stopping_restores_the_best_epoch(data):
    bags, targets, train, val = data
    wrong = targets.copy()
    wrong[val[:3]] = 1 - wrong[val[:3]]  # validation that gets worse once the model is sure
    model = small()
    epochs, kept = run(fit(model, bags, wrong, train, val, recipe(epochs=60, patience=5)))
    losses = [epoch.val_loss for epoch in epochs]
    assert kept == int(np.argmin(losses)) + 1
    assert len(epochs) == kept + 5 < 60
    weights = class_weights(wrong[train], 2)
    # the kept weights, standardisation folded in, give the loss that was reported for that epoch
    assert loss_on(model, bags, wrong, val, weights) == pytest.approx(min(losses), rel=1e-4)
    assert loss_on(model, bags, wrong, val, weights) < losses[-1]


def test_without_validation_the_last_epoch_is_kept(data):
    bags, targets, train, _ = data
    epochs, kept = run(fit(small(), bags, targets, train, np.empty(0, np.int64), recipe(), stop=4))
    assert kept == len(epochs) == 4
    assert all(np.isnan(epoch.val_loss) and np.isnan(epoch.val_auc) for epoch in epochs)


def test_epochs_report_falling_loss_and_cosine_rate(data):
    bags, targets, train, val = data
    epochs, _ = run(fit(small(), bags, targets, train, val, recipe()))
    assert [epoch.epoch for epoch in epochs] == list(range(1, 13))
    expected = 1e-2 * (1 + np.cos(np.pi * np.arange(12) / 12)) / 2
    np.testing.assert_allclose([epoch.lr for epoch in epochs], expected, rtol=1e-6)
    assert epochs[-1].train_loss < 0.2 < 0.5 < epochs[0].train_loss
    assert epochs[-1].val_auc == 1.0


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_same_seed_gives_the_same_model_whatever_happens_around(data, dropout):
    bags, targets, train, val = data
    states = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        model = small(dropout=dropout)
        fitting = fit(model, bags, targets, train, val, recipe(epochs=3, seed=seed))
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        run(fitting)
        assert torch.equal(torch.get_rng_state(), before)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_bags_per_step_average_their_gradients(data):
    """One step over all bags from the same start equals one step of AdamW on the mean gradient, in any order."""
    bags, targets, train, _ = data
    nobody = np.empty(0, np.int64)
    one, two = small(), small()
    run(fit(one, bags, targets, train, nobody, recipe(epochs=1, bags_per_step=12)))
    run(fit(two, bags, targets, train[::-1].copy(), nobody, recipe(epochs=1, bags_per_step=99)))
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_scale_of_the_features_does_not_matter(data):
    bags, targets, train, val = data
    plain, scaled = small(), small()
    run(fit(plain, bags, targets, train, val, recipe(epochs=5)))
    run(fit(scaled, [bag * 1000 + 77 for bag in bags], targets, train, val, recipe(epochs=5)))
    for bag in bags:
        np.testing.assert_allclose(predict(scaled, bag * 1000 + 77), predict(plain, bag), atol=2e-3)


def test_standardisation_counts_bags_alike_and_tames_constant_features():
    bags = [np.array([[0, 5]] * 3, np.float32), np.array([[2, 5]], np.float32)]
    mean, std = standardisation(bags)
    np.testing.assert_allclose(mean, [1, 5])
    np.testing.assert_allclose(std, [1, 0.01])
    np.testing.assert_allclose(standardisation([np.ones((2, 3), np.float32)])[1], 0.01)


def test_class_weights_balance_the_classes():
    np.testing.assert_allclose(class_weights(np.array([0, 1, 1, 1]), 2), [2, 2 / 3])


def test_divergence_is_reported_in_words(data):
    bags, targets, train, val = data
    with pytest.raises(ModelError, match="Lower the learning rate"):
        run(fit(small(), bags, targets, train, val, recipe(lr=1e30)))


def test_bag_auc_of_two_and_of_more_classes():
    truth = np.array([0, 0, 1, 1])
    positive = np.array([0.1, 0.6, 0.4, 0.9])
    assert bag_auc(truth, np.stack([1 - positive, positive], axis=1)) == 0.75  # 3 of 4 pairs in order
    three = np.eye(3)[[0, 1, 2, 2]]
    assert bag_auc(np.array([0, 1, 2, 2]), three) == 1.0
    # class 0 stands out; classes 1 and 2 each beat one of the other two and tie with the other: 3/4
    confused = np.array([[0.8, 0.1, 0.1], [0.1, 0.45, 0.45], [0.1, 0.45, 0.45]])
    assert bag_auc(np.array([0, 1, 2]), confused) == pytest.approx((1 + 0.75 + 0.75) / 3)
    assert np.isnan(bag_auc(np.array([1, 1]), np.full((2, 2), 0.5)))
