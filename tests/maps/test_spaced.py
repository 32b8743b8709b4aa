"""Patches that do not crowd: against a definition written out, by hand, and on the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mil.export import top_tiles
from napari_mil.maps import spaced_patches
from napari_mil.tiling import TileGrid


def by_definition(raw, centres, k, reach, lowest):
    """Go through all patches from the top; take one where none that was taken is nearer."""
    taken = []
    for patch in sorted(np.flatnonzero(~np.isnan(raw)), key=lambda i: (raw[i] if lowest else -raw[i], i)):
        if all(np.hypot(*(centres[patch] - centres[other])) > reach for other in taken):
            taken.append(int(patch))
    return taken[:k]


@given(data=st.data())
def test_greedy_by_definition_on_any_grid(data, lattice):
    cells = data.draw(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=40, unique=True))
    grid = lattice(sorted(cells), stride=data.draw(st.sampled_from([100.0, 100.4, 64.7])))
    scores = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, float("nan")])
    raw = np.array(data.draw(st.lists(scores, min_size=len(cells), max_size=len(cells))), np.float32)
    k, apart = data.draw(st.integers(1, 12)), data.draw(st.sampled_from([0.0, 1.0, 1.5, 2.0, 3.0]))
    lowest = data.draw(st.booleans())
    got = spaced_patches(raw, grid, k, spacing_l0=apart * grid.stride_l0, lowest=lowest)
    reach = apart * grid.stride_l0 - 1.5 if apart else 0.0
    assert got.tolist() == by_definition(raw, grid.l0_centres(), k, reach, lowest)
    assert got.dtype == np.int64


def test_two_strides_apart_by_hand(lattice):
    grid = lattice([(0, k) for k in range(7)], stride=100.4)
    raw = np.float32([0.9, 0.8, 0.7, 0.6, 1.0, 0.5, 0.1])
    # 4 takes away 3 and 5; 0 takes away 1; 2 is two strides from both
    assert spaced_patches(raw, grid, 9, spacing_l0=2 * 100.4).tolist() == [4, 0, 2, 6]
    assert spaced_patches(raw, grid, 2, spacing_l0=2 * 100.4).tolist() == [4, 0]
    assert spaced_patches(raw, grid, 9, spacing_l0=2 * 100.4, lowest=True).tolist() == [6, 3, 1]


def test_without_spacing_they_are_the_top_patches(lattice):
    raw = np.random.default_rng(3).random(64).round(1).astype(np.float32)
    raw[::9] = np.nan
    grid = lattice([divmod(k, 8) for k in range(64)])
    for k in (1, 10, 500):
        assert spaced_patches(raw, grid, k).tolist() == top_tiles(raw, k).tolist()


def test_a_spacing_wider_than_the_slide_leaves_one_and_nothing_known_none(lattice):
    grid = lattice([divmod(k, 8) for k in range(64)])
    raw = np.arange(64, dtype=np.float32)
    assert spaced_patches(raw, grid, 500, spacing_l0=1e9).tolist() == [63]
    assert spaced_patches(np.full(64, np.nan, np.float32), grid, 5, spacing_l0=200.0).tolist() == []
    empty = TileGrid(np.empty((0, 2), np.int64), 1.0, 1.0, 1, 1.0, np.empty(0, np.float32))
    assert spaced_patches(np.empty(0, np.float32), empty, 5, spacing_l0=2.0).tolist() == []


@pytest.mark.parametrize(("n", "k", "spacing"), [(3, 1, 0.0), (4, 0, 0.0), (4, 1, -1.0), (4, 1, float("nan"))])
def test_what_makes_no_sense_is_refused(lattice, n, k, spacing):
    with pytest.raises(ValueError, match="need 4 scores"):
        spaced_patches(np.zeros(n, np.float32), lattice([(0, c) for c in range(4)]), k, spacing_l0=spacing)
