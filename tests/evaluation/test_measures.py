"""Measures against scikit-learn and by hand; intervals that cover; what cannot be measured, in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from napari_mil.evaluation import calibrate, iter_evaluate, measure, resample
from napari_mil.evaluation._bootstrap import auc_of, average_precision_of, replicate, share_of
from napari_mil.evaluation._roc import FPR, roc_band
from napari_mil.progress import finish
from napari_mil.training import youden_threshold


def drawn(one, replicates=200, seed=0):
    return resample(one.test.targets, one.test.patients, replicates, seed)


@pytest.fixture(scope="module")
def noisy(candidate):
    g = np.random.default_rng(5)
    targets = (g.random(120) < 0.4).astype(int)
    p = np.round(1 / (1 + np.exp(-(targets * 1.5 - 0.7 + g.normal(size=120)))), 2)  # rounded: ties
    return candidate(targets, p, folds=np.arange(120) % 3 + 1, threshold=0.4)


def test_two_classes_as_scikit_learn_measures_them(noisy):
    test, said = noisy.test, measure(noisy, drawn(noisy))
    targets, p, decided = test.targets, test.probabilities[:, 1], test.probabilities[:, 1] >= 0.4
    wanted = {
        "auc": metrics.roc_auc_score(targets, p),
        "average_precision": metrics.average_precision_score(targets, p),
        "accuracy": metrics.accuracy_score(targets, decided),
        "balanced_accuracy": metrics.balanced_accuracy_score(targets, decided),
        "sensitivity": metrics.recall_score(targets, decided),
        "specificity": metrics.recall_score(targets, decided, pos_label=0),
        "brier": metrics.brier_score_loss(targets, p),
    }
    for name, value in wanted.items():
        estimate = getattr(said, name)
        assert estimate.value == pytest.approx(value, abs=1e-12), name
        assert estimate.low < estimate.value < estimate.high, name
    np.testing.assert_array_equal(said.confusion, metrics.confusion_matrix(targets, decided))
    by_fold = [metrics.roc_auc_score(targets[test.folds == k], p[test.folds == k]) for k in (1, 2, 3)]
    assert [area for _, _, area in said.folds] == pytest.approx(by_fold)
    assert (said.fold_mean, said.fold_sd) == pytest.approx((np.mean(by_fold), np.std(by_fold, ddof=1)))
    assert said.auc_delong == pytest.approx((said.auc.low, said.auc.high), abs=0.04)


def test_three_classes_are_means_over_each_against_the_rest(candidate):
    g = np.random.default_rng(2)
    targets = np.arange(60) % 3
    p = g.dirichlet([1, 1, 1], 60) + 0.4 * np.eye(3)[targets]
    one = candidate(targets, p / p.sum(axis=1, keepdims=True), class_names=("a", "b", "c"))
    said, p = measure(one, drawn(one)), one.test.probabilities
    wanted = np.eye(3)[targets]
    assert said.auc.value == pytest.approx(metrics.roc_auc_score(targets, p, multi_class="ovr"))
    assert said.average_precision.value == pytest.approx(metrics.average_precision_score(wanted, p, average="macro"))
    assert said.sensitivity.value == pytest.approx(metrics.recall_score(targets, p.argmax(1), average="macro"))
    assert said.brier.value == pytest.approx(((p - wanted) ** 2).sum(axis=1).mean())
    assert np.isnan(said.auc_delong).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=25))
def test_weighted_measures_are_those_of_repeated_bags(rows):
    positive, scores, counts = (np.array(column) for column in zip(*rows, strict=True))
    scores, y, s = scores / 6, np.repeat(positive, counts), np.repeat(scores / 6, counts)
    both = 0 < y.sum() < len(y)
    for of, wanted, there in (
        (auc_of, metrics.roc_auc_score, both),
        (average_precision_of, metrics.average_precision_score, y.any()),
    ):
        found = of(positive, scores)(counts[None].astype(float))[0]
        assert found == pytest.approx(wanted(y, s)) if there else np.isnan(found)
    found = share_of(scores > 0.5, positive)(counts[None].astype(float))[0]
    assert found == pytest.approx((s[y] > 0.5).mean()) if y.any() else np.isnan(found)


def test_patients_are_drawn_whole_and_each_class_as_often_as_it_is():
    targets = np.array([0, 0, 0, 1, 1, 1, 0, 1])
    patients = ["a", "a", "b", "c", "c", "d", "e", "e"]  # e has slides of both classes
    counts = resample(targets, patients, 500, 1)
    np.testing.assert_array_equal(counts[:, 0], counts[:, 1])
    np.testing.assert_array_equal(counts[:, 3], counts[:, 4])
    assert (counts[:, 0] + counts[:, 2] == 2).all()
    assert (counts[:, 3] + counts[:, 5] == 2).all()
    assert (counts[:, 6:] == 1).all()
    assert set(np.unique(counts[:, 0])) == {0, 1, 2}
    np.testing.assert_array_equal(counts, resample(targets, patients, 500, 1))
    assert (counts != resample(targets, patients, 500, 2)).any()


def test_intervals_cover_the_truth_and_need_patients_to_do_so(candidate):
    """AUC of normal scores a distance d apart is Phi(d / sqrt 2). Slides of one patient are nearly alike here."""
    from scipy.stats import norm

    g = np.random.default_rng(8)
    truth, inside = norm.cdf(1 / 2**0.5), {"patients": 0, "slides": 0}
    owner = np.repeat(np.arange(60), 3)
    for trial in range(120):
        targets = (owner % 2).astype(np.int64)
        scores = targets + 0.95**0.5 * g.normal(size=60)[owner] + 0.05**0.5 * g.normal(size=180)
        for what, names in (("patients", owner.astype(str)), ("slides", np.arange(180).astype(str))):
            low, high = np.quantile(
                replicate(resample(targets, names, 200, trial), auc_of(targets == 1, scores)), [0.025, 0.975]
            )
            inside[what] += low <= truth <= high
    assert inside["patients"] / 120 > 0.87  # 95 % less four standard errors
    assert inside["slides"] / 120 < 0.85


def test_threshold_is_youdens():
    g = np.random.default_rng(4)
    positive = g.random(200) < 0.5
    scores = np.round(np.clip(positive * 0.3 + g.random(200) * 0.7, 0, 1), 2)
    cut = youden_threshold(positive, scores)
    fpr, tpr, _ = metrics.roc_curve(positive, scores)
    called = scores >= cut
    assert called[positive].mean() - called[~positive].mean() == pytest.approx((tpr - fpr).max())
    assert cut not in scores
    assert youden_threshold(np.array([False, True]), np.array([0.2, 0.4])) == pytest.approx(0.3)
    assert np.isnan(youden_threshold(np.array([True, True]), np.array([0.2, 0.4])))


def test_calibration_by_hand():
    p = np.array([0.05, 0.1, 0.15, 0.95, 1.0, 0.0])
    found = calibrate(np.array([0, 1, 0, 1, 1, 0]), np.stack([1 - p, p], axis=1))
    assert found.counts.tolist() == [3, 1, 0, 0, 0, 0, 0, 0, 0, 2]  # 0, 0.05 and 0.1; 0.15; 0.95 and 1
    assert found.ece == pytest.approx((3 * abs(0.05 - 1 / 3) + 0.15 + 2 * 0.025) / 6)
    assert found.said[9] == pytest.approx(0.975)
    assert found.happened[0] == pytest.approx(1 / 3)
    sure = calibrate(np.array([0, 2]), np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1]]))
    assert sure.ece == pytest.approx((abs(0.8 - 1) + abs(0.6 - 0)) / 2)


def test_roc_band_holds_the_curve(noisy):
    curve, low, high = roc_band(noisy.test, drawn(noisy))
    fpr, tpr, _ = metrics.roc_curve(noisy.test.targets, noisy.test.probabilities[:, 1], drop_intermediate=False)
    np.testing.assert_allclose(curve[1:], np.interp(FPR[1:], fpr, tpr), atol=1e-12)
    inner = (curve > 0.05) & (curve < 0.95)
    assert ((low <= curve) & (curve <= high))[inner].all()


def test_what_cannot_be_measured_is_said(candidate):
    one = candidate([1, 1, 1], [0.9, 0.8, 0.4])
    said = measure(one, drawn(one))
    assert np.isnan([said.auc.value, said.specificity.value, said.auc.low]).all()
    assert said.sensitivity.value == pytest.approx(2 / 3)
    assert any("No test slide is normal" in note for note in said.notes)
    single = candidate([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.5], folds=[1, 2, 3, 3])
    said = measure(single, drawn(single))
    assert np.isnan([area for _, _, area in said.folds[:2]]).all()
    assert any("Fold 1, 2 has no AUC of its own" in note for note in said.notes)
    tied = candidate([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5])
    assert measure(tied, drawn(tied)).auc.value == 0.5


def test_comparison_is_paired(candidate, noisy):
    worse = candidate(noisy.test.targets, noisy.test.probabilities[::-1, 1], name="b")
    found = finish(iter_evaluate([noisy, worse], replicates=300))
    (pair,) = found.comparisons
    a, b = (judged.measures.auc.value for judged in found.judged)
    assert pair.difference.value == pytest.approx(a - b)
    assert pair.difference.low > 0
    assert pair.p < 0.001
