from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import softmax
from scipy.stats import rankdata

from napari_mil.errors import MapError
from napari_mil.maps import KIND_TITLES, SCALES, SCALES_FOR_KIND, class_evidence, class_log_odds, scale_after, shown

NUMBERS = st.floats(-50, 50, width=32)
SCORES = hnp.arrays(np.float32, st.integers(1, 60), elements=NUMBERS)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_rank_by_hand_ties_share_their_mean_rank():
    got = shown(f32(0.1, 0.5, 0.1, 0.3), "attention", SCALES["rank"])
    assert got.tolist() == [0.375, 1.0, 0.375, 0.75]


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=30))
def test_rank_is_scipys(raw):
    expected = rankdata(raw, method="average") / len(raw)
    np.testing.assert_allclose(shown(f32(*raw), "attention", SCALES["rank"]), expected, rtol=1e-6)


def test_rank_leaves_nan_out():
    got = shown(f32(3, np.nan, 1), "leave_one_out", SCALES["rank"])
    np.testing.assert_array_equal(got, f32(1.0, np.nan, 0.5))


@given(SCORES)
def test_rank_does_not_change_under_a_rising_function(raw):
    moved = (np.arctan(raw.astype(np.float64)) * 7 - 2).astype(np.float64)
    # only where float32 keeps the order apart
    distinct = len(np.unique(moved.astype(np.float32))) == len(np.unique(raw))
    if distinct:
        before = shown(raw, "attention", SCALES["rank"])
        np.testing.assert_array_equal(before, shown(moved.astype(np.float32), "attention", SCALES["rank"]))


@given(SCORES)
def test_rank_sums_to_half_of_n_plus_one(raw):
    got = shown(raw, "attention", SCALES["rank"]).astype(np.float64)
    assert got.sum() == pytest.approx((len(raw) + 1) / 2, rel=1e-5)


def test_ratio_by_hand_one_is_uniform():
    assert shown(f32(0.25, 0.25, 0.25, 0.25), "attention", SCALES["ratio"]).tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(shown(f32(0.7, 0.2, 0.1), "attention", SCALES["ratio"]), [2.1, 0.6, 0.3], rtol=1e-6)


@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-20, 20)))
def test_ratio_averages_to_one_for_any_softmax(logits):
    got = shown(softmax(logits).astype(np.float32), "attention", SCALES["ratio"])
    assert got.mean(dtype=np.float64) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(("top", "expected"), [(1.2, 10), (9.99, 10), (10, 10), (11, 100), (1448, 10_000)])
def test_ratio_limits_end_at_a_decade_and_never_stretch_even_attention(top, expected):
    assert SCALES["ratio"].limits(f32(0.2, top)) == (0.1, expected)


def test_log_axis_and_back():
    scale = SCALES["ratio"]
    np.testing.assert_allclose(scale.to_axis(f32(0.1, 1, 100)), [-1, 0, 2], atol=1e-6)
    assert np.isfinite(scale.to_axis(f32(0))).all()
    assert np.isnan(scale.to_axis(f32(np.nan))).all()
    assert scale.from_axis(2) == pytest.approx(100)
    assert SCALES["rank"].from_axis(0.3) == 0.3


def test_robust_by_hand():
    # percentiles 1 and 99 of 0..100 are 1 and 99
    got = shown(np.arange(101, dtype=np.float32), "instance_logit", SCALES["robust"])
    np.testing.assert_allclose(got, np.clip((np.arange(101) - 1) / 98, 0, 1), atol=1e-6)


def test_robust_of_attention_works_on_the_log():
    log = shown(np.exp(np.linspace(-9, 0, 101)).astype(np.float32), "attention", SCALES["robust"])
    np.testing.assert_allclose(log, np.clip((np.arange(101) - 1) / 98, 0, 1), atol=1e-5)


def test_robust_survives_attention_that_underflowed_to_zero():
    got = shown(f32(0, 0, 0.2, 0.8), "attention", SCALES["robust"])
    assert np.isfinite(got).all()
    assert got[0] == got[1] == 0
    assert got[3] == 1


def test_robust_of_equal_scores_is_the_middle_and_keeps_nan():
    np.testing.assert_array_equal(shown(f32(2, np.nan, 2), "instance_logit", SCALES["robust"]), f32(0.5, np.nan, 0.5))


def test_a_patch_without_instance_logits_has_no_log_odds_and_warns_nobody():
    raw = np.array([[np.nan, 0, 1], [np.nan, 1, 1], [np.nan, 2, 1]], np.float32)
    np.testing.assert_allclose(class_log_odds(raw, 2), [np.nan, 2 - np.log(1 + np.e), -np.log(2)], rtol=1e-6)


def test_probability_is_the_sigmoid_of_log_odds_and_a_probability_stays_as_it_is():
    np.testing.assert_allclose(shown(f32(0, np.log(3)), "instance_logit", SCALES["probability"]), [0.5, 0.75])
    assert shown(f32(0.2, 0.9), "probability", SCALES["probability"]).tolist() == f32(0.2, 0.9).tolist()
    assert SCALES["probability"].limits(f32(0.4, 0.41)) == (0, 1)


@given(hnp.arrays(np.float32, st.tuples(st.integers(2, 5), st.integers(1, 20)), elements=NUMBERS), st.data())
def test_instance_logits_become_their_softmax(raw, data):
    index = data.draw(st.integers(0, len(raw) - 1))
    got = shown(class_log_odds(raw, index), "instance_logit", SCALES["probability"])
    np.testing.assert_allclose(got, softmax(raw.astype(np.float64), axis=0)[index], atol=1e-6)


def test_evidence_by_hand():
    raw = f32(1, 4, 10).reshape(3, 1)
    assert class_evidence(raw, 0)[0] == pytest.approx(1 - 7)
    assert class_evidence(raw, 2)[0] == pytest.approx(10 - 2.5)
    assert class_evidence(raw[:1], 0).tolist() == [1]
    two = np.array([[1, 2], [5, 5]], np.float32)
    assert class_evidence(two, 1).tolist() == [4, 3]
    assert class_evidence(two, 0).tolist() == [-4, -3]


@given(hnp.arrays(np.float32, st.tuples(st.integers(2, 5), st.integers(1, 20)), elements=NUMBERS), NUMBERS)
def test_evidence_does_not_change_when_a_number_is_added_to_all_logits(raw, shift):
    np.testing.assert_allclose(class_evidence(raw + np.float32(shift), 0), class_evidence(raw, 0), atol=1e-4)


def test_contribution_limits_are_symmetric():
    scale = SCALES["contribution"]
    assert scale.diverging
    assert scale.limits(f32(-3, 1, np.nan)) == (-3, 3)
    assert scale.limits(f32(0, 0)) == (-1, 1)


@given(SCORES)
def test_every_scale_keeps_the_order_of_patches(raw):
    order = np.argsort(raw, kind="stable")
    for kind, names in SCALES_FOR_KIND.items():
        score = softmax(raw).astype(np.float32) if kind == "attention" else raw
        for name in names:
            assert (np.diff(shown(score, kind, SCALES[name])[order]) >= -1e-6).all()


def test_every_kind_has_a_title_and_honest_scales_and_every_scale_words():
    assert set(KIND_TITLES) == set(SCALES_FOR_KIND)
    assert {name for names in SCALES_FOR_KIND.values() for name in names} == set(SCALES)
    for scale in SCALES.values():
        assert scale.title
        assert scale.help.endswith(".")


def test_colourmaps_are_known_to_matplotlib():
    import matplotlib as mpl

    for scale in SCALES.values():
        assert scale.colourmap in mpl.colormaps


@pytest.mark.parametrize(("kind", "scale"), [("attention", "probability"), ("contribution", "ratio")])
def test_a_misleading_scale_is_refused_and_the_honest_ones_are_named(make_map, kind, scale):
    amap = make_map(s=([0.2, 0.8], kind))
    with pytest.raises(MapError, match=f"{scale}.*{', '.join(SCALES_FOR_KIND[kind])}"):
        amap.display(scale=scale)


def test_the_scale_follows_the_score_unless_it_was_chosen():
    after = scale_after("attention", "rank", "contribution")
    assert SCALES[after].diverging, "signs are to be seen"
    assert scale_after("contribution", after, "attention") == "rank"
    assert scale_after("contribution", "rank", "attention") == "rank"
    assert scale_after("contribution", "rank", "leave_one_out") == "rank", "chosen against the usual one, so kept"
    assert scale_after("attention", "robust", "instance_logit") == "robust"
    assert scale_after("attention", "ratio", "contribution") == "contribution"
    for kind, honest in SCALES_FOR_KIND.items():
        for before, scales in SCALES_FOR_KIND.items():
            assert all(scale_after(before, name, kind) in honest for name in scales)
            assert before != kind or all(scale_after(before, name, kind) == name for name in scales)
