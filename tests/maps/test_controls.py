"""Thresholds by share, number and area; outlines, smoothing, and which patch lies where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mil.maps import (
    Cuts,
    PatchFinder,
    enlarged,
    outline,
    patch_words,
    smoothed,
    smoothing_factor,
    view_legend,
)

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@pytest.fixture
def amap(make_map, lattice):
    raw = np.array([0.05, 0.4, 0.1, 0.2, 0.25], np.float32)
    grid = lattice([(0, k) for k in range(5)])  # tiles of 50 um: 0.0025 mm2
    parts = np.array([[0, 1, 0, 0, 0], [2, 0, 0, -3, 0]], np.float32)
    return make_map(grid, attention=(raw, "attention"), contribution=(parts, "contribution"))


@pytest.fixture
def cuts(amap):
    return Cuts(amap.view(scale="ratio"), amap.grid)


@pytest.mark.parametrize(
    ("by", "amount", "left"),
    [
        ("percentile", 0, 5),
        ("percentile", 40, 3),
        ("percentile", 100, 0),
        ("count", 2, 2),
        ("count", 99, 5),
        ("count", 0, 0),
        ("area", 0.0075, 3),
        ("area", 5, 5),
        ("value", 1.0, 3),
    ],
)
def test_a_threshold_leaves_what_was_asked_for(cuts, by, amount, left):
    threshold = cuts.threshold(by, amount)
    assert cuts.at(threshold).count == left
    assert cuts.at(threshold, below=True).count == 5 - left


def test_amounts_are_what_the_threshold_leaves(cuts):
    threshold = cuts.threshold("count", 2)
    assert cuts.amount("count", threshold) == 2
    assert cuts.amount("percentile", threshold) == 60
    assert cuts.amount("area", threshold) == pytest.approx(0.005)
    assert cuts.amount("value", threshold) == threshold == pytest.approx(1.25)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(0, 25))
def test_ties_stay_together_and_no_more_is_left_than_needed(make_map, lattice, raw, k):
    raw = np.array(raw, np.float32)
    amap = make_map(lattice([(0, c) for c in range(len(raw))]), attention=(raw, "attention"))
    left = Cuts(amap.view(scale="rank"), amap.grid)
    count = left.at(left.threshold("count", k)).count
    assert count >= min(k, len(raw))
    highest = np.sort(raw)[::-1]
    assert count == (highest >= highest[min(k, len(raw)) - 1]).sum() if k else count == 0


def test_both_sides_of_a_threshold_are_all_of_the_tissue(cuts):
    above, below = cuts.at(1.0), cuts.at(1.0, below=True)
    assert above.fraction_of_tissue + below.fraction_of_tissue == pytest.approx(1)
    assert above.area_mm2 + below.area_mm2 == pytest.approx(5 * 0.0025)


def test_even_attention_is_1_on_the_ratio_scale_and_between_its_neighbours_by_rank(amap, cuts):
    assert cuts.shown(1 / 5) == pytest.approx(1)
    assert Cuts(amap.view(scale="rank"), amap.grid).shown(0.15) == pytest.approx(0.5)


@given(MASKS)
def test_an_outline_is_as_long_as_the_edges_between_seen_and_unseen(seen):
    runs = outline(seen)
    length = np.abs(runs[:, 1] - runs[:, 0]).sum()
    padded = np.pad(seen, 1).astype(int)
    assert length == np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()
    # every run is straight, and no two could be one
    assert (np.abs(runs[:, 1] - runs[:, 0]).min(axis=1, initial=0) == 0).all()
    ends = {(tuple(b), tuple(np.sign(b - a))) for a, b in runs}
    assert not ends & {(tuple(a), tuple(np.sign(b - a))) for a, b in runs}


def test_the_outline_of_one_cell_is_its_square():
    seen = np.zeros((3, 3), bool)
    seen[1, 2] = True
    runs = {tuple(run.reshape(-1)) for run in outline(seen)}
    assert runs == {(1, 2, 1, 3), (2, 2, 2, 3), (1, 2, 2, 2), (1, 3, 2, 3)}


@given(hnp.arrays(np.float32, (4, 5), elements=st.sampled_from([np.nan, 0.0, 1.0, 3.0])), st.integers(1, 4))
def test_smoothing_stays_within_the_numbers_and_within_the_patches(cells, factor):
    drawn = smoothed(cells, factor)
    np.testing.assert_array_equal(np.isnan(drawn), enlarged(np.isnan(cells), factor))
    if np.isfinite(cells).any():
        assert np.nanmin(drawn) >= np.nanmin(cells) - 1e-4
        assert np.nanmax(drawn) <= np.nanmax(cells) + 1e-4


def test_an_even_map_is_smoothed_to_itself_and_large_maps_are_not_made_larger():
    cells = np.full((3, 4), 0.7, np.float32)
    cells[1, 1] = np.nan
    np.testing.assert_allclose(smoothed(cells, 4), enlarged(cells, 4), rtol=1e-5)
    assert [smoothing_factor(shape) for shape in ((10, 10), (500, 500), (1000, 1500), (5000, 5000))] == [4, 4, 1, 1]


def test_a_patch_is_found_where_it_lies(lattice):
    finder = PatchFinder(lattice([(0, 0), (0, 1), (2, 2)]))
    assert finder.at((0, 0)) == 0
    assert finder.at((99, 99)) == 0
    assert finder.at((50, 100)) == 1
    assert finder.at((299.4, 299.4)) == 2
    assert finder.at((150, 50)) is None
    assert finder.at((-1, 0)) is None
    assert PatchFinder(lattice([])).at((0, 0)) is None


def test_words_of_a_patch_by_hand(amap):
    view = amap.view(scale="ratio")
    words = patch_words(amap, view, Cuts(view, amap.grid), 3)
    assert words.startswith("Attention 1 (")
    assert "raw 0.2, 3 of 5 from the top, percentile 60, contribution -3" in words
    signed = amap.view("contribution", class_index=0)
    assert "contribution" not in patch_words(amap, signed, Cuts(signed, amap.grid), 1).removeprefix("Contribution")


def test_the_legend_names_what_is_inverted_and_smoothed(amap):
    view = amap.view(scale="ratio")
    text = view_legend(amap, view, 1.0, inverted=True, smooth=True)
    assert "Below 1: 2 of 5 patches" in text
    assert "smooth" in text.lower()
    assert "smooth" not in view_legend(amap, view, 1.0).lower()
