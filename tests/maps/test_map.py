from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mil.errors import MapError
from napari_mil.maps import (
    DISCLAIMER,
    Cuts,
    Prediction,
    above,
    colours,
    effective_patches,
    format_area,
    legend_text,
    normalised_entropy,
    summarise,
    view_legend,
)


def f32(*values):
    return np.array(values, np.float32)


@pytest.fixture
def amap(make_map):
    return make_map(
        attention=([0.1, 0.2, 0.3, 0.4], "attention"),
        contribution=([[0, 1, 2, 3], [3, 3, 3, 3]], "contribution"),
        instance_logit=([[0, 0, 0, 0], [0, 1, -1, 2]], "instance_logit"),
    )


def test_the_default_view_is_the_default_score_on_its_first_honest_scale(amap):
    view = amap.view()
    assert (view.score, view.scale.name, view.class_index, view.class_name) == ("attention", "rank", None, "")
    assert amap.display().tolist() == [0.25, 0.5, 0.75, 1.0]
    assert amap.display().dtype == np.float32


def test_a_score_per_class_shows_the_predicted_class_unless_told(amap):
    assert amap.view("contribution").class_name == "tumour"
    assert amap.display("contribution").tolist() == [3, 2, 1, 0]
    assert amap.display("contribution", class_index=0).tolist() == [-3, -2, -1, 0]
    np.testing.assert_allclose(amap.display("instance_logit"), 1 / (1 + np.exp(-f32(0, 1, -1, 2))), rtol=1e-6)


def test_a_score_that_classes_share_takes_no_class(amap):
    assert amap.view("attention", class_index=1).class_index is None


def test_a_branch_of_attention_per_class_is_taken_as_it_is(make_map):
    amap = make_map(attention=([[0.5, 0.5], [0.1, 0.9]], "attention"))
    np.testing.assert_allclose(amap.display(scale="ratio", class_index=1), [0.2, 1.8], rtol=1e-6)
    np.testing.assert_allclose(amap.display(scale="ratio", class_index=0), [1, 1])


def test_unknown_score_or_class_is_said_in_words(amap):
    with pytest.raises(MapError, match=r"no score.*attention, contribution, instance_logit"):
        amap.view("grad-cam")
    with pytest.raises(MapError, match=r"no class 2.*normal, tumour"):
        amap.view("contribution", class_index=2)


def test_prediction_in_words():
    two = Prediction(("normal", "tumour"), f32(0, 2), f32(0.12, 0.88))
    assert (two.class_index, two.sentence) == (1, "tumour, probability 88.0%")
    one = Prediction(("tumour",), f32(-2), f32(0.12))
    assert (one.class_index, one.sentence) == (0, "tumour, probability 12.0%")
    with pytest.raises(ValueError, match="class names"):
        Prediction(("a", "b"), f32(1), f32(1))


def test_scores_must_match_the_tiles(make_map, lattice):
    with pytest.raises(ValueError, match="attention must be"):
        make_map(lattice([(0, 0)]), attention=([0.5, 0.5], "attention"))


def test_threshold_includes_what_it_stands_on_and_never_nan():
    assert above(f32(0.1, 0.9, np.nan, 0.95), 0.9).tolist() == [False, True, False, True]


def test_summary_by_hand(make_map, lattice):
    # tiles of 100 px at 0.5 um: 50 um, 0.0025 mm2
    grid = lattice([(0, k) for k in range(4)], tissue=[1.0, 1.0, 0.5, 0.5])
    amap = make_map(grid, attention=([0.1, 0.2, 0.3, 0.4], "attention"))
    got = summarise(amap.view(), grid, 0.75)
    assert (got.count, got.n) == (2, 4)
    assert got.area_mm2 == pytest.approx(2 * 0.0025)
    assert got.fraction_of_tissue == pytest.approx(1 / 3)
    assert got.raw_cut == pytest.approx(0.3)
    none = summarise(amap.view(), grid, 1.5)
    assert (none.count, none.area_mm2, none.fraction_of_tissue, none.raw_cut) == (0, 0, 0, None)


@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.25, 0.5, np.nan]), min_size=1, max_size=12), st.floats(-0.1, 0.6))
def test_cuts_count_what_the_display_shows_at_every_threshold(make_map, lattice, raw, threshold):
    raw = f32(*raw)
    grid = lattice([(0, k) for k in range(len(raw))], tissue=np.linspace(0.1, 1, len(raw)))
    amap = make_map(grid, attention=(raw, "attention"))
    view = amap.view(scale="robust")
    got, chosen = Cuts(view, grid).at(threshold), above(view.values, threshold)
    assert got.count == chosen.sum()
    assert got.fraction_of_tissue == pytest.approx(grid.tissue_fraction[chosen].sum() / grid.tissue_fraction.sum())
    assert got.raw_cut == (view.raw[chosen].min() if chosen.any() else None)


def test_summary_counts_overlaps_once_and_patches_where_tissue_is_unknown(make_map, lattice):
    grid = lattice([(0, k) for k in range(4)], 50.0, tile=100.0, tissue=[np.nan] * 4)
    amap = make_map(grid, attention=([0.1, 0.2, 0.3, 0.4], "attention"))
    got = summarise(amap.view(), grid, 0.75)
    assert got.area_mm2 == pytest.approx(2 * 0.025**2)
    assert got.fraction_of_tissue == 0.5


def test_spread_of_attention_by_hand():
    assert effective_patches(f32(0.25, 0.25, 0.25, 0.25)) == pytest.approx(4)
    assert effective_patches(f32(1, 0, 0)) == 1
    assert effective_patches(f32(0.5, 0.25, 0.25)) == pytest.approx(1 / 0.375)
    assert normalised_entropy(f32(0.25, 0.25, 0.25, 0.25)) == pytest.approx(1)
    assert normalised_entropy(f32(1, 0, 0)) == 0
    assert normalised_entropy(f32(0.5, 0.5, 0, 0)) == pytest.approx(0.5)
    assert np.isnan(normalised_entropy(f32(1)))
    assert np.isnan(effective_patches(np.empty(0, np.float32)))


def test_legend_states_everything(amap):
    text = legend_text(amap, "contribution", 1, "contribution", 2.0)
    for part in ("Demo: tumour", "Contribution", "tumour", "Evidence", "2 of 4 patches", "0.005 mm²", "50%", "2"):
        assert part in text.replace("5,000 µm²", "0.005 mm²")
    assert text.endswith(DISCLAIMER)
    assert "All 4 patches" in legend_text(amap)
    assert view_legend(amap, amap.view(), 0.5) == legend_text(amap, threshold=0.5)


def test_areas_are_written_with_their_unit():
    assert format_area(12.345) == "12.3 mm²"
    assert format_area(0.256) == "0.26 mm²"
    assert format_area(0.004096) == "4,096 µm²"
    assert format_area(0) == "0.00 mm²"


def test_colours_run_from_end_to_end(make_map):
    import matplotlib as mpl

    amap = make_map(c=([-2, 0, 2], "contribution"), classes=("tumour",))
    ends = (mpl.colormaps["BrBG"]([0.0, 0.5, 1.0], bytes=True)[:, :3]).tolist()
    assert colours(amap.view()).tolist() == ends
    amap = make_map(a=([0.001, 0.01, 0.989], "attention"))
    low = mpl.colormaps["viridis"](0.0, bytes=True)[:3]
    assert tuple(colours(amap.view(scale="ratio"))[0]) == low
