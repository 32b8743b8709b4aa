"""Outlines: closed, in level-0 pixels, around tissue and around holes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon

from napari_mil.tiling import TissueMask, outlines


def test_a_rectangle_is_its_corners(make_mask):
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    (outline,) = outlines(make_mask(mask, (640, 480)))
    assert outline.dtype == np.float64
    # 16 level-0 px a row, 8 a column; simplifying misses by up to three quarters of a mask pixel
    assert outline.min(axis=0) == pytest.approx([10 * 16, 20 * 8], abs=12)
    assert outline.max(axis=0) == pytest.approx([30 * 16, 50 * 8], abs=12)
    assert Polygon(outline).area == pytest.approx(20 * 16 * 30 * 8, rel=0.05)
    assert not np.array_equal(outline[0], outline[-1])


def test_tissue_at_the_slides_edge_is_closed_there(make_mask):
    (outline,) = outlines(make_mask(np.ones((20, 30), bool), (2000, 3000)))
    assert outline.min() >= 0
    assert (outline <= [2000, 3000]).all()
    assert outline.max(axis=0) == pytest.approx([2000, 3000], abs=75)
    assert Polygon(outline).area == pytest.approx(6e6, rel=0.05)


def test_holes_are_outlined_too(make_mask):
    mask = np.zeros((100, 100), bool)
    mask[10:90, 10:90] = True
    mask[40:60, 45:65] = False
    outer, hole = sorted((Polygon(line) for line in outlines(make_mask(mask, (100, 100)))), key=lambda p: -p.area)
    assert outer.area == pytest.approx(6400, rel=0.02)
    assert hole.area == pytest.approx(400, rel=0.07)
    assert outer.contains(hole)


def test_nothing_has_no_outline(make_mask):
    assert outlines(make_mask(np.zeros((10, 10), bool), (100, 100))) == []


@given(st.floats(5, 40), st.floats(1, 50))
def test_a_disc_keeps_its_area_and_place(radius, l0_per_px):
    rows, cols = np.indices((100, 110)) + 0.5
    mask = (rows - 50.3) ** 2 + (cols - 52.6) ** 2 <= radius**2
    (outline,) = outlines(TissueMask(mask, (l0_per_px, l0_per_px), None, 15.0))
    polygon = Polygon(outline)
    assert polygon.is_valid
    assert polygon.area == pytest.approx(mask.sum() * l0_per_px**2, rel=0.12)
    assert polygon.centroid.x == pytest.approx(50.3 * l0_per_px, abs=0.6 * l0_per_px)
    assert polygon.centroid.y == pytest.approx(52.6 * l0_per_px, abs=0.6 * l0_per_px)
