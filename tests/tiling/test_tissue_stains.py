"""Tissue as stained, marked and scanned otherwise: the sample slide's light, computed anew through other dyes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from napari_mil.samples import sample_file
from napari_mil.slides import open_slide
from napari_mil.tiling import empty_mask, find_tissue, tissue_mask

UM = (8.0, 8.0)
GLASS = np.array([243.0, 243.0, 244.0])
STAINS = np.array([[0.651, 0.701, 0.290], [0.216, 0.801, 0.558]])
DAB = np.array([0.268, 0.570, 0.776])
INKS = {
    "blue": (1.25, 0.80, 0.34),
    "green": (1.2, 0.52, 0.8),
    "turquoise": (1.2, 0.3, 0.15),
    "black": (1.8, 1.8, 1.75),
    "red": (0.07, 1.2, 0.95),
    "violet": (0.8, 1.3, 0.35),
    "orange": (0.05, 0.6, 1.5),
    "yellow": (0.02, 0.12, 1.2),
}


@pytest.fixture(scope="module")
def slide():
    with open_slide(sample_file("sample-normal.tif")) as opened:
        shape = empty_mask(opened).mask.shape
        fine, _ = opened.thumbnail(2 * max(shape))
        rgb = np.asarray(Image.fromarray(fine).resize(shape[::-1], Image.Resampling.BOX))
        # the sample's own pen mark would be restained, too: the half without it is what follows
        yield rgb, find_tissue(opened).mask


def density(rgb):
    return -np.log(np.clip(rgb, 1, 255) / GLASS)


def picture(density_, noise=0.6):
    grain = np.random.default_rng(4).normal(0, noise, density_.shape)
    return np.clip(np.rint(GLASS * np.exp(-density_) + grain), 0, 255).astype(np.uint8)


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def stroke(shape, width_px):
    image = Image.new("L", shape[::-1], 0)
    rows, cols = shape
    path = [(0.05 * cols, 0.1 * rows), (0.5 * cols, 0.5 * rows), (0.95 * cols, 0.08 * rows)]
    ImageDraw.Draw(image).line(path, fill=255, width=width_px, joint="curve")
    return np.asarray(image) / 255


def test_the_unaltered_picture_gives_the_slides_own_mask(slide):
    rgb, mask = slide
    assert np.array_equal(tissue_mask(rgb, UM), mask)
    assert 0.15 < mask.mean() < 0.6


@pytest.mark.parametrize("strength", [0.5, 0.25, 0.12])
def test_faint_tissue_is_found(slide, strength):
    rgb, mask = slide
    assert overlap(tissue_mask(picture(density(rgb) * strength), UM), mask) > 0.85


@pytest.mark.parametrize(("counterstain", "dab"), [(0.5, 0.0), (0.25, 0.0), (0.4, 2.5), (0.6, 6.0)])
def test_immunohistochemistry_is_found_negative_and_positive(slide, counterstain, dab):
    """Haematoxylin alone on all that was stained, and DAB on the densest nuclei."""
    rgb, mask = slide
    h, e = np.clip(density(rgb) @ np.linalg.pinv(STAINS), 0, None).transpose(2, 0, 1)
    blue = counterstain * (h + 0.3 * e)
    brown = dab * np.clip(h - 0.2, 0, None)
    found = tissue_mask(picture(blue[..., None] * STAINS[0] + brown[..., None] * DAB), UM)
    assert overlap(found, mask) > 0.85


@pytest.mark.parametrize("ink", INKS)
def test_pens_are_left_out_on_glass_and_the_tissue_beside_them_stays(slide, ink):
    rgb, mask = slide
    line = ndimage.gaussian_filter(stroke(mask.shape, 30), 1.0)
    streaks = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=mask.shape), 6)
    line *= np.clip(0.85 + 0.1 * streaks / streaks.std(), 0.5, 1.2)
    found = tissue_mask(picture(density(rgb) + line[..., None] * INKS[ink]), UM)
    near = ndimage.binary_dilation(line > 0.02, iterations=3)
    bare = near & ~ndimage.binary_dilation(mask, iterations=12)
    assert bare.sum() > 1000
    assert found[bare].mean() < 0.02
    far = ~ndimage.binary_dilation(line > 0.02, iterations=14)
    assert overlap(found & far, mask & far) > 0.95


@pytest.mark.parametrize("ink", ["blue", "green", "turquoise", "black"])
def test_cold_and_black_pens_are_left_out_on_tissue_as_well(slide, ink):
    rgb, mask = slide
    line = ndimage.gaussian_filter(stroke(mask.shape, 30), 1.0)
    found = tissue_mask(picture(density(rgb) + line[..., None] * INKS[ink]), UM)
    assert found[(line > 0.5) & mask].mean() < 0.05


@pytest.mark.parametrize("glass", [(236, 231, 208), (228, 232, 243), (243, 243, 244), (200, 200, 198)])
def test_tinted_glass_is_glass(slide, glass):
    rgb, mask = slide
    found = tissue_mask(np.rint(np.exp(-density(rgb)) * glass).clip(0, 255).astype(np.uint8), UM)
    assert overlap(found, mask) > 0.95


def test_black_borders_and_white_filling_change_nothing_elsewhere(slide):
    rgb, mask = slide
    for value in (0, 12, 255):
        framed = rgb.copy()
        framed[:30], framed[:, -40:] = value, value
        found = tissue_mask(framed, UM)
        assert not found[:22].any()
        assert overlap(found[40:, :-60], mask[40:, :-60]) > 0.95


def test_the_edge_of_a_cover_slip_is_not_tissue(slide):
    rgb, mask = slide
    cols = np.arange(rgb.shape[1])
    edge = 0.8 * np.exp(-(((cols - 40) / 2) ** 2)) + 0.15 * (cols < 40)
    tint = 1 + 0.1 * (cols < 40)[:, None] * np.array([0.2, -0.3, 0.4])
    found = tissue_mask(picture(density(rgb) + (edge[:, None] * tint)[None]), UM)
    bare = ~ndimage.binary_dilation(mask[:, :60], iterations=4)
    assert found[:, :60][bare].mean() < 0.01
    assert overlap(found[:, 80:], mask[:, 80:]) > 0.97


def test_smooth_glare_is_not_tissue_but_the_same_colour_grained_is():
    rng = np.random.default_rng(0)
    glare = np.zeros((400, 400))
    glare[100:300, 100:300] = 0.03
    glare = ndimage.gaussian_filter(glare, 20)[..., None] * STAINS[1]
    assert not tissue_mask(picture(glare), UM).any()
    grained = glare * (1 + ndimage.gaussian_filter(rng.normal(0, 3, (400, 400)), 1)[..., None])
    assert tissue_mask(picture(grained), UM)[150:250, 150:250].mean() > 0.9


def test_fat_is_tissue():
    """Membranes 8 um wide around cells of 80 um, on glass: no pixel of them need be as dark as stroma."""
    rows, cols = np.indices((400, 400))
    net = ((rows % 10 == 0) | (cols % 10 == 0)) & (np.hypot(rows - 200, cols - 200) < 110)
    found = tissue_mask(picture(ndimage.gaussian_filter(net * 0.25, 0.5)[..., None] * STAINS[1]), UM)
    assert found[np.hypot(rows - 200, cols - 200) < 100].mean() > 0.95
    assert not found[np.hypot(rows - 200, cols - 200) > 125].any()
