"""Faults that once got through: areas of pixels that are not square, and very small pictures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from napari_mil.errors import TilingError
from napari_mil.slides import open_slide
from napari_mil.tiling import TissueMask, find_tissue, tile
from napari_mil.tiling._tile import tile_grid


def test_area_is_exact_where_pixels_are_not_square() -> None:
    mask = TissueMask(np.ones((150, 200), bool), (10.0, 10.0), (0.5, 1.0), 10.0)
    grid = tile_grid((1500, 2000), (0.5, 1.0), mask, tile_px=64, mpp=1.0)
    area = len(grid) * grid.tile_mm2
    assert area == pytest.approx(len(grid) * grid.stride_l0**2 * 0.5 / 1e6)
    assert area <= 1500 * 2000 * 0.5 / 1e6


def picture(height: int, width: int, mpp: float, colour: tuple[int, int, int]) -> SimpleNamespace:
    def thumbnail(max_px: int) -> tuple[np.ndarray, tuple[float, float]]:
        shrink = max(1.0, max(height, width) / max_px)
        shape = max(1, round(height / shrink)), max(1, round(width / shrink))
        return np.full((*shape, 3), colour, np.uint8), (height / shape[0], width / shape[1])

    return SimpleNamespace(shape=(height, width), mpp=(mpp, mpp), level_downsamples=(1.0,), thumbnail=thumbnail)


@pytest.mark.parametrize(("height", "width", "mpp"), [(1, 1, 0.5), (1, 1, 1.0), (30, 30, 0.05)])
def test_a_picture_smaller_than_a_mask_pixel_is_no_accident(height: int, width: int, mpp: float) -> None:
    slide = picture(height, width, mpp, (200, 80, 150))
    mask = find_tissue(slide)
    with pytest.raises(TilingError, match="smaller than one tile"):
        tile(slide, mask, tile_px=64, mpp=1.0)


def test_a_small_stained_cut_out_is_tissue() -> None:
    slide = picture(200, 300, 0.5, (200, 80, 150))
    grid = tile(slide, find_tissue(slide), tile_px=64, mpp=0.5)
    assert len(grid) == 3 * 4


@pytest.mark.parametrize(("height", "width", "mpp"), [(1, 1, 0.5), (30, 30, 0.05)])
def test_a_file_smaller_than_a_mask_pixel_is_no_accident(tmp_path: Path, height: int, width: int, mpp: float) -> None:
    path = tmp_path / "tiny.tif"
    rgb = np.full((height, width, 3), (200, 80, 150), np.uint8)
    scale = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, rgb, tile=(16, 16), photometric="rgb", metadata=None, **scale)
    with open_slide(path) as slide, pytest.raises(TilingError, match="smaller than one tile"):
        tile(slide, find_tissue(slide), tile_px=64, mpp=1.0)


def test_remedies_are_those_that_a_run_and_the_panel_have() -> None:
    unknown = SimpleNamespace(shape=(900, 900), mpp=None, path=Path("/slides/a.svs"))
    full = TissueMask(np.ones((9, 9), bool), (100.0, 100.0), (0.5, 0.5), 10.0)
    with pytest.raises(TilingError, match='in the panel\'s "Scale" field, with --slide-mpp'):
        tile(unknown, full)
    with pytest.raises(TilingError, match=r"Choose a model or an encoder with smaller tiles, or check"):
        tile_grid((100, 900), (0.5, 0.5), full, tile_px=128, mpp=0.5)
