"""What the benchmarks of models are made of: bags of digits, classic bags, kept results, tables, judged scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import classic_bags, mnist_bags
from benchmarks._judging import for_positive, ranks_patches
from benchmarks._tables import Kept, rewrite, spread, table
from napari_mil.models import Score
from napari_mil.training import make_folds

DIGITS = np.random.default_rng(0).integers(0, 10, 3000).astype(np.uint8)
IMAGES = torch.zeros(3000, 1, 28, 28)


def bags_of(count, seed=0, **arguments):
    return mnist_bags.make_bags(IMAGES, DIGITS, count, np.random.default_rng(seed), **arguments)


@pytest.mark.parametrize("count", [2, 7, 50, 201])
def test_bags_of_digits_are_balanced_and_labelled_by_their_digits(count):
    bags = bags_of(count)
    assert len(bags.rows) == len(bags.instance) == len(bags.labels) == count
    assert bags.labels.sum() == count - count // 2
    for rows, instance, label in zip(bags.rows, bags.instance, bags.labels, strict=True):
        np.testing.assert_array_equal(instance, DIGITS[rows] == 9)
        assert label == instance.max()


def test_bags_of_digits_are_the_same_for_a_seed_and_in_no_order_of_labels():
    one, same, other = bags_of(60), bags_of(60), bags_of(60, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(one.rows, same.rows, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one.rows, other.rows, strict=True))
    assert 0.2 < one.labels[:30].mean() < 0.8


def test_lengths_are_as_the_paper_says():
    rng = np.random.default_rng(0)
    lengths = np.array([mnist_bags.normal_length(rng) for _ in range(4000)])
    assert lengths.mean() == pytest.approx(10, abs=0.1)
    assert lengths.var() == pytest.approx(2 + 1 / 12, abs=0.15)  # rounding adds a twelfth
    assert {mnist_bags.short_length(rng) for _ in range(200)} == {3, 4, 5, 6, 7}


def test_a_negative_bag_is_drawn_like_any_other_without_the_target():
    bags = bags_of(400)
    drawn = np.concatenate([DIGITS[rows] for rows, label in zip(bags.rows, bags.labels, strict=True) if label == 0])
    counts = np.bincount(drawn, minlength=10)
    assert counts[9] == 0
    assert counts[:9].min() > 0.7 * counts[:9].mean()


def test_training_and_test_bags_are_of_different_images(tmp_path):
    x = np.arange(28 * 28, dtype=np.uint64)[None] * np.ones((20_050, 1), np.uint64)
    images = (x.reshape(-1, 28, 28) % 251).astype(np.uint8)
    labels = np.tile(np.arange(10, dtype=np.uint8), 2005)
    path = tmp_path / "mnist.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images[:40], y_test=labels[:40])
    digits = mnist_bags.read_digits(path)
    assert [len(digits.parts[part][1]) for part in ("train", "val", "test")] == [10_050, 10_000, 40]
    first = digits.parts["train"][0]
    assert float(first[0, 0, 0, 1]) == pytest.approx((1 / 255 - 0.1307) / 0.3081, rel=1e-5)
    assert len(digits.bags("train", 4, 0, mnist_bags.short_length).rows) == 4


def test_the_network_has_the_papers_size_and_learns_end_to_end():
    network = mnist_bags.BagNetwork("attention", seed=0)
    assert sum(weight.numel() for weight in network.parameters()) == 490_828 + 501  # two logits in place of one
    same = mnist_bags.BagNetwork("attention", seed=0)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), same.parameters(), strict=True))
    network.loss(torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)), 1).backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_a_shifted_digit_is_the_same_digit_elsewhere():
    images = torch.full((40, 1, 28, 28), -0.4)
    images[:, 0, 10:18, 12:16] = torch.arange(32.0).reshape(8, 4)
    shifted = mnist_bags.shifted(images, 2, np.random.default_rng(0))
    places = set()
    for image in shifted[:, 0]:
        row, col = torch.nonzero(image == 31)[0].tolist()
        assert torch.equal(torch.roll(images[0, 0], (row - 17, col - 15), (0, 1)), image)
        places.add((row - 17, col - 15))
    assert len(places) > 15
    assert {d for place in places for d in place} == {-2, -1, 0, 1, 2}
    assert mnist_bags.shifted(images, 0, np.random.default_rng(0)) is images


@pytest.mark.parametrize("name", ["dsmil", "tda", "transmil"])
def test_other_poolings_take_the_encoder_too(name):
    assert mnist_bags.BagNetwork(name, seed=0)(torch.zeros(3, 1, 28, 28)).logits.shape == (2,)


def test_classic_bags_are_read_whole_and_divided_without_overlap(shared_data):
    dataset = classic_bags.read_dataset(shared_data / "bags" / "musk1.npz")
    assert len(dataset.bags) == len(dataset.cohort) == 92
    assert dataset.cohort.labels.count("positive") == 47
    assert sum(map(len, dataset.bags)) == 476
    assert {bag.shape[1] for bag in dataset.bags} == {166}
    folds = make_folds(dataset.cohort, classic_bags.FOLDS, 0)
    tested = np.concatenate([fold.test for fold in folds])
    assert sorted(tested) == list(range(92))
    for fold in folds:
        parts = [set(fold.train), set(fold.val), set(fold.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 92


def test_a_bag_with_two_labels_is_refused(tmp_path):
    path = tmp_path / "odd.npz"
    np.savez(path, X=np.zeros((3, 2)), bag=[0, 0, 1], bag_label_per_instance=[0, 1, 1])
    with pytest.raises(SystemExit, match="two labels"):
        classic_bags.read_dataset(path)


def test_results_are_kept_for_the_same_settings_only(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"auc": len(made)}

    kept = Kept(tmp_path / "grid", {"lr": 0.1, "betas": (0.9, 0.99)})
    assert kept.find("mean", 1) is None
    assert kept.make(make, "mean", 1) == kept.make(make, "mean", 1) == {"auc": 1}
    assert kept.all([("mean", 1), ("mean", 2)]) == [{"auc": 1}]
    assert Kept(tmp_path / "grid", {"lr": 0.2, "betas": (0.9, 0.99)}).find("mean", 1) is None
    assert kept.make(make, "mean", 1, again=True) == {"auc": 2}


def test_a_block_of_a_page_is_rewritten_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- made by x -->\nold\n<!-- end of x -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        rewrite("x", table(["a", "b"], [[1, 2]]), page)
    text = page.read_text(encoding="utf-8")
    assert text == "before\n<!-- made by x -->\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\n<!-- end of x -->\nafter\n"
    with pytest.raises(ValueError, match="must hold"):
        rewrite("y", "new", page)
    assert page.read_text(encoding="utf-8") == text


def test_spread_is_mean_and_sample_deviation():
    assert spread([0.5, 0.7]) == ".600 ± .141"
    assert spread([1.0]) == "1.000"
    assert spread([]) == ""


def test_scores_are_judged_by_what_speaks_for_the_second_class():
    raw = torch.tensor([[0.0, 3.0, 1.0], [1.0, 2.0, 0.0]])
    np.testing.assert_allclose(for_positive(Score(raw, "contribution")), [1, -1, -1])
    np.testing.assert_allclose(for_positive(Score(raw, "attention")), [1, 2, 0])
    truth = np.array([1, 0, 0])
    assert ranks_patches(Score(raw, "contribution"), truth) == 1
    assert ranks_patches(Score(raw, "attention"), truth) == 0.5
    assert ranks_patches(Score(raw[0], "attention"), truth) == 0
    assert ranks_patches(Score(raw, "contribution"), np.ones(3, int)) is None
    assert ranks_patches(Score(torch.full((2, 3), torch.nan), "leave_one_out"), truth) is None
