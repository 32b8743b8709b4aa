"""Resampling: identities that hold whatever the picture."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mil.slides import best_level, open_slide, read_scaled, resize_area
from napari_mil.slides._resample import cover

NOISE = np.random.default_rng(2).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def mean_over_area(picture, row, col, height, width, out_shape):
    """Average by brute force: 40 samples per source pixel and axis."""
    fine = 40
    out = np.empty((*out_shape, 3))
    big = np.repeat(np.repeat(picture.astype(float), fine, 0), fine, 1)
    for i in range(out_shape[0]):
        r0, r1 = (round((row + k * height / out_shape[0]) * fine) for k in (i, i + 1))
        for j in range(out_shape[1]):
            c0, c1 = (round((col + k * width / out_shape[1]) * fine) for k in (j, j + 1))
            out[i, j] = big[r0:r1, c0:c1].mean((0, 1))
    return out


def test_whole_windows_are_copied():
    assert np.array_equal(resize_area(NOISE, 3, 5, 20, 30, (20, 30)), NOISE[3:23, 5:35])
    assert np.array_equal(resize_area(NOISE, 0, 0, 64, 96, (64, 96)), NOISE)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_whole_factors_are_block_means(factor):
    rows, cols = 48 // factor, 72 // factor
    got = resize_area(NOISE, 1, 2, 48, 72, (rows, cols))
    blocks = NOISE[1:49, 2:74].reshape(rows, factor, cols, factor, 3).mean((1, 3))
    assert np.abs(got - blocks).max() <= 0.5 + 1e-3


@pytest.mark.parametrize(
    ("window", "out_shape"),
    [((0, 0, 64, 96), (23, 41)), ((3.25, 7.6, 30.5, 44.2), (11, 12)), ((0.5, 0.5, 50, 60), (50, 60))],
)
def test_other_factors_are_means_over_the_true_area(window, out_shape):
    truth = mean_over_area(NOISE, *window, out_shape)
    assert np.abs(resize_area(NOISE, *window, out_shape) - truth).max() <= 0.5 + 3


def test_enlarging_interpolates_linearly():
    got = resize_area(NOISE, 10, 20, 10, 10, (20, 20))
    rows = 10 + (np.arange(20) + 0.5) / 2 - 0.5
    cols = 20 + (np.arange(20) + 0.5) / 2 - 0.5
    down = np.stack([[np.interp(rows, np.arange(64), NOISE[:, c, k]) for k in range(3)] for c in range(96)])
    truth = np.stack([[np.interp(cols, np.arange(96), down[:, k, r]) for k in range(3)] for r in range(20)])
    assert np.abs(got - truth.transpose(0, 2, 1)).max() <= 0.5 + 1e-3


@settings(deadline=None, max_examples=60)
@given(
    row=st.floats(0, 20), col=st.floats(0, 20), size=st.floats(4, 40), out=st.integers(1, 60), level=st.integers(0, 255)
)
def test_plain_stays_plain_and_slopes_stay_put(row, col, size, out, level):
    plain = np.full((64, 64, 3), level, np.uint8)
    assert (resize_area(plain, row, col, size, size, (out, out)) == level).all()
    # the mean of a slope over an area is its value in the middle: any shift in the geometry shows
    slope = np.repeat((np.arange(64, dtype=np.uint8) * 4)[:, None], 64, 1)[..., None]
    got = resize_area(slope, row, col, size, size, (out, out))[:, 0, 0]
    middle = row + (np.arange(out) + 0.5) * size / out - 0.5
    reach = max(size / out, 1) / 2
    inside = (middle - reach >= -0.5) & (middle + reach <= 63.5)
    # pixels are steps: cutting through one misses the slope by up to an eighth of a step at either end
    assert np.abs(got - 4 * middle)[inside].max(initial=0) <= 0.51 + 0.5 / reach / 2


@settings(deadline=None)
@given(start=st.floats(0, 50), length=st.floats(1, 50), out=st.integers(1, 80))
def test_cover_is_all_that_is_looked_at(start, length, out):
    picture = np.random.default_rng(3).integers(0, 256, (110, 1, 1), dtype=np.uint8)
    whole = resize_area(picture, start + 4, 0, length, 1, (out, 1))
    first, last = cover(start + 4, length, out)
    part = resize_area(picture[first:last], start + 4 - first, 0, length, 1, (out, 1))
    # rounding at a pixel's very edge may tip one grey value
    assert np.abs(whole.astype(int) - part).max() <= 1


@pytest.mark.parametrize(
    ("wanted", "level"), [(0.5, 0), (1, 0), (1.9, 0), (1.96, 0), (1.97, 1), (1.9999, 1), (3.97, 2), (3.9, 1), (100, 3)]
)
def test_the_coarsest_level_that_is_fine_enough(wanted, level):
    slide = SimpleNamespace(level_downsamples=(1.0, 2.00055, 3.9998, 16.1))
    assert best_level(slide, wanted) == level


def test_patches_show_the_scene_wherever_they_come_from(fiducial_slide, blobs):
    """Centre a patch on each blob at many scales: its centroid is the patch's centre."""
    with open_slide(fiducial_slide) as slide:
        for edge in (240.0, 301.7, 512.4):
            for out_px in (48, 97, 224, 500):
                for (row, col), channel in blobs.items():
                    # centres of pixels are whole numbers there, edges are here: half a pixel between the two
                    patch = slide.read_patch(row + 0.5 - edge / 2, col + 0.5 - edge / 2, edge, out_px)
                    darkness = 230.0 - np.minimum(patch[..., channel], 230)
                    rows, cols = np.indices(darkness.shape)
                    r, c = (rows * darkness).sum() / darkness.sum(), (cols * darkness).sum() / darkness.sum()
                    l0_per_px = edge / out_px
                    assert patch.shape == (out_px, out_px, 3)
                    assert abs(r - (out_px - 1) / 2) * l0_per_px < 0.5 * max(1, l0_per_px)
                    assert abs(c - (out_px - 1) / 2) * l0_per_px < 0.5 * max(1, l0_per_px)


def test_a_patch_over_the_edge_has_background_there(noise_slide, noise_levels):
    with open_slide(noise_slide) as slide:
        patch = slide.read_patch(-50, 10, 100, 50)
        assert (patch[:25] == 255).all()
        assert np.array_equal(patch[25:], resize_area(noise_levels[0], 0, 10, 50, 100, (25, 50)))


def test_read_scaled_need_not_be_square(noise_slide, noise_levels):
    with open_slide(noise_slide) as slide:
        got = read_scaled(slide, 100.5, 200.25, 300, 500, (100, 400))
    assert np.array_equal(got, resize_area(noise_levels[0], 100.5, 200.25, 300, 500, (100, 400)))


def test_thumbnail_is_the_slide_in_small(noise_slide, noise_levels, fiducial_slide):
    with open_slide(noise_slide) as slide:
        rgb, l0_per_px = slide.thumbnail(1500)
        assert rgb.shape == (723, 1500, 3)
        assert l0_per_px == (1301 / 723, 2699 / 1500)
        assert np.abs(rgb.astype(int) - resize_area(noise_levels[0], 0, 0, 1301, 2699, (723, 1500))).max() <= 1
        rgb, l0_per_px = slide.thumbnail(10_000)
        assert l0_per_px == (1, 1)
        assert np.array_equal(rgb, noise_levels[0])
    with open_slide(fiducial_slide) as slide:
        rgb, l0_per_px = slide.thumbnail(500)
        assert rgb.shape == (409, 500, 3)
        whole = read_scaled(slide, 0, 0, *slide.shape, rgb.shape[:2])
        # OpenSlide's mean downsample reaches a fifth of a pixel past the level's far edge, into the background
        assert np.abs(rgb.astype(int) - whole).max() <= 4
