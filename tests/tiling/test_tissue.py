"""Tissue: what a pathologist would call tissue, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_mil.slides import open_slide
from napari_mil.tiling import find_tissue, saturation_threshold, tissue_mask

UM = (8.0, 8.0)


def disk(shape, centre, radius):
    rows, cols = np.indices(shape)
    return (rows - centre[0]) ** 2 + (cols - centre[1]) ** 2 <= radius**2


def test_tissue_on_glass_is_found_to_the_pixel(glass, stain):
    rgb = glass()
    truth = disk(rgb.shape[:2], (150, 180), 90)
    stain(rgb, truth)
    mask = tissue_mask(rgb, UM)
    assert mask.dtype == bool
    assert (mask ^ truth).sum() < 0.01 * truth.sum()


@pytest.mark.parametrize(
    "colour", [(243, 243, 243), (255, 255, 255), (240, 236, 225), (225, 232, 240), (128, 128, 128)]
)
def test_blank_glass_of_any_tint_is_empty(glass, colour):
    assert not tissue_mask(glass(colour=colour), UM).any()


def test_a_picture_of_one_colour_is_empty():
    assert not tissue_mask(np.full((200, 200, 3), 255, np.uint8), UM).any()
    assert not tissue_mask(np.zeros((200, 200, 3), np.uint8), UM).any()


@pytest.mark.parametrize("colour", [(205, 140, 185), (225, 190, 212), (120, 90, 160)])
def test_a_slide_without_glass_is_all_tissue(glass, stain, colour):
    rgb = glass()
    stain(rgb, np.ones(rgb.shape[:2], bool), colour)
    # half of it darker: Otsu alone would cut there
    stain(rgb, disk(rgb.shape[:2], (150, 200), 100), (120, 60, 130))
    assert tissue_mask(rgb, UM).all()


def test_pale_stroma_beside_dark_nuclei_is_kept(glass, stain):
    rgb = glass()
    pale, dark = disk(rgb.shape[:2], (150, 120), 70), disk(rgb.shape[:2], (150, 290), 70)
    stain(rgb, pale, (228, 203, 217))
    stain(rgb, dark, (110, 60, 140))
    mask = tissue_mask(rgb, UM)
    assert mask[pale].mean() > 0.98
    assert mask[dark].mean() > 0.98


def test_grey_dirt_and_scratches_are_not_tissue(glass, stain):
    rgb = glass()
    tissue = disk(rgb.shape[:2], (150, 300), 60)
    stain(rgb, tissue)
    rgb[50:250, 50:90] = 150
    rgb[20:30, :] = 100
    mask = tissue_mask(rgb, UM)
    assert mask[tissue].mean() > 0.98
    assert not mask[:, :200].any()


def test_black_scanner_borders_are_not_tissue(glass, stain):
    rgb = glass()
    tissue = disk(rgb.shape[:2], (150, 200), 80)
    stain(rgb, tissue)
    rgb[:40], rgb[-40:], rgb[:, :40] = (4, 2, 6), (2, 6, 0), 0
    mask = tissue_mask(rgb, UM)
    assert not mask[:40].any()
    assert not mask[:, :40].any()
    assert mask[tissue].mean() > 0.98


@pytest.mark.parametrize("ink", [(30, 120, 60), (40, 160, 150), (25, 60, 190), (20, 20, 30)])
def test_a_pen_ring_is_left_out_and_the_tissue_in_it_kept(glass, stain, ink):
    rgb = glass()
    tissue = disk(rgb.shape[:2], (150, 200), 60)
    stain(rgb, tissue)
    ring = disk(rgb.shape[:2], (150, 200), 120) & ~disk(rgb.shape[:2], (150, 200), 108)
    rgb[ring] = ink
    rgb = np.stack([ndimage.uniform_filter(rgb[..., k], 3) for k in range(3)], axis=-1)
    mask = tissue_mask(rgb, UM)
    assert not mask[ring].any()
    assert mask[tissue].mean() > 0.97
    assert mask.sum() < 1.1 * tissue.sum()


def test_haematoxylin_is_no_pen(glass, stain):
    rgb = glass()
    tissue = disk(rgb.shape[:2], (150, 200), 80)
    stain(rgb, tissue, (88, 75, 150))
    assert tissue_mask(rgb, UM)[tissue].mean() > 0.98


@pytest.mark.parametrize("um", [(8.0, 8.0), (4.0, 4.0), (8.0, 4.0)])
def test_size_rules_are_in_microns(glass, stain, um):
    """Discs of 90 000 and 25 000 um2 in tissue and on glass, whatever the pixels' size."""
    shape = int(2400 / um[0]), int(4800 / um[1])
    rows, cols = np.indices(shape)

    def spot(y_um, x_um, area_um2):
        return ((rows + 0.5) * um[0] - y_um) ** 2 + ((cols + 0.5) * um[1] - x_um) ** 2 <= area_um2 / np.pi

    rgb = glass(shape)
    speck, piece = spot(1200, 3200, 25_000), spot(1200, 4200, 90_000)
    hole, lumen = spot(800, 1000, 25_000), spot(1600, 1000, 90_000)
    body = cols < shape[1] * 0.55
    stain(rgb, (body & ~hole & ~lumen) | speck | piece)
    mask = tissue_mask(rgb, um, min_area_um2=50_000, max_hole_um2=50_000)
    assert not mask[speck].any()
    assert mask[piece].mean() > 0.9
    assert mask[hole].all()
    assert mask[lumen].mean() < 0.2
    every = tissue_mask(rgb, um, min_area_um2=0, max_hole_um2=0)
    assert every[speck].mean() > 0.9
    assert every[hole].mean() < 0.3


def test_a_given_threshold_is_used(glass, stain):
    rgb = glass()
    stain(rgb, disk(rgb.shape[:2], (150, 200), 80))
    assert not tissue_mask(rgb, UM, threshold=250).any()
    assert 10 <= saturation_threshold(rgb) <= 20


# fractions judged by eye against the outlines drawn over each slide
@pytest.mark.parametrize(
    ("name", "fraction", "mm2"),
    [
        ("breast-lobular-10x.tif", 0.107, 44.5),
        ("duodenum-giardiasis-40x.tif", 0.257, 3.99),
        ("cmu-1-small-region.svs", 0.396, 0.65),
        ("cmu-1-dicom", 0.396, 0.65),
        ("tcga-jp2k-no-mpp.svs", 0.642, None),
    ],
)
def test_real_slides(shared_data, name, fraction, mm2):
    with open_slide(shared_data / "slides" / name) as slide:
        mask = find_tissue(slide)
        assert mask.fraction == pytest.approx(fraction, rel=0.05)
        assert mask.area_mm2 == (None if mm2 is None else pytest.approx(mm2, rel=0.05))
        assert mask.mpp == slide.mpp
        # the mask spans the slide exactly
        assert np.array(mask.mask.shape) * mask.l0_per_px == pytest.approx(np.array(slide.shape))


def test_serial_sections_have_the_same_tissue(shared_data):
    with open_slide(shared_data / "slides" / "breast-lobular-10x.tif") as slide:
        mask = find_tissue(slide).mask
    middle = mask.shape[1] * 780 // 1568  # the gap between the two sections
    assert not mask[:, middle].any()
    assert mask[:, :middle].sum() == pytest.approx(mask[:, middle:].sum(), rel=0.1)


def test_resolution_is_the_callers(shared_data):
    with open_slide(shared_data / "slides" / "duodenum-giardiasis-40x.tif") as slide:
        coarse, fine = find_tissue(slide, mpp=16), find_tissue(slide, mpp=5)
        assert coarse.l0_per_px[0] * 0.2528 == pytest.approx(16, rel=0.01)
        assert fine.l0_per_px[0] * 0.2528 == pytest.approx(5, rel=0.01)
        assert coarse.fraction == pytest.approx(fine.fraction, rel=0.08)
        with pytest.raises(ValueError, match="mpp must be positive"):
            find_tissue(slide, mpp=0)
