"""Masks as polygons and labels: what goes out comes back the same."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_mil.errors import TilingError
from napari_mil.samples import sample_file
from napari_mil.slides import open_slide
from napari_mil.tiling import (
    TissueMask,
    empty_mask,
    find_tissue,
    mask_polygons,
    mask_within,
    polygon_mask,
    tile_grid,
)

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))


@given(MASKS, st.floats(1, 40), st.floats(1, 40))
def test_polygons_give_the_very_same_mask_back(mask, row_edge, col_edge):
    tissue = TissueMask(mask, (row_edge, col_edge), (0.5, 0.5))
    polygons = mask_polygons(tissue)
    assert all(polygon.is_valid for polygon in polygons)
    again = polygon_mask(polygons, tissue, origin="again")
    assert np.array_equal(again.mask, mask)
    assert (again.l0_per_px, again.mpp, again.origin) == (tissue.l0_per_px, tissue.mpp, "again")


def test_islands_in_holes_are_polygons_of_their_own():
    mask = np.zeros((30, 30), bool)
    mask[2:28, 2:28], mask[6:24, 6:24], mask[12:18, 12:18] = True, False, True
    outer, island = mask_polygons(TissueMask(mask, (10.0, 10.0), None))
    assert len(outer.interiors) == 1
    assert island.bounds == pytest.approx((120, 120, 180, 180), abs=5)
    # corners are cut by half a mask pixel each
    assert outer.area + island.area == pytest.approx(mask.sum() * 100, rel=0.01)


# corners in hundredths of a pixel: no file has finer ones, and distances to slivers of 1e-200 are not defined
CORNER = st.integers(-3000, 13000).map(lambda hundredths: hundredths / 100)


@given(
    st.lists(st.tuples(CORNER, CORNER), min_size=3, max_size=9),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_a_pixel_is_inside_where_its_centre_is(corners, rows, cols):
    polygon = shapely.make_valid(shapely.Polygon(corners))
    like = TissueMask(np.zeros((rows, cols), bool), (100 / rows, 100 / cols), None)
    found = polygon_mask([polygon], like).mask
    y, x = np.meshgrid((np.arange(rows) + 0.5) * 100 / rows, (np.arange(cols) + 0.5) * 100 / cols, indexing="ij")
    sure = shapely.distance(shapely.boundary(polygon), shapely.points(x, y)) > 1e-9 if polygon.area else True
    areas = [part for part in shapely.get_parts(polygon) if part.area > 0]
    expected = shapely.contains_xy(shapely.union_all(areas), x, y)
    assert np.array_equal(found[sure], expected[sure])


def test_overlapping_polygons_count_once_and_lines_not_at_all():
    like = TissueMask(np.zeros((10, 10), bool), (1.0, 1.0), None)
    shapes = [shapely.box(1, 2, 6, 5), shapely.box(4, 2, 9, 5), shapely.LineString([(0, 8), (10, 8)])]
    expected = np.zeros((10, 10), bool)
    expected[2:5, 1:9] = True
    assert np.array_equal(polygon_mask(shapes, like).mask, expected)
    assert not polygon_mask([], like).mask.any()


@given(MASKS, st.floats(0, 30), st.floats(0, 30), st.floats(1, 30))
def test_within_is_the_intersection(mask, x, y, edge):
    tissue = TissueMask(mask, (1.0, 1.0), (0.5, 0.5), 12.0)
    box = shapely.box(x, y, x + edge, y + edge)
    kept = mask_within(tissue, [box], origin="a box")
    assert np.array_equal(kept.mask, mask & polygon_mask([box], tissue).mask)
    assert kept.origin == "found automatically, within a box"


@given(hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 4)))
def test_any_label_is_tissue_and_spans_the_slide(labels):
    mask = TissueMask.from_labels(labels, (120, 360), (0.5, 0.25), origin="painted")
    assert np.array_equal(mask.mask, labels > 0)
    assert np.array_equal(mask.to_labels(), (labels > 0).astype(np.uint8))
    assert np.multiply(mask.mask.shape, mask.l0_per_px) == pytest.approx((120, 360))
    assert mask.spans((120, 360))
    assert not mask.spans((1200, 360))


@pytest.mark.parametrize("labels", [np.zeros((3, 3, 3), int), np.zeros((0, 4), int), np.zeros((121, 4), int)])
def test_labels_that_cannot_be_a_mask_are_refused(labels):
    with pytest.raises(ValueError, match="labels must be"):
        TissueMask.from_labels(labels, (120, 360), None)


def test_masks_are_checked_when_made():
    with pytest.raises(ValueError, match="bool"):
        TissueMask(np.zeros((3, 3), np.uint8), (1.0, 1.0), None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positive"):
        TissueMask(np.zeros((3, 3), bool), (1.0, 0.0), None)


def test_an_empty_mask_is_at_the_resolution_of_the_one_that_is_found():
    with open_slide(sample_file("sample-normal.tif")) as slide:
        found, blank = find_tissue(slide, mpp=12), empty_mask(slide, mpp=12)
        assert blank.mask.shape == found.mask.shape
        assert blank.l0_per_px == found.l0_per_px
        assert not blank.mask.any()
        with pytest.raises(ValueError, match="mpp must be positive"):
            empty_mask(slide, mpp=float("nan"))
        with pytest.raises(ValueError, match="method must be one of colour, grandqc, hest"):
            find_tissue(slide, method="otsu")


def test_an_empty_mask_that_was_drawn_is_called_so():
    drawn = TissueMask(np.zeros((9, 9), bool), (100.0, 100.0), (0.5, 0.5), None, 'layer "mine"')
    with pytest.raises(TilingError, match=r'The tissue mask \(layer "mine"\) is empty'):
        tile_grid((900, 900), (0.5, 0.5), drawn, tile_px=64, mpp=0.5)
