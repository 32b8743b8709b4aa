"""DeLong's covariance against its definition, pair by pair, and against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from napari_mil.evaluation import delong, delong_test
from napari_mil.evaluation._delong import holm

settings_ = settings(deadline=None, max_examples=80)


def by_definition(positive, scores):
    """Sum psi over all pairs: O(m n), as DeLong, DeLong and Clarke-Pearson write it."""
    x, y = scores[:, positive], scores[:, ~positive]
    psi = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
    v10, v01, m, n = psi.mean(axis=2), psi.mean(axis=1), x.shape[1], y.shape[1]
    auc = psi.mean(axis=(1, 2))
    a, b = v10 - auc[:, None], v01 - auc[:, None]
    return auc, a @ a.T / (m - 1) / m + b @ b.T / (n - 1) / n


@st.composite
def cases(draw):
    m, n, models = draw(st.integers(2, 12)), draw(st.integers(2, 12)), draw(st.integers(1, 4))
    values = st.integers(0, draw(st.integers(1, 20)))  # few values: many ties
    scores = np.array(
        draw(st.lists(st.lists(values, min_size=m + n, max_size=m + n), min_size=models, max_size=models))
    )
    positive = np.array(draw(st.permutations([True] * m + [False] * n)))
    return positive, scores / 20


@settings_
@given(cases())
def test_midranks_give_what_the_definition_does(case):
    auc, covariance = delong(*case)
    wanted_auc, wanted = by_definition(*case)
    np.testing.assert_allclose(auc, wanted_auc, atol=1e-12)
    np.testing.assert_allclose(covariance, wanted, atol=1e-12)
    np.testing.assert_allclose(auc, [roc_auc_score(case[0], s) for s in case[1]], atol=1e-12)


@settings_
@given(cases())
def test_symmetries(case):
    positive, scores = case
    auc, covariance = delong(positive, scores)
    for other in (delong(~positive, scores), delong(positive, -scores)):
        np.testing.assert_allclose(other[0], 1 - auc, atol=1e-12)
        np.testing.assert_allclose(other[1], covariance, atol=1e-12)
    both, mirrored = delong(positive, np.exp(3 * scores)), delong(~positive, 1 - scores)
    np.testing.assert_allclose([both[0], mirrored[0]], [auc, auc], atol=1e-12)
    first, second = scores[0], scores[-1]
    there, back = delong_test(positive, first, second), delong_test(positive, second, first)
    assert there.difference == pytest.approx(-back.difference, abs=1e-12)
    assert there.p == pytest.approx(back.p, abs=1e-9, nan_ok=True)


def test_by_hand():
    """X = 3, 1; Y = 2, 0: pairs won 1, 1, 0, 1. V10 = 1, 1/2; V01 = 1/2, 1; both variances 1/8; S = 1/16 + 1/16."""
    auc, covariance = delong(np.array([True, True, False, False]), np.array([[3.0, 1, 2, 0]]))
    assert auc[0] == 0.75
    assert covariance[0, 0] == pytest.approx(1 / 8)


def test_of_a_difference_by_hand():
    """The second model ranks all right: no variance of its own, so z is -1/4 over sqrt(1/8)."""
    positive = np.array([True, True, False, False])
    test = delong_test(positive, np.array([3.0, 1, 2, 0]), np.array([3.0, 2, 1, 0]))
    assert test.z == pytest.approx(-0.25 * 8**0.5)
    assert test.p == pytest.approx(2 * norm.cdf(-0.25 * 8**0.5))


def test_models_that_rank_alike_do_not_differ():
    positive = np.array([True, False, True, False, True])
    scores = np.array([0.9, 0.2, 0.4, 0.5, 0.7])
    test = delong_test(positive, scores, scores**3)
    assert (test.difference, test.z, test.p) == (0.0, 0.0, 1.0)


def test_what_is_undefined_is_said_so():
    assert np.isnan(delong(np.array([True, True]), np.array([[0.1, 0.2]]))[0]).all()
    auc, covariance = delong(np.array([True, False, False]), np.array([[0.5, 0.2, 0.5]]))
    assert auc[0] == 0.75
    assert np.isnan(covariance).all()
    whole = delong_test(np.array([True, True, False, False]), np.array([1.0, 1, 0, 0]), np.array([0.0, 0, 1, 1]))
    assert whole.difference == 1.0
    assert np.isnan(whole.p)


def test_false_alarms_are_as_rare_as_promised():
    """Two models equally good, of 400 draws: 5 % of the tests find a difference, within four standard errors."""
    g = np.random.default_rng(11)
    positive = np.arange(80) % 2 == 0
    truth = positive * 1.2
    p = [delong_test(positive, *(truth + g.normal(size=(2, 80)))).p for _ in range(400)]
    assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 4 * (0.05 * 0.95 / 400) ** 0.5


def test_holm_by_hand():
    np.testing.assert_allclose(
        holm(np.array([0.01, np.nan, 0.04, 0.03, 0.5])), [0.04, np.nan, 0.09, 0.09, 0.5], equal_nan=True
    )
