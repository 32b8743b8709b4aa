"""Where colours end whose scores have no end of their own: one patch far out must not turn the others pale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mil.maps import (
    COLOUR_PERCENTILE,
    SCALES,
    colour_end,
    colours,
    common_views,
    difference,
    legend_text,
    limits_words,
)


def _signed(make_map, evidence, **more):
    half = np.asarray(evidence, np.float32) / 2  # shown is the difference of the two classes
    return make_map(contribution=(np.stack([-half, half]), "contribution"), **more)


def test_the_end_by_hand():
    scores = np.arange(1, 202, dtype=np.float32)  # place 0.99 * 200 from the lowest is exactly the 199th
    scores[::2] *= -1
    assert colour_end(scores) == 199
    assert colour_end(np.append(scores, np.float32([np.nan, np.inf]))) == 199
    scores[-1] = -1e6
    assert colour_end(scores) == 199  # one far out moves nothing


@given(hnp.arrays(np.float32, st.integers(1, 400), elements=st.floats(-50, 50, width=32)))
def test_the_end_is_a_patchs_and_at_most_one_in_a_hundred_lies_beyond(scores):
    end, sizes = colour_end(scores), np.abs(scores)
    assert end in sizes or (end == 1 and not sizes.any())
    if np.percentile(sizes, COLOUR_PERCENTILE, method="higher") > 0:
        assert (sizes > end).sum() <= (100 - COLOUR_PERCENTILE) / 100 * len(scores)
        assert len(scores) > 100 or end == sizes.max()
    else:  # hardly any patch has a score: the largest
        assert end == (sizes.max() or 1)


def test_an_outlier_takes_the_end_colour_and_leaves_the_others_theirs(make_map):
    evidence = np.linspace(-1, 1, 300)
    plain = _signed(make_map, evidence).view()
    far = _signed(make_map, np.append(evidence, 500)).view()
    assert far.limits == pytest.approx(plain.limits, rel=0.02)
    np.testing.assert_allclose(colours(far)[:-1].astype(int), colours(plain), atol=4)
    np.testing.assert_array_equal(colours(far)[-1], colours(far)[299])
    # numbers keep what lies beyond
    assert far.values.max() == far.raw.max() == 500
    assert (far.lowest, far.highest) == (-1, 500)


def test_the_legend_says_where_colours_end_and_what_lies_beyond(make_map):
    far = _signed(make_map, [*np.linspace(-1, 1, 300), 500, -400])
    words = limits_words(far.view())
    low, high = far.view().limits
    assert low == -high
    assert words == (
        f"Colours end at ±{high:.3g} (99th percentile of absolute values); "
        f"{(np.abs(far.view().values) > high).sum()} patches beyond, up to 500"
    )
    assert words in legend_text(far).splitlines()
    assert "99th percentile" in SCALES["contribution"].help
    near = _signed(make_map, [-1, 0.5, 1])
    assert limits_words(near.view()) == ""
    assert limits_words(far.view(scale="rank")) == ""


def test_maps_beside_each_other_share_the_wider_limits_and_say_so(make_map):
    wide, narrow = (_signed(make_map, np.append(np.linspace(-x, x, 300), 500)) for x in (4, 1))
    first, second = common_views([wide, narrow])
    assert first.limits == second.limits == wide.view().limits
    assert "(the same for all maps); 1 patch beyond" in limits_words(second)
    assert second.highest == 500


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_a_map_without_any_score_leaves_the_others_their_colours(make_map, nothing):
    weak, blank = (_signed(make_map, evidence) for evidence in (np.linspace(-1e-3, 1e-3, 50), np.full(50, nothing)))
    first, second = common_views([weak, blank])
    assert first.limits == second.limits == weak.view().limits
    alone = common_views([blank, blank])
    assert alone[0].limits == (-1, 1)


def test_a_spread_ends_at_its_percentile_and_begins_at_zero():
    values = np.append(np.linspace(0.01, 0.2, 300), 9).astype(np.float32)
    assert SCALES["spread"].limits(values) == (0, pytest.approx(0.2, abs=0.003))


def test_a_difference_of_scores_is_not_pale_either(make_map):
    n = 300
    even = np.full(n, 1 / n)
    sharp = even * np.linspace(0.5, 1.5, n)
    sharp[7] = 40
    maps = make_map(attention=(sharp, "attention")), make_map(attention=(even, "attention"))
    found = difference(maps, tuple(common_views(maps)), ("sharp", "even"), by="raw")
    assert found.limits[1] == pytest.approx(0.5, abs=0.02)
    assert found.values.max() == pytest.approx(40 * n - 1, rel=1e-5)
    assert "99th percentile" in found.help
