"""What an epoch looks at: frequencies, subsets, hard patches; and bags of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_mil.errors import ModelError
from napari_mil.models import MODEL_NAMES, create_model
from napari_mil.training import Recipe, fit, predict
from napari_mil.training._draw import draw_bags, epoch_items, hard_patches
from napari_mil.training._losses import entropy

FEW_TOKENS = {"transmil": {"hidden": 16, "heads": 2, "landmarks": 4}, "tda": {"hidden": 16, "heads": 2}}


def small(name, **config):
    return create_model(name, in_features=4, seed=0, **FEW_TOKENS.get(name, {}), **config)


def run(fitting):
    epochs = list(fitting)
    assert all(np.isfinite(epoch.train_loss) for epoch in epochs)
    return epochs


def test_balanced_draws_show_every_class_alike():
    targets = np.array([0] * 80 + [1] * 15 + [2] * 5)
    train = np.arange(100)
    draws = np.random.default_rng(0)
    rows = np.concatenate([draw_bags(train, targets, "balanced", draws) for _ in range(600)])
    assert len(rows) == 60_000
    np.testing.assert_allclose(np.bincount(targets[rows]) / len(rows), 1 / 3, atol=0.01)  # five deviations
    np.testing.assert_allclose(np.bincount(rows)[95:] / len(rows), 1 / 15, atol=0.005)  # and each bag of a class
    assert sorted(draw_bags(train, targets, "each", draws)) == list(range(100))


def test_patches_of_large_bags_are_drawn_by_seed_and_epoch():
    train, targets = np.arange(3), np.array([0, 1, 0])
    sizes = {0: 5, 1: 1000, 2: 1001}

    def drawn(seed, epoch):
        return dict(epoch_items(train, targets, sizes, {}, Recipe(max_patches=200, seed=seed), epoch))

    first = drawn(0, 1)
    np.testing.assert_array_equal(first[0], np.arange(5))
    for row in (1, 2):
        assert len(first[row]) == 200
        assert (np.diff(first[row]) > 0).all()  # each once, in the bag's order
        np.testing.assert_array_equal(first[row], drawn(0, 1)[row])
        assert set(first[row]) != set(drawn(0, 2)[row])
        assert set(first[row]) != set(drawn(1, 1)[row])
    seen = np.concatenate([drawn(0, epoch)[1] for epoch in range(200)])
    counts = np.bincount(seen, minlength=1000)  # 40 expected, deviation 5.7
    assert 15 < counts.min() <= counts.max() < 70


def test_hard_bags_come_once_more_and_are_cut_too():
    hard = {2: np.array([3, 5, 8, 9])}
    items = list(epoch_items(np.arange(3), np.array([0, 1, 0]), {}, hard, Recipe(), 1))
    assert sorted(row for row, _ in items) == [0, 1, 2, 2]
    (chosen,) = (patches for row, patches in items if patches is not None)
    np.testing.assert_array_equal(chosen, hard[2])
    items = epoch_items(np.arange(3), np.array([0, 1, 0]), {0: 9, 1: 9, 2: 9}, hard, Recipe(max_patches=3), 1)
    (chosen,) = [patches for row, patches in items if row == 2 and set(patches) <= set(hard[2])]
    assert len(chosen) == 3


@pytest.mark.parametrize("name", ["mean", "gated-attention", "max", "transmil", "dsmil"])
def test_hard_patches_speak_for_the_wrong_class(name):
    g = torch.Generator().manual_seed(1)
    bags = [torch.randn(10, 4, generator=g) * 3 for _ in range(12)]
    targets = np.array([0, 1] * 6)
    model = small(name).eval()
    found = hard_patches(model, bags.__getitem__, np.arange(12), targets, 0.25)
    with torch.no_grad():
        margins = [float(logits[1] - logits[0]) for logits in (model(bag, scores=False).logits for bag in bags)]
        assert set(found) == {row for row in range(0, 12, 2) if margins[row] > 0}
        for row, patches in found.items():
            assert len(patches) == 3  # a quarter of ten, rounded up
            if name in ("mean", "max"):  # without the others the bag speaks for the wrong class at least as much
                alone = model(bags[row][patches], scores=False).logits
                assert float(alone[1] - alone[0]) >= margins[row] - 1e-5


def test_hard_patches_change_a_fit_of_wrong_positives(separable):
    cohort, bags = separable(12)
    values = [bags.values[slide] for slide in cohort.slides]
    rows, nobody = np.arange(12), np.empty(0, np.int64)
    kept = []
    for share in (0.0, 0.3):
        model = small("attention")
        model.head.bias.data[1] += 5  # at first all is taken for tumour
        run(fit(model, values, cohort.targets, rows, nobody, Recipe(epochs=3, hard_share=share, lr=1e-4)))
        kept.append(model.state_dict()["head.weight"])
    assert not torch.equal(*kept)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_models_tell_of_their_attention_or_say_that_they_have_none(name):
    model = small(name).train()
    seen = []
    model.note_attention = seen.append
    model.loss(torch.randn(9, 4), 1, lambda logits, target: -logits[target])
    assert bool(seen) == model.attends
    for a in seen:
        assert a.requires_grad
        torch.testing.assert_close(a.sum(dim=0), torch.ones(a.shape[1:]))
    if not model.attends:
        data = [np.ones((2, 4), np.float32)] * 2, np.array([0, 1]), np.arange(2), np.empty(0, np.int64)
        with pytest.raises(ModelError, match=f"training {name}, which has no attention"):
            next(fit(model, *data, Recipe(entropy_weight=0.1)))


@pytest.mark.parametrize("name", ["gated-attention", "clam-mb", "dtfd"])
def test_entropy_weight_spreads_or_gathers_attention(separable, name):
    cohort, bags = separable(8)
    values = [bags.values[slide] for slide in cohort.slides]
    spread = []
    for weight in (-1.0, 1.0):
        model = small(name)
        recipe = Recipe(epochs=8, lr=1e-2, entropy_weight=weight)
        run(fit(model, values, cohort.targets, np.arange(8), np.empty(0, np.int64), recipe))
        found = [model(torch.from_numpy(bag)).scores["attention"].raw for bag in values]
        spread.append(np.mean([float(entropy([a.T if a.ndim == 2 else a])) for a in found]))
    assert spread[0] + 0.2 < spread[1]


@pytest.mark.parametrize(("n", "precision"), [(1, "float32"), (40, "bfloat16")])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_bags_of_one_patch_and_short_floats_can_be_learned_from(name, n, precision):
    g = np.random.default_rng(3)
    bags = [g.normal(size=(n, 4)).astype(np.float32) for _ in range(6)]
    model = small(name)
    weight = 0.1 if model.attends else 0.0
    recipe = Recipe(epochs=2, hard_share=0.5, entropy_weight=weight, max_patches=n, precision=precision)
    run(fit(model, bags, np.array([0, 1] * 3), np.arange(4), np.arange(4, 6), recipe))
    assert np.isfinite([predict(model, bag) for bag in bags]).all()


@pytest.mark.parametrize("max_patches", [0, 1000])
def test_a_bag_of_two_hundred_thousand_patches(max_patches):
    g = np.random.default_rng(3)
    bags = [g.normal(size=(n, 4)).astype(np.float32) for n in (200_000, 3)]
    model = small("attention", hidden=8, attention_dim=4)
    recipe = Recipe(epochs=1, max_patches=max_patches)
    run(fit(model, bags, np.array([0, 1]), np.arange(2), np.arange(2), recipe))
    assert predict(model, bags[0]).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "focal"},
        {"sampling": "balanced"},
        {"precision": "bfloat16"},
        {"optimiser": "lookahead-radam"},
        {"optimiser": "adam", "clip_norm": 1.0},
    ],
    ids=str,
)
def test_every_choice_learns_what_there_is_to_learn(separable, changes):
    cohort, bags = separable(16)
    values = [bags.values[slide] for slide in cohort.slides]
    recipe = Recipe(epochs=15, lr=1e-2, **changes)
    epochs = run(fit(small("attention"), values, cohort.targets, np.arange(10), np.arange(10, 16), recipe))
    assert max(epoch.val_auc for epoch in epochs) == 1.0


def test_what_the_recipe_says_is_kept(separable):
    cohort, bags = separable(16)
    values = [bags.values[slide] for slide in cohort.slides]
    wrong = cohort.targets.copy()
    wrong[10:] = 1 - wrong[10:]  # validation only gets worse

    def kept(**changes):
        fitting = fit(small("mean"), values, wrong, np.arange(10), np.arange(10, 16), Recipe(lr=1e-2, **changes))
        epochs = []
        while True:
            try:
                epochs.append(next(fitting))
            except StopIteration as end:
                return end.value, len(epochs)

    assert kept(epochs=12, patience=3) == (1, 4)
    assert kept(epochs=12, patience=3, stop_from=8) == (1, 8)
    assert kept(epochs=10, patience=None, keep_after=0.8) == (9, 10)
    assert kept(epochs=6, patience=None, keep="last") == (6, 6)
