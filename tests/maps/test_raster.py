from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mil.maps import paint
from napari_mil.tiling import TileGrid

CELLS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=80, unique=True).map(sorted)


def cell_of(raster, l0_rc_centre):
    """The cell that napari shows at a point: the nearest cell centre."""
    return np.rint((l0_rc_centre - np.array(raster.l0_origin)) / raster.l0_step).astype(int)


@given(CELLS, st.floats(20, 400), st.randoms())
def test_every_tile_is_found_again_where_it_lies(lattice, cells, stride, random):
    grid = lattice(cells, stride)
    values = np.array([random.random() for _ in cells], np.float32)
    raster = paint(values, grid)
    index = cell_of(raster, grid.l0_centres())
    np.testing.assert_array_equal(raster.values[index[:, 0], index[:, 1]], values)
    assert np.isfinite(raster.values).sum() == len(cells)
    # the cell's centre lies on the tile's centre to half a level-0 pixel, which is the rounding of the tile itself
    centres = np.array(raster.l0_origin) + index * raster.l0_step
    assert np.abs(centres - grid.l0_centres()).max() <= 0.5 + 1e-6


def test_origin_and_step_by_hand_in_napari_convention(lattice):
    raster = paint(np.array([1, 2], np.float32), lattice([(2, 3), (3, 4)], 100.0))
    # tile (2, 3) covers rows 200..299, columns 300..399: its centre is 249.5, 349.5
    assert raster.l0_origin == (249.5, 349.5)
    assert raster.l0_step == 100
    np.testing.assert_array_equal(raster.values, [[1, np.nan], [np.nan, 2]])


def test_whole_strides_put_centres_exactly(lattice):
    grid = lattice([(r, c) for r in range(5) for c in range(7)], 64.0)
    raster = paint(np.arange(35, dtype=np.float32), grid)
    rows, cols = np.indices(raster.values.shape)
    centres = np.stack([rows, cols], -1).reshape(-1, 2) * raster.l0_step + raster.l0_origin
    np.testing.assert_array_equal(centres, grid.l0_centres())


def test_overlapping_tiles_are_averaged_with_a_counter(lattice):
    # tiles of 200 every 100: cell 1 lies in tiles 0 and 1, cell 0 in tile 0 alone
    raster = paint(np.array([1, 3, 8], np.float32), lattice([(0, 0), (0, 1), (0, 2)], 100.0, tile=200.0))
    np.testing.assert_allclose(raster.values, [[1, 2, 5.5, 8]] * 2)
    assert raster.l0_origin == (49.5, 49.5)


@given(CELLS, st.integers(2, 4), st.randoms())
def test_overlap_agrees_with_a_plain_loop(lattice, cells, times, random):
    grid = lattice(cells, 50.0, tile=50.0 * times)
    values = np.array([random.uniform(-5, 5) for _ in cells], np.float32)
    total, count = np.zeros((50, 50)), np.zeros((50, 50))
    for (r, c), value in zip(cells, values, strict=True):
        total[r : r + times, c : c + times] += value
        count[r : r + times, c : c + times] += 1
    with np.errstate(invalid="ignore"):
        expected = total / count
    low, high = np.min(cells, axis=0), np.max(cells, axis=0) + times
    raster = paint(values, grid)
    np.testing.assert_allclose(raster.values, expected[low[0] : high[0], low[1] : high[1]], atol=1e-5)


def test_a_tile_half_as_wide_again_covers_the_cells_whose_centre_it_holds(lattice):
    raster = paint(np.array([1], np.float32), lattice([(0, 0)], 100.0, tile=133.0))
    assert raster.values.shape == (1, 1)
    raster = paint(np.array([1], np.float32), lattice([(0, 0)], 100.0, tile=160.0))
    assert raster.values.shape == (2, 2)


def free_grid(l0_rc, tile):
    rc = np.asarray(l0_rc, np.int64)
    return TileGrid(rc, tile, tile, 256, 0.5, np.full(len(rc), np.nan, np.float32))


def test_a_grid_that_starts_off_the_origin_is_still_exact():
    grid = free_grid([(37, 11), (37, 111), (137, 11)], 100.0)
    raster = paint(np.array([1, 2, 3], np.float32), grid)
    np.testing.assert_array_equal(raster.values, [[1, 2], [3, np.nan]])
    assert raster.l0_origin == (37 + 49.5, 11 + 49.5)


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000)), min_size=2, max_size=30, unique=True))
def test_tiles_on_no_grid_cover_themselves_to_half_a_cell(places):
    grid = free_grid(places, 100.0)
    raster = paint(np.ones(len(places), np.float32), grid)
    index = cell_of(raster, grid.l0_centres() + 1e-3)
    index = np.clip(index, 0, np.array(raster.values.shape) - 1)
    np.testing.assert_allclose(raster.values[index[:, 0], index[:, 1]], 1)
    painted = np.isfinite(raster.values)
    rows, cols = np.nonzero(painted)
    centres = np.stack([rows, cols], -1) * raster.l0_step + raster.l0_origin
    away = np.abs(centres[:, None] - grid.l0_centres()[None]).max(axis=2).min(axis=1)
    assert away.max() <= 50 + raster.l0_step / 2 + 1e-6


def test_gaps_between_tiles_stay_empty(lattice):
    raster = paint(np.array([1, 2], np.float32), lattice([(0, 0), (0, 1)], 200.0, tile=100.0))
    np.testing.assert_array_equal(raster.values[0], [1, 1, np.nan, np.nan, 2, 2])


def test_a_patch_without_a_score_is_transparent_and_leaves_its_neighbours_alone(lattice):
    grid = lattice([(0, 0), (0, 1)], 100.0, tile=200.0)
    np.testing.assert_allclose(paint(np.array([np.nan, 3], np.float32), grid).values[0], [np.nan, 3, 3])


def test_many_tiny_tiles_do_not_make_an_endless_raster():
    raster = paint(np.ones(2, np.float32), free_grid([(0, 0), (200_003, 77)], 8.0))
    assert max(raster.values.shape) <= 8193


def test_no_tiles_give_one_empty_cell(lattice):
    raster = paint(np.empty(0, np.float32), lattice([], 100.0))
    assert np.isnan(raster.values).all()
    assert raster.values.shape == (1, 1)


def test_as_many_values_as_tiles(lattice):
    with pytest.raises(ValueError, match="values must be"):
        paint(np.ones(3, np.float32), lattice([(0, 0)]))


def test_the_map_paints_what_it_displays(make_map, lattice):
    grid = lattice([(0, 0), (1, 1)])
    amap = make_map(grid, attention=([0.2, 0.8], "attention"))
    values = amap.raster(scale="ratio").values
    np.testing.assert_allclose([values[0, 0], values[1, 1]], amap.display(scale="ratio"))
