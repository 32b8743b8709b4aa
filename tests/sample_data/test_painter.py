"""The painted tissue: the same every time, tumour exactly inside its outlines, colours and sizes of H&E."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from skimage.color import rgb2hed

from sample_data._cells import KINDS, make_cells, without_overlap
from sample_data._noise import Noise, scattered
from sample_data._tumour import nest_um
from sample_data.painter import paint_block, paint_slide, plan_slide


def outlines(plan, grow_um=0.0):
    """Return the lesions of a plan as one shapely geometry in (x, y) microns."""
    polygons = [shapely.Polygon(outline[:, ::-1]) for outline in plan.ground.outlines_um]
    assert all(polygon.is_valid for polygon in polygons)
    return shapely.union_all(polygons).buffer(grow_um)


def test_picture_depends_on_neither_threads_nor_run(lesion_plan, lesion_picture):
    again = paint_slide(plan_slide((1200, 1500), 0.5, 3, lesion=True), threads=3)
    np.testing.assert_array_equal(again, lesion_picture)
    np.testing.assert_array_equal(paint_slide(lesion_plan, threads=1), lesion_picture)


def test_another_seed_is_another_slide(lesion_picture):
    other = paint_slide(plan_slide((1200, 1500), 0.5, 4, lesion=True))
    assert np.abs(other.astype(int) - lesion_picture).mean() > 10


@pytest.mark.parametrize("corner", [(300, 333), (511, 700), (640, 480)])
def test_blocks_agree_wherever_they_are_cut(lesion_plan, lesion_picture, corner):
    row, col = corner
    block = paint_block(lesion_plan, row, col, 200, 240)
    difference = np.abs(block.astype(int) - lesion_picture[row : row + 200, col : col + 240])
    assert difference.max() <= 1


def test_tumour_cells_lie_inside_the_outlines(lesion_plan):
    centres = lesion_plan.tumour_um
    assert len(centres) > 30
    lesions = outlines(lesion_plan, -2)
    assert shapely.contains_xy(lesions, centres[:, 1], centres[:, 0]).all()


def test_nests_end_at_the_outlines(lesion_plan):
    rng = np.random.default_rng(0)
    y, x = (rng.uniform(0, size, 40_000).astype(np.float32) for size in lesion_plan.ground.size_um)
    outside = ~shapely.contains_xy(outlines(lesion_plan), x, y)
    assert (nest_um(lesion_plan.ground, y[outside], x[outside]) < 0).all()
    inside = nest_um(lesion_plan.ground, y[~outside], x[~outside]) > 0
    assert 0.15 < inside.mean() < 0.8


def test_outlines_are_the_zero_line_of_the_lesion_in_pixels(lesion_plan):
    for outline_um, outline_rc in zip(lesion_plan.ground.outlines_um, lesion_plan.outlines_rc, strict=True):
        np.testing.assert_allclose(outline_rc, outline_um * 2)
        assert np.abs(lesion_plan.ground.lesion_um(*outline_um.T)).max() < 0.1
        np.testing.assert_array_equal(outline_um[0], outline_um[-1])


def test_normal_slide_has_no_tumour(normal_plan):
    assert normal_plan.outlines_rc == []
    assert len(normal_plan.tumour_um) == 0


def test_lesion_changes_the_lesion_and_its_surroundings_only(lesion_plan, normal_plan):
    """The same seed with and without tumour lies on the same tissue."""
    np.testing.assert_array_equal(lesion_plan.ground.section, normal_plan.ground.section)


def test_both_kinds_of_slide_carry_a_pen_mark(lesion_plan, normal_plan):
    for plan in (lesion_plan, normal_plan):
        picture = paint_slide(plan).astype(int)
        inked = (picture[..., 0] < picture[..., 2] - 40) | (picture[..., 0] < picture[..., 1] - 30)
        assert 0.0005 < inked.mean() < 0.05


def test_glass_is_flat_and_tissue_is_haematoxylin_and_eosin(lesion_plan, lesion_picture):
    rows, cols = np.mgrid[:1200, :1500].astype(np.float32) / 2 + 0.25
    inside = lesion_plan.ground.section_um(rows, cols)
    far = lesion_picture[inside < -60]
    glass = (far == (243, 243, 244)).all(1)
    assert glass.mean() > 0.9  # the rest is ink
    tissue = lesion_picture[inside > 20].astype(int)
    pink = (tissue[:, 0] > tissue[:, 1] + 8) & (tissue[:, 2] > tissue[:, 1])
    assert pink.mean() > 0.6
    stains = rgb2hed(lesion_picture)
    tumour = lesion_plan.ground.lesion_um(rows, cols) > 0
    assert stains[tumour & (inside > 20), 0].mean() > 1.2 * stains[~tumour & (inside > 20), 0].mean()


@pytest.mark.parametrize(
    ("kind", "low_um", "high_um"), [("tumour", 10, 16), ("lymphocyte", 6, 7), ("spindle", 10, 14), ("red", 6, 8)]
)
def test_cells_have_their_true_size(kind, low_um, high_um):
    cells = make_cells(kind, np.zeros((4000, 2)), 0.0, np.random.default_rng(1))
    long, short = 2 * np.median(cells["a"]), 2 * np.median(cells["b"])
    assert low_um <= long <= high_um
    assert long >= short
    if kind == "spindle":
        assert 2 <= short <= 3.5


def test_tumour_nuclei_differ_more_than_lymphocytes():
    def spread(kind):
        cells = make_cells(kind, np.zeros((4000, 2)), 0.0, np.random.default_rng(1))
        area = cells["a"] * cells["b"]
        return area.std() / area.mean()

    assert spread("tumour") > 2 * spread("lymphocyte")
    assert set(KINDS) >= {"mitosis", "apoptotic", "epithelial"}


def test_overlapping_cells_are_dropped_later_first():
    centres = np.array([[0, 0], [0, 3], [0, 20], [0, 6]], np.float32)
    cells = make_cells("lymphocyte", centres, 0.0, np.random.default_rng(0))
    kept = without_overlap(cells)
    np.testing.assert_array_equal(kept["x"], [0, 20, 6])


def test_cells_of_a_slide_do_not_overlap(lesion_plan):
    assert len(without_overlap(lesion_plan.cells)) == len(lesion_plan.cells)


def test_noise_is_normal_smooth_and_named():
    noise = Noise(5)
    y, x = (v.astype(np.float32) for v in np.mgrid[0:2000:2, 0:2000:2])
    field = noise("one", y, x, 20)
    assert abs(field.mean()) < 0.1
    assert 0.9 < field.std() < 1.1
    assert abs(np.corrcoef(field.ravel(), noise("two", y, x, 20).ravel())[0, 1]) < 0.05
    assert np.corrcoef(field[:, :-1].ravel(), field[:, 1:].ravel())[0, 1] > 0.95
    np.testing.assert_array_equal(noise("one", y[3:4, 5:9], x[3:4, 5:9], 20), field[3:4, 5:9])


def test_scattered_points_fill_the_area_evenly():
    points = scattered(np.random.default_rng(0), (300.0, 500.0), 10.0)
    assert len(points) == pytest.approx(300 * 500 / (10 * 8.66), rel=0.05)
    assert points.min() >= 0
    assert (points < (300, 500)).all()


def test_too_small_a_slide_is_refused():
    with pytest.raises(ValueError, match="400 um at least"):
        plan_slide((700, 2000), 0.5, 0, lesion=False)
