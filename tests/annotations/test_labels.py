from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mil.annotations import Annotation, overlap_fraction, read_annotations, tile_labels
from napari_mil.tiling import TileGrid


def drawn(*geometries):
    return [Annotation("", "Tumor", geometry, None) for geometry in geometries]


def grid_of(rows, cols, stride=100.0, tile=None):
    rc = np.stack(np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij"), -1).reshape(-1, 2)
    edge = stride if tile is None else tile
    l0_rc = np.rint(rc * stride).astype(np.int64)
    return TileGrid(l0_rc, edge, stride, 50, 2.0, np.ones(len(rc), np.float32))


def test_by_hand_x_runs_along_columns():
    # x 100..250, y 0..50: the whole upper half of tile (0, 1) and a quarter of tile (0, 2)
    got = overlap_fraction(drawn(shapely.box(100, 0, 250, 50)), grid_of(2, 3))
    np.testing.assert_allclose(got, [0, 0.5, 0.25, 0, 0, 0], atol=1e-12)


def test_a_tile_cut_in_half_is_in_and_the_share_can_be_chosen():
    outlines = drawn(shapely.box(100, 0, 250, 50))
    assert np.flatnonzero(tile_labels(outlines, grid_of(2, 3))).tolist() == [1]
    assert np.flatnonzero(tile_labels(outlines, grid_of(2, 3), 0.25)).tolist() == [1, 2]
    assert not tile_labels(outlines, grid_of(2, 3), 1.0).any()
    for share in (0, -1, 1.5):
        with pytest.raises(ValueError, match="min_overlap"):
            tile_labels(outlines, grid_of(2, 3), share)


def test_holes_are_outside_overlapping_outlines_count_once_and_points_nothing():
    holed = shapely.box(0, 0, 100, 100).difference(shapely.box(25, 25, 75, 75))
    outlines = drawn(holed, shapely.box(0, 0, 100, 25), shapely.Point(150, 50), shapely.LineString([(0, 0), (300, 0)]))
    np.testing.assert_allclose(overlap_fraction(outlines, grid_of(1, 2)), [0.75, 0], atol=1e-12)


def test_nothing_drawn_and_no_tiles():
    assert overlap_fraction([], grid_of(1, 2)).tolist() == [0, 0]
    assert overlap_fraction(drawn(shapely.box(0, 0, 9, 9)), grid_of(0, 0)).shape == (0,)


def test_tiles_that_overlap_each_have_their_own_share():
    got = overlap_fraction(drawn(shapely.box(0, 0, 100, 1000)), grid_of(1, 3, 50.0, tile=100.0))
    np.testing.assert_allclose(got, [1, 0.5, 0], atol=1e-12)


star = st.lists(st.floats(100, 1500), min_size=3, max_size=60).map(
    lambda radii: shapely.Polygon(
        [
            (1600 + r * np.cos(a), 1500 + r * np.sin(a))
            for r, a in zip(radii, np.linspace(0, 2 * np.pi, len(radii), endpoint=False), strict=True)
        ]
    )
)


@settings(max_examples=30)
@given(star, st.floats(30, 300))
def test_agrees_with_plain_intersection_of_every_tile(outline, stride):
    grid = grid_of(int(3200 / stride) + 1, int(3300 / stride) + 1, stride)
    boxes = [shapely.box(c, r, c + stride, r + stride) for r, c in grid.l0_rc]
    plain = shapely.area(shapely.intersection(boxes, outline)) / stride**2
    np.testing.assert_allclose(overlap_fraction(drawn(outline), grid), plain, atol=1e-9)


def test_shares_of_a_full_grid_add_up_to_the_area_of_a_real_lesion(shared_data):
    lesions = read_annotations(shared_data / "annotations" / "tumor_085.xml")
    area = shapely.union_all([a.geometry for a in lesions])
    low_x, low_y, high_x, high_y = area.bounds
    rows, cols = int(high_y // 256) + 1, int(high_x // 256) + 1
    grid = grid_of(rows, cols, 256.0)
    near = (grid.l0_rc[:, 0] > low_y - 256) & (grid.l0_rc[:, 1] > low_x - 256)
    grid = TileGrid(grid.l0_rc[near], 256.0, 256.0, 256, 0.25, grid.tissue_fraction[near])
    assert overlap_fraction(lesions, grid).sum() * 256**2 == pytest.approx(area.area, rel=1e-9)
