from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_mil.maps import hot_spots
from napari_mil.tiling import TileGrid


def grid_of(cells, stride=100.0, tile=None):
    rc = np.asarray(cells, np.int64).reshape(-1, 2)
    edge = stride if tile is None else tile
    return TileGrid(np.rint(rc * stride).astype(np.int64), edge, stride, 50, edge / 100, np.ones(len(rc), np.float32))


SQUARE = [(r, c) for r in range(4) for c in range(4)]
PICTURE = np.array([[9, 0, 0, 5], [0, 8, 0, 5], [0, 0, 0, 0], [2, np.nan, 0, 3]], np.float32).ravel()


def test_by_hand_with_corners_and_without():
    first, second, third = hot_spots(PICTURE, grid_of(SQUARE), 3)
    assert first.patches.tolist() == [0, 5]
    assert (first.peak_patch, first.peak, first.mean) == (0, 9, 8.5)
    assert first.l0_centroid_rc == (100, 100)
    assert first.geometry.geom_type == "MultiPolygon"
    assert first.geometry.area == 20_000
    assert second.patches.tolist() == [3, 7]
    assert second.geometry.equals(shapely.box(300, 0, 400, 200))
    assert third.l0_centroid_rc == (350, 350)
    # a tile of 100 px at 0.5 microns: 50 microns
    assert [spot.area_mm2 for spot in (first, second, third)] == pytest.approx([0.005, 0.005, 0.0025])
    alone = hot_spots(PICTURE, grid_of(SQUARE), 3, connectivity=4)
    assert [spot.patches.tolist() for spot in alone] == [[0], [5], [3, 7], [15]]


def test_below_takes_the_lowest_first_and_leaves_out_what_is_unknown():
    spots = hot_spots(PICTURE, grid_of(SQUARE), 0.5, below=True)
    assert {int(patch) for spot in spots for patch in spot.patches} == set(np.flatnonzero(PICTURE == 0))
    (spot,) = hot_spots(PICTURE, grid_of(SQUARE), 3, below=True)
    assert (spot.peak, spot.n_patches) == (0, 10)


def test_small_regions_are_left_out_and_nothing_is_nothing():
    assert len(hot_spots(PICTURE, grid_of(SQUARE), 3, min_patches=2)) == 2
    assert hot_spots(PICTURE, grid_of(SQUARE), 10) == []
    assert hot_spots(np.zeros(0, np.float32), grid_of([]), 0) == []
    for wrong in ({"connectivity": 6}, {"values": PICTURE[:3]}):
        with pytest.raises(ValueError, match="values and 4 or 8"):
            hot_spots(wrong.get("values", PICTURE), grid_of(SQUARE), 3, connectivity=wrong.get("connectivity", 8))


@settings(max_examples=60)
@given(
    st.integers(0, 2**32),
    st.floats(0.1, 0.9),
    st.sampled_from([(100.0, 100.0), (63.7, 63.7), (50.0, 100.0), (100.0, 60.0)]),
    st.sampled_from([4, 8]),
)
def test_agrees_with_labelling_a_picture(seed, share, edges, connectivity):
    stride, tile = edges
    rng = np.random.default_rng(seed)
    values = rng.random((9, 11)).astype(np.float32)
    there = rng.random((9, 11)) < 0.9
    grid = grid_of(np.argwhere(there), stride, tile)
    spots = hot_spots(values[there], grid, share, connectivity=connectivity)
    structure = np.ones((3, 3)) if connectivity == 8 else None
    labels, count = ndimage.label(there & (values >= np.float32(share)), structure)
    numbers = labels[there]
    assert {tuple(spot.patches) for spot in spots} == {tuple(np.flatnonzero(numbers == k)) for k in range(1, count + 1)}
    total = int((numbers > 0).sum())
    assert sum(spot.area_mm2 for spot in spots) == pytest.approx(total * grid.tile_mm2)
    for spot in spots:
        assert spot.geometry.is_valid
        assert spot.geometry.area == pytest.approx(spot.n_patches * stride**2)
        middles = grid.l0_rc[spot.patches] + tile / 2
        assert shapely.contains_xy(spot.geometry.buffer(0.51), middles[:, 1], middles[:, 0]).all()
    peaks = [spot.peak for spot in spots]
    assert peaks == sorted(peaks, reverse=True)


def test_tiles_on_no_common_grid_and_twice_in_one_place():
    grid = TileGrid(
        np.array([[0, 0], [37, 90], [37, 90], [500, 500]], np.int64), 100.0, 100.0, 50, 1.0, np.ones(4, np.float32)
    )
    first, second = hot_spots(np.array([1, 2, 3, 1], np.float32), grid, 1)
    assert (first.patches.tolist(), first.peak_patch, second.patches.tolist()) == ([0, 1, 2], 2, [3])
    assert first.geometry.area == pytest.approx(20_000 - 10 * 63)
