"""Maps held against one another: by hand, against scipy, on grids that differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from napari_mil.errors import MapError
from napari_mil.maps import (
    MapCut,
    common_views,
    compare_maps,
    difference,
    map_names,
    match_places,
    overlap_by_chance,
    spearman,
)

EVEN, ONE, TWO = [0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]


def test_facts_by_hand(make_map):
    judged = compare_maps([make_map(attention=(raw, "attention")) for raw in (EVEN, ONE, TWO)])
    np.testing.assert_allclose([fact.entropy for fact in judged.facts], [1, 0, 0.5], atol=1e-7)
    np.testing.assert_allclose([fact.effective for fact in judged.facts], [4, 1, 2])
    assert [fact.name for fact in judged.facts] == ["Demo: tumour", "Demo: tumour (2)", "Demo: tumour (3)"]
    fact = judged.facts[0]
    assert (fact.pooling, fact.patches, fact.predicted) == ("gated-attention", 4, "tumour")
    assert fact.probability == pytest.approx(1 / (1 + np.exp(-2.0)))  # logits -0.7 and 1.3
    assert [(pair.first, pair.second) for pair in judged.pairs] == [
        ("Demo: tumour", "Demo: tumour (2)"),
        ("Demo: tumour", "Demo: tumour (3)"),
        ("Demo: tumour (2)", "Demo: tumour (3)"),
    ]


def test_a_score_without_attention_has_no_entropy_and_one_beside_it_is_taken(make_map):
    alone = make_map(instance=([1.0, 2, 3, 4], "instance_logit"))
    beside = make_map(instance=([1.0, 2, 3, 4], "instance_logit"), attention=(TWO, "attention"))
    bare, full = compare_maps([alone, beside]).facts
    assert np.isnan(bare.entropy)
    assert np.isnan(bare.effective)
    assert full.effective == pytest.approx(2)


def test_agreement_by_hand(make_map):
    # top 2: {5, 4} and {5, 0}; top 30 % of 6 is 2 again; top 50 % {5, 4, 3} and {5, 0, 4}
    first = make_map(attention=([0.01, 0.04, 0.1, 0.2, 0.25, 0.4], "attention"))
    second = make_map(attention=([0.3, 0.02, 0.03, 0.05, 0.2, 0.4], "attention"))
    [pair] = compare_maps([first, second], top_k=2, cut=MapCut("share", 0.5)).pairs
    assert (pair.top_k, pair.places, pair.same_patches) == (2, 6, True)
    assert pair.jaccard == pytest.approx(1 / 3)
    assert pair.iou == pytest.approx(2 / 4)
    # ranks 1..6 and 5 1 2 3 4 6: squares of differences 16 1 1 1 1 0
    assert pair.spearman == pytest.approx(1 - 6 * 20 / (6 * 35))
    assert compare_maps([first, second], top_k=2, cut=MapCut("share", 0.3)).pairs[0].iou == pytest.approx(1 / 3)


def test_ties_with_the_last_of_the_top_are_in(make_map):
    first, second = make_map(attention=([4.0, 3, 3, 1], "attention")), make_map(attention=([4.0, 3, 1, 1], "attention"))
    assert compare_maps([first, second], top_k=2).pairs[0].jaccard == pytest.approx(2 / 3)
    flat = make_map(attention=(EVEN, "attention"))
    [pair] = compare_maps([first, flat], top_k=1).pairs
    assert pair.jaccard == pytest.approx(1 / 4)  # of four equal patches all are on top
    assert np.isnan(pair.spearman)


def test_fewer_patches_than_k_are_all_on_top(make_map):
    [pair] = compare_maps([make_map(attention=(raw, "attention")) for raw in (EVEN, ONE)], top_k=50).pairs
    assert (pair.top_k, pair.jaccard) == (4, 1)


@given(arrays(np.float32, (2, 23), elements=st.integers(-9, 9).map(np.float32)))
def test_spearman_is_scipys(scores):
    if np.ptp(scores, axis=1).min() == 0:
        assert np.isnan(spearman(*scores))
    else:
        assert spearman(*scores) == pytest.approx(spearmanr(*scores).statistic, abs=1e-6)


@given(st.permutations(range(20)), st.integers(1, 20))
def test_a_map_agrees_with_itself_and_not_with_its_reverse(order, k):
    grid = _grid([(0, i) for i in range(20)])
    raw = np.array(order, np.float32)
    from napari_mil.maps import agreement

    same = agreement(match_places(grid, grid), raw, raw, ("a", "b"), top_k=k, share=k / 20)
    assert (same.spearman, same.jaccard, same.iou) == (pytest.approx(1), 1, 1)
    other = agreement(match_places(grid, grid), raw, -raw, ("a", "b"), top_k=k)
    assert other.spearman == pytest.approx(-1)
    assert other.jaccard == pytest.approx(max(0, 2 * k - 20) / min(2 * k, 20))


def test_random_orders_agree_as_said_by_chance():
    rng = np.random.default_rng(4)
    grid = _grid([(0, i) for i in range(400)])
    from napari_mil.maps import agreement

    places = match_places(grid, grid)
    found = [agreement(places, *rng.random((2, 400), np.float32), ("a", "b"), top_k=100).jaccard for _ in range(200)]
    assert np.mean(found) == pytest.approx(overlap_by_chance(100, 400), abs=0.01)
    assert overlap_by_chance(100, 400) == pytest.approx(1 / 7)


def _grid(cells, stride=100.0, tile=None, at=(0, 0)):
    from napari_mil.tiling import TileGrid

    rc = np.asarray(cells, np.int64).reshape(-1, 2)
    edge = stride if tile is None else tile
    l0_rc = np.rint(rc * stride).astype(np.int64) + at
    return TileGrid(l0_rc, edge, stride, 50, edge * 0.5 / 50, np.ones(len(rc), np.float32))


def test_small_patches_take_what_lies_over_them():
    fine = _grid([(r, c) for r in range(4) for c in range(4)], 50.0)
    coarse = _grid([(0, 0), (0, 1), (1, 0)], 100.0)
    places = match_places(fine, coarse)
    assert places.of_first
    assert places.grid is fine
    inside = [r * 4 + c for r in range(4) for c in range(4) if not (r > 1 and c > 1)]
    np.testing.assert_array_equal(places.tiles, inside)
    own, other = places.values(np.arange(16, dtype=np.float32), np.array([10, 20, 30], np.float32))
    np.testing.assert_array_equal(own, inside)
    np.testing.assert_allclose(other, [10, 10, 20, 20, 10, 10, 20, 20, 30, 30, 30, 30])
    # the other way round the same places, and each map's numbers in its own place
    back = match_places(coarse, fine)
    assert not back.of_first
    there, here = back.values(np.array([10, 20, 30], np.float32), np.arange(16, dtype=np.float32))
    np.testing.assert_array_equal(here, own)
    np.testing.assert_allclose(there, other)


def test_shifted_patches_take_the_mean_by_area():
    fine, shifted = _grid([(0, 0), (0, 1), (0, 2)]), _grid([(0, 0), (0, 1)], at=(0, 25))
    places = match_places(fine, shifted)
    # tile 0 (0-100): three quarters of the first (25-125), tile 1: a quarter of it, three of the second; tile 2 (centre
    # 250) lies beside 125-225
    np.testing.assert_array_equal(places.tiles, [0, 1])
    _, got = places.values(np.zeros(3, np.float32), np.array([8, 4], np.float32))
    np.testing.assert_allclose(got, [8, (0.25 * 8 + 0.75 * 4)])
    _, got = places.values(np.zeros(3, np.float32), np.array([8, np.nan], np.float32))
    np.testing.assert_allclose(got, [8, 8])


@given(
    st.integers(20, 200), st.integers(20, 200), st.integers(-150, 150), st.integers(-150, 150), st.integers(0, 2**31)
)
def test_means_by_area_are_those_of_pixels(tile_a, tile_b, down, right, seed):
    rng = np.random.default_rng(seed)
    cells = [(r, c) for r in range(3) for c in range(3)]
    a, b = _grid(cells, float(tile_a), at=(400, 400)), _grid(cells, float(tile_b), at=(400 + down, 400 + right))
    values = rng.random(9).astype(np.float32)
    places = match_places(a, b)
    fine, other = (a, b) if places.of_first else (b, a)
    picture = np.full((1400, 1400), np.nan)
    edge = int(other.tile_l0)
    for (row, col), value in zip(other.l0_rc, values, strict=True):
        picture[row : row + edge, col : col + edge] = value
    got = places.values(values, values)[1 if places.of_first else 0]
    for k, tile in enumerate(places.tiles):
        row, col = fine.l0_rc[tile]
        box = picture[row : row + int(fine.tile_l0), col : col + int(fine.tile_l0)]
        assert got[k] == pytest.approx(np.nanmean(box), abs=1e-5)


def test_maps_side_by_side_or_apart_share_no_place(make_map):
    here = make_map(grid=_grid([(0, 0), (0, 1)]), attention=([0.2, 0.8], "attention"))
    there = make_map(grid=_grid([(9, 0), (9, 1)]), attention=([0.2, 0.8], "attention"))
    [pair] = compare_maps([here, there]).pairs
    assert pair.places == 0
    assert not pair.same_patches
    assert np.isnan([pair.spearman, pair.jaccard, pair.iou]).all()


def test_patches_without_a_score_are_left_out(make_map):
    first = make_map(attention=([np.nan, 0.1, 0.2, 0.7], "attention"))
    second = make_map(attention=([0.9, 0.1, 0.2, np.nan], "attention"))
    assert compare_maps([first, second]).pairs[0].places == 2


def test_one_map_or_two_slides_are_refused_in_words(make_map):
    one = make_map(attention=(EVEN, "attention"))
    with pytest.raises(MapError, match="two maps or more; here is 1"):
        compare_maps([one])
    other = replace(one, slide=replace(one.slide, quickhash="beef", path="/slides/other.svs"))
    with pytest.raises(MapError, match=r"different slides: a b\.svs and other\.svs"):
        compare_maps([one, other])


def test_maps_are_shown_on_one_scale_with_the_same_limits(make_map):
    sharp, flat = make_map(attention=([0.97, 0.01, 0.01, 0.01], "attention")), make_map(attention=(EVEN, "attention"))
    views = common_views(
        [flat, make_map(grid=_grid([(0, k) for k in range(200)]), attention=(_sharp(200), "attention"))], scale="ratio"
    )
    assert {view.scale.name for view in views} == {"ratio"}
    assert views[0].limits == views[1].limits == (0.1, 1000)
    assert [view.scale.name for view in common_views([sharp, flat])] == ["rank", "rank"]
    signed = [make_map(c=([[-x, 0, 0, 0], [x, 0, 0, 0]], "contribution")) for x in (1.0, 3.0)]
    assert {view.limits for view in common_views(signed)} == {(-6, 6)}


def _sharp(n):
    raw = np.full(n, 0.1 / (n - 1), np.float32)
    raw[0] = 0.9
    return raw


def test_different_kinds_are_compared_by_rank_or_refused(make_map):
    attention = make_map(attention=(ONE, "attention"))
    logits = make_map(instance=([3.0, 1, 1, 1], "instance_logit"))
    judged = compare_maps([attention, logits])
    assert {view.scale.name for view in judged.views} == {"rank"}
    assert judged.pairs[0].spearman == pytest.approx(1)
    assert any("Different scores" in note for note in judged.notes)
    spread = make_map(attention=(ONE, "attention"))
    from napari_mil.maps import MapScore

    spread = replace(spread, scores={"s": MapScore(np.ones(4, np.float32), "spread", "attention")}, default_score="s")
    with pytest.raises(MapError, match="no scale in common"):
        compare_maps([attention, spread])


def test_classes_go_by_name(make_map):
    raw = np.array([[0.0, 0, 0, 0], [1, 2, 3, 4]], np.float32)
    first = make_map(c=(raw, "contribution"))
    turned = make_map(classes=("tumour", "normal"), c=(raw[::-1], "contribution"))
    judged = compare_maps([first, turned])
    assert [fact.class_name for fact in judged.facts] == ["tumour", "tumour"]
    assert judged.pairs[0].spearman == pytest.approx(1)
    judged = compare_maps([first, turned], class_name="normal")
    np.testing.assert_array_equal(judged.views[0].raw, [-1, -2, -3, -4])
    with pytest.raises(MapError, match='no class "necrosis"'):
        compare_maps([first, turned], class_name="necrosis")
    with pytest.raises(MapError, match='no score "attention"'):
        compare_maps([first, turned], score="attention")


def test_names_differ(make_map):
    one = make_map(attention=(ONE, "attention"))
    bare = replace(one, model=replace(one.model, title=""))
    assert map_names([one, bare, bare]) == ["Demo: tumour", "gated-attention", "gated-attention (2)"]


def test_difference_of_ranks_by_hand(make_map):
    maps = (
        make_map(attention=([0.1, 0.2, 0.3, 0.4], "attention")),
        make_map(attention=([0.4, 0.3, 0.2, 0.1], "attention")),
    )
    got = difference(maps, tuple(common_views(maps)), ("one", "two"))
    np.testing.assert_allclose(got.values, [-0.75, -0.25, 0.25, 0.75])
    assert got.limits == (-1, 1)
    back = difference(maps[::-1], tuple(common_views(maps[::-1])), ("two", "one"))
    np.testing.assert_allclose(back.values, -got.values)


def test_difference_of_scores_is_in_their_unit(make_map):
    maps = make_map(attention=(ONE, "attention")), make_map(attention=(EVEN, "attention"))
    got = difference(maps, tuple(common_views(maps)), ("one", "even"), by="raw")
    np.testing.assert_allclose(got.values, [3, -1, -1, -1])  # times average
    assert got.limits == (-3, 3)
    assert "times average" in got.title
    logits = make_map(i=([1.0, 2, 3, 4], "instance_logit"))
    mixed = maps[0], logits
    with pytest.raises(MapError, match="no unit in common"):
        difference(mixed, tuple(common_views(mixed)), ("a", "b"), by="raw")


def test_difference_between_grids_is_known_where_both_are(make_map):
    fine = _grid([(r, c) for r in range(2) for c in range(4)], 50.0)
    maps = (
        make_map(grid=fine, attention=(np.arange(8) / 28, "attention")),
        make_map(grid=_grid([(0, 0)]), attention=([1.0], "attention")),
    )
    got = difference(maps, tuple(common_views(maps)), ("fine", "coarse"))
    assert len(got.values) == 8
    np.testing.assert_array_equal(np.isfinite(got.values), [True, True, False, False] * 2)
    # ranks of 0 1 4 5 among the four, against one value: 0.625
    np.testing.assert_allclose(got.values[[0, 1, 4, 5]], np.array([0.25, 0.5, 0.75, 1]) - 0.625)


def _two(make_map):
    first = make_map(attention=([0.01, 0.04, 0.1, 0.2, 0.25, 0.4], "attention"))
    second = make_map(attention=([0.3, 0.02, 0.03, 0.05, 0.2, 0.4], "attention"))
    return first, second


@pytest.mark.parametrize(
    ("cut", "scale", "title", "above", "iou"),
    [
        # on times average, 6 a: 0.06 0.24 0.6 1.2 1.5 2.4 and 1.8 0.12 0.18 0.3 1.2 2.4
        (MapCut("value", 1.0), "ratio", "Times average ≥ 1", (3, 3), 2 / 4),
        (MapCut("value", 1.6), "ratio", "Times average ≥ 1.6", (1, 2), 1 / 2),
        (MapCut("value", 0.5), "rank", "Rank ≥ 0.5", (4, 4), 3 / 5),
        (MapCut("percentile", 50), None, "Percentile 50", (3, 3), 2 / 4),
        (MapCut("count", 1), None, "Top 1 patch", (1, 1), 1),
        (MapCut("count", 2), "ratio", "Top 2 patches", (2, 2), 1 / 3),
        (MapCut("area", 4 * 50.0**2 / 1e6), None, "Top 0.01 mm²", (4, 4), 3 / 5),
        (MapCut("value", 99), "ratio", "Times average ≥ 99", (0, 0), np.nan),
    ],
)
def test_iou_at_a_threshold_by_hand(make_map, cut, scale, title, above, iou):
    maps = _two(make_map)
    [pair] = compare_maps(maps, scale=scale, cut=cut).pairs
    assert (pair.cut_by, pair.cut_amount, pair.cut) == (cut.by, cut.amount, title)
    assert (pair.first_above, pair.second_above) == above
    assert pair.iou == pytest.approx(iou, nan_ok=True)
    [plain] = compare_maps(maps, scale=scale).pairs
    assert (pair.spearman, pair.jaccard) == (plain.spearman, plain.jaccard)


def test_the_notes_name_the_cut(make_map):
    maps = _two(make_map)
    assert "IoU is of the highest 10% of the patches that both cover" in " ".join(compare_maps(maps).notes)
    found = compare_maps(maps).at(MapCut("percentile", 95))
    assert "percentile 95 of each map's own patches" in " ".join(found.notes)
    assert "highest 10%" not in " ".join(found.notes)
    assert found.at(MapCut("share", 0.1)).notes == compare_maps(maps).notes
    assert found.at(MapCut("share", 0.1)).pairs == compare_maps(maps).pairs


def test_a_cut_by_value_takes_one_score(make_map):
    mixed = [make_map(attention=(EVEN, "attention")), make_map(i=([1.0, 2, 3, 4], "instance_logit"))]
    assert compare_maps(mixed, cut=MapCut("value", 0.5)).views[0].scale.name == "rank"  # ranks are values of any
    part = ([[0.0, 0, 0, 0], [1, 2, 3, 4]], "contribution")
    other = [make_map(c=part), make_map(c=(part[0], "leave_one_out"))]
    with pytest.raises(MapError, match="Contribution to the prediction: tumour; Effect of leaving"):
        compare_maps(other, scale="contribution", cut=MapCut("value", 0.5))
    assert compare_maps(other, cut=MapCut("count", 2)).pairs[0].iou == 1


@pytest.mark.parametrize(
    ("by", "amount", "words"),
    [
        ("share", 0, "0 is no share to cut maps at: give a number from 0 to 1"),
        ("share", 2, "2 is no share"),
        ("percentile", -1, "give a number from 0 to 100"),
        ("count", np.nan, "nan is no count to cut maps at: give a number, 0 or more"),
        ("value", np.inf, "to cut maps at: give a number$"),
        ("x", 1, "must be one of"),
    ],
)
def test_what_is_no_cut_is_refused(by, amount, words):
    with pytest.raises(ValueError, match=words):
        MapCut(by, amount)


def test_a_place_lies_above_where_most_of_it_lies_under_patches_above(make_map):
    # the coarse map's highest patch covers the four fine ones on the left
    fine = _grid([(r, c) for r in range(2) for c in range(4)], 50.0)
    maps = (
        make_map(grid=fine, attention=([0.2, 0.2, 0, 0, 0.2, 0.1, 0.3, 0], "attention")),
        make_map(grid=_grid([(0, 0), (0, 1)]), attention=([0.7, 0.3], "attention")),
    )
    found = compare_maps(maps, cut=MapCut("percentile", 50))
    [pair] = found.pairs
    # fine: 0.3 and the three of 0.2; coarse: the left half
    assert (pair.first_above, pair.second_above) == (4, 4)
    assert pair.iou == pytest.approx(3 / 5)
    assert any("at least half" in note for note in found.notes)
    shifted = make_map(grid=_grid([(0, 0), (0, 1)], at=(0, 60)), attention=([0.7, 0.3], "attention"))
    [pair] = compare_maps((maps[0], shifted), cut=MapCut("count", 1)).pairs
    # 60 to 160: covers the fine columns 1 (50-100) by four fifths and 2 wholly, 3 (150-200) by a fifth
    assert pair.second_above == 4


@given(st.integers(0, 2**31), st.integers(1, 39))
def test_cuts_by_share_number_percentile_and_value_agree_where_nothing_ties(make_map, seed, count):
    rng = np.random.default_rng(seed)
    found = compare_maps([make_map(attention=((rng.permutation(40) + 1) / 820, "attention")) for _ in range(2)])
    ious = [
        found.at(cut).pairs[0].iou
        for cut in (
            MapCut("count", count),
            MapCut("share", count / 40),
            MapCut("percentile", 100 - 2.5 * count),
            MapCut("value", (40 - count + 1) / 40),
        )
    ]
    assert len(set(ious)) == 1
