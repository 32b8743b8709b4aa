"""The grid: where tiles lie, how many there are, and what share of each is tissue."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from napari_mil.errors import TilingError
from napari_mil.tiling import TissueMask, tile, tile_grid

FULL = TissueMask(np.ones((1, 1), bool), (1e6, 1e6), (0.5, 0.5), 15.0)


def mask_over(mask: np.ndarray, shape: tuple[int, int]) -> TissueMask:
    return TissueMask(mask, (shape[0] / mask.shape[0], shape[1] / mask.shape[1]), (0.5, 0.5), 15.0)


def test_a_plain_grid():
    grid = tile_grid((1000, 1500), (0.25, 0.25), mask_over(np.ones((10, 10), bool), (1000, 1500)), tile_px=128)
    # 128 px at 0.5 um are 256 level-0 px at 0.25
    assert grid.tile_l0 == grid.stride_l0 == 256
    assert grid.tile_um == 64
    assert grid.l0_rc.tolist() == [[r, c] for r in (0, 256, 512) for c in (0, 256, 512, 768, 1024)]
    assert grid.l0_rc.dtype == np.int64
    assert grid.tissue_fraction.dtype == np.float32
    assert (grid.tissue_fraction == 1).all()


def test_a_stride_that_is_not_whole_does_not_drift():
    mpp = 0.2653
    grid = tile_grid((60_000, 3000), (mpp, mpp), mask_over(np.ones((10, 10), bool), (60_000, 3000)))
    rows = np.unique(grid.l0_rc[:, 0])
    assert grid.tile_l0 == pytest.approx(256 * 0.5 / mpp)
    assert np.abs(rows - np.arange(len(rows)) * 256 * 0.5 / mpp).max() <= 0.5


def test_pixels_that_are_not_square_share_their_geometric_mean():
    grid = tile_grid((2000, 2000), (0.2, 0.3), mask_over(np.ones((4, 4), bool), (2000, 2000)), tile_px=100, mpp=1)
    assert grid.tile_l0 == pytest.approx(100 / math.sqrt(0.06))


geometry = {
    "height": st.integers(50, 3000),
    "width": st.integers(50, 3000),
    "tile_px": st.integers(16, 300),
    "stride_px": st.integers(8, 400),
    "mpp": st.floats(0.2, 4),
    "slide_mpp": st.floats(0.1, 1.1),
}


@settings(deadline=None, max_examples=150)
@given(**geometry)
def test_full_tissue_gives_every_tile_that_fits(height, width, tile_px, stride_px, mpp, slide_mpp):
    tile_l0, stride_l0 = tile_px * mpp / slide_mpp, stride_px * mpp / slide_mpp
    assume(tile_l0 <= min(height, width) and mpp * 2.2 >= slide_mpp and stride_l0 > 5)
    full = mask_over(np.ones((3, 5), bool), (height, width))
    grid = tile_grid((height, width), (slide_mpp, slide_mpp), full, tile_px=tile_px, mpp=mpp, stride_px=stride_px)
    rows = [k for k in range(10_000) if k * stride_l0 <= height and round(k * stride_l0) + tile_l0 <= height + 1e-4]
    cols = [k for k in range(10_000) if k * stride_l0 <= width and round(k * stride_l0) + tile_l0 <= width + 1e-4]
    assert len(grid) == len(rows) * len(cols)
    # closed form, but for the one tile that rounding of its corner may win or lose
    assert abs(len(rows) - (math.floor((height - tile_l0) / stride_l0) + 1)) <= 1
    assert (grid.l0_rc >= 0).all()
    assert (grid.l0_rc + grid.tile_l0 <= np.array([height, width]) + 1e-3).all()
    assert grid.tissue_fraction == pytest.approx(1, abs=1e-6)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 10_000),
    share=st.floats(0.05, 0.95),
    min_tissue=st.integers(0, 900).map(lambda k: k / 1000),
    **geometry,
)
def test_tissue_share_is_exact(seed, share, min_tissue, height, width, tile_px, stride_px, mpp, slide_mpp):
    tile_l0, stride_l0 = tile_px * mpp / slide_mpp, stride_px * mpp / slide_mpp
    assume(tile_l0 <= min(height, width) and mpp * 2.2 >= slide_mpp and stride_l0 > 20)
    mask = mask_over(np.random.default_rng(seed).random((17, 23)) < share, (height, width))
    options = {"tile_px": tile_px, "mpp": mpp, "stride_px": stride_px}
    every = tile_grid((height, width), (slide_mpp, slide_mpp), mask, min_tissue=0, **options)
    # raster order, no tile twice
    assert every.l0_rc.tolist() == sorted(map(list, set(map(tuple, every.l0_rc.tolist()))))

    def overlap(start, length, count, step):
        edges = np.arange(count + 1) * step
        return np.clip(np.minimum(edges[1:], start + length) - np.maximum(edges[:-1], start), 0, None)

    for (r, c), fraction in list(zip(every.l0_rc, every.tissue_fraction, strict=True))[:30]:
        weight_r = overlap(r, tile_l0, 17, mask.l0_per_px[0])
        weight_c = overlap(c, tile_l0, 23, mask.l0_per_px[1])
        assert fraction == pytest.approx(weight_r @ mask.mask @ weight_c / tile_l0**2, abs=1e-5)
    keep = every.tissue_fraction.astype(float) >= min_tissue + 1e-5
    if not keep.any():
        return
    some = tile_grid((height, width), (slide_mpp, slide_mpp), mask, min_tissue=min_tissue, **options)
    # tissue decides which tiles are kept, never where they lie
    assert {tuple(rc) for rc in some.l0_rc} <= {tuple(rc) for rc in every.l0_rc}
    assert (some.tissue_fraction >= min_tissue - 1e-6).all()
    assert abs(len(some) - int(keep.sum())) <= int((np.abs(every.tissue_fraction - min_tissue) < 3e-5).sum())


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000), slide_mpp=st.floats(0.2, 1))
def test_tissue_is_covered(seed, slide_mpp):
    """Any tissue away from the slide's far edges lies under a tile."""
    shape = (2000, 2600)
    spots = np.random.default_rng(seed).random((40, 52)) < 0.02
    assume(spots.any())
    grid = tile_grid(shape, (slide_mpp, slide_mpp), mask_over(spots, shape), tile_px=64, mpp=0.5, min_tissue=0)
    for row, col in np.argwhere(spots):
        r, c = row * 50 + 25, col * 50 + 25
        if r + grid.tile_l0 < shape[0] and c + grid.tile_l0 < shape[1]:
            under = (grid.l0_rc <= [r, c]) & ([r, c] < grid.l0_rc + grid.tile_l0 + 1)
            assert under.all(axis=1).any()


def test_overlap_multiplies_the_tiles():
    shape = (2048, 2048)
    full = mask_over(np.ones((2, 2), bool), shape)
    plain = tile_grid(shape, (0.5, 0.5), full, tile_px=256)
    half = tile_grid(shape, (0.5, 0.5), full, tile_px=256, stride_px=128)
    assert len(plain) == 64
    assert len(half) == 15**2
    assert half.tile_l0 == 256
    assert half.stride_l0 == 128
    assert half.tile_mm2 == pytest.approx(plain.tile_mm2 / 4)


@pytest.mark.parametrize(
    ("shape", "slide_mpp", "mask", "options", "says"),
    [
        ((1000, 1000), 0.5, np.ones((5, 5), bool), {"mpp": 0.2}, r"too coarse for patches at 0\.2 um.*0\.23 um"),
        ((200, 1000), 0.5, np.ones((5, 5), bool), {}, r"200 x 1000 pixels, smaller than one tile of 256 pixels"),
        ((1000, 1000), 0.5, np.zeros((5, 5), bool), {}, r"No tissue was found"),
        ((1000, 1000), 0.5, np.eye(5, dtype=bool), {"min_tissue": 0.95}, r"95% tissue \(the best has"),
    ],
)
def test_each_failure_has_its_sentence(shape, slide_mpp, mask, options, says):
    with pytest.raises(TilingError, match=says):
        tile_grid(shape, (slide_mpp, slide_mpp), mask_over(mask, shape), **options)


def test_a_slide_without_scale_names_the_remedies():
    from pathlib import Path

    slide = SimpleNamespace(mpp=None, path=Path("/slides/a.svs"), shape=(10, 10))
    with pytest.raises(TilingError, match=r"a\.svs does not say .* --slide-mpp, or open_slide\(path, mpp=\.\.\.\)"):
        tile(slide, FULL)


@pytest.mark.parametrize("options", [{"tile_px": 0}, {"mpp": 0}, {"stride_px": -1}, {"min_tissue": 1.1}])
def test_nonsense_is_refused(options):
    with pytest.raises(ValueError, match="must be"):
        tile_grid((1000, 1000), (0.5, 0.5), FULL, **options)


def test_just_within_the_finest_allowed():
    grid = tile_grid((1000, 1000), (1.0112, 1.0112), mask_over(np.ones((5, 5), bool), (1000, 1000)), mpp=0.5)
    assert grid.tile_l0 == pytest.approx(126.58, abs=0.01)


def test_a_real_slide(shared_data):
    from napari_mil.slides import open_slide
    from napari_mil.tiling import find_tissue

    with open_slide(shared_data / "slides" / "breast-lobular-10x.tif") as slide:
        mask = find_tissue(slide)
        grid = tile(slide, mask, tile_px=256, mpp=1)
        # tissue by tiles is tissue by mask, but for tiles under a quarter full
        by_tiles = float(grid.tissue_fraction.sum()) * grid.tile_mm2
        assert by_tiles == pytest.approx(mask.area_mm2, rel=0.06)
        # and the patches are stained
        for k in (0, len(grid) // 2, len(grid) - 1):
            patch = slide.read_patch(*grid.l0_rc[k], grid.tile_l0, 64).astype(int)
            assert (patch.max(axis=2) - patch.min(axis=2)).mean() > 5
