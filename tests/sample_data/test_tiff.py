"""The pyramid writer: OpenSlide and tifffile read back what was written, and equal tiles are stored once."""

from __future__ import annotations

import numpy as np
import openslide
import pytest
import tifffile

from sample_data import _tiff


@pytest.fixture
def picture() -> np.ndarray:
    """Return a smooth (700, 900, 3) picture that JPEG keeps nearly exactly."""
    y, x = np.mgrid[:700, :900]
    return np.stack([100 + y * 0.1, 120 + x * 0.1, np.full(y.shape, 200)], -1).astype(np.uint8)


def test_openslide_reads_back_shapes_scale_and_pixels(tmp_path, picture):
    levels = _tiff.pyramid_of(picture, [1, 2.5, 6])
    path = _tiff.write_slide(tmp_path / "s.tif", levels, 0.25, quality=95, subsampling=0, description="a test")
    with openslide.OpenSlide(path) as slide:
        assert slide.level_dimensions == ((900, 700), (360, 280), (150, 117))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25, rel=1e-6)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(0.25, rel=1e-6)
        assert slide.properties["tiff.ImageDescription"] == "a test"
        for k, level in enumerate(levels):
            read = np.asarray(slide.read_region((0, 0), k, slide.level_dimensions[k]).convert("RGB")).astype(int)
            assert np.abs(read - level).max() <= 6


def test_tifffile_agrees_with_openslide(tmp_path, picture):
    path = _tiff.write_slide(tmp_path / "s.tif", _tiff.pyramid_of(picture), 0.5)
    with tifffile.TiffFile(path) as tif, openslide.OpenSlide(path) as slide:
        assert tif.is_bigtiff
        assert [page.shape[:2] for page in tif.pages] == [(h, w) for w, h in slide.level_dimensions]
        assert [page.is_reduced for page in tif.pages] == [False, True]
        read = np.asarray(slide.read_region((0, 0), 0, (900, 700)).convert("RGB")).astype(int)
        assert np.abs(tif.pages[0].asarray().astype(int) - read).max() <= 2


@pytest.mark.parametrize("downsample", [2, 2.5, 7.3])
def test_levels_keep_brightness(downsample):
    rgb = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    level = _tiff.pyramid_of(rgb, [1, downsample])[1]
    assert level.shape == (round(400 / downsample), round(600 / downsample), 3)
    assert np.abs(level.mean((0, 1)) - rgb.mean((0, 1))).max() < 1


def test_default_levels_double_to_512_px():
    assert [level.shape[:2] for level in _tiff.pyramid_of(np.zeros((1500, 2100, 3), np.uint8))] == [
        (1500, 2100),
        (750, 1050),
        (375, 525),
        (188, 262),
    ]


def test_equal_tiles_are_stored_once(tmp_path):
    tile = _tiff.encode_tile(np.full((256, 256, 3), 200, np.uint8))
    one = _tiff.write_levels(tmp_path / "one.tif", [_tiff.Level((256, 256), [tile])], 1.0).stat().st_size
    many = _tiff.write_levels(tmp_path / "many.tif", [_tiff.Level((2560, 2560), [tile] * 100)], 1.0).stat().st_size
    assert many - one < 100 * 12 + 64  # offset and count of a tile, never its bytes
    with tifffile.TiffFile(tmp_path / "many.tif") as tif:
        assert len(set(tif.pages[0].dataoffsets)) == 1


def test_edge_tiles_are_padded_not_stretched(picture):
    tiles = list(_tiff.cut_tiles(picture, 256))
    assert len(tiles) == 12
    np.testing.assert_array_equal(tiles[-1][: 700 - 512, : 900 - 768], picture[512:, 768:])
    np.testing.assert_array_equal(tiles[-1][700 - 512 :, 0], np.broadcast_to(picture[-1, 768], (324 - 256, 3)))


def test_wrong_number_of_tiles_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs 4 tiles of 256 px, got 1"):
        _tiff.write_levels(tmp_path / "x.tif", [_tiff.Level((300, 300), [b"x"])], 1.0)


@pytest.mark.parametrize("mpp", [0, -1.0, float("nan")])
def test_scale_must_be_positive(tmp_path, mpp):
    with pytest.raises(ValueError, match="mpp must be positive"):
        _tiff.write_levels(tmp_path / "x.tif", [], mpp)
