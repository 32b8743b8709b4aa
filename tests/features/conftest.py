"""A small slide with structure at every scale, its tiles, and encoders whose numbers can be foretold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from scipy.ndimage import gaussian_filter

from napari_mil.features import Encoder, EncoderInfo, Features
from napari_mil.slides import Slide, SlideRef, open_slide
from napari_mil.tiling import TileGrid

SHAPE = (1200, 1600)


def _tissue(shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(7)
    layers = [gaussian_filter(rng.standard_normal((*shape, 3)), (s, s, 0)) * s * 25 for s in (1, 4, 16)]
    return np.clip(np.array([200, 130, 180]) + sum(layers), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a pyramidal TIFF, 1200 x 1600 px at 0.5 um/px, levels 1, 2 and 4, not compressed."""
    path = tmp_path_factory.mktemp("slide") / "tissue.tif"
    image = _tissue(SHAPE)
    with tifffile.TiffWriter(path) as writer:
        for level in range(3):
            step = 2**level
            half = (
                image.reshape(SHAPE[0] // step, step, SHAPE[1] // step, step, 3).mean((1, 3)).round().astype(np.uint8)
            )
            writer.write(
                half,
                tile=(256, 256),
                photometric="rgb",
                subfiletype=1 if level else 0,
                resolution=(20000 / step, 20000 / step),
                resolutionunit="CENTIMETER",
            )
    return path


@pytest.fixture
def slide(slide_path: Path) -> Iterator[Slide]:
    with open_slide(slide_path) as opened:
        yield opened


def lay_grid(tile_px: int, mpp: float, *, slide_mpp: float = 0.5, keep: float = 0.8) -> TileGrid:
    """Lay tiles over the slide of `slide_path`, some left out."""
    tile_l0 = tile_px * mpp / slide_mpp
    rows, cols = (np.rint(np.arange(int(n / tile_l0)) * tile_l0).astype(np.int64) for n in SHAPE)
    l0_rc = np.stack(np.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)
    l0_rc = l0_rc[np.random.default_rng(3).random(len(l0_rc)) < keep]
    fraction = np.random.default_rng(4).random(len(l0_rc)).astype(np.float32)
    return TileGrid(l0_rc, tile_l0, tile_l0, tile_px, mpp, fraction)


class Quarters(torch.nn.Module):
    """The mean colour of each quarter of a patch: 12 numbers that can be foretold."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(batch, 2).flatten(1)


def make_quarters(tile_px: int, mpp: float, module: torch.nn.Module | None = None) -> Encoder:
    info = EncoderInfo("quarters", "1", "", 12, tile_px, mpp)
    return Encoder(module or Quarters(), info, title="Quarters", source="test", licence="")


@pytest.fixture
def grid() -> TileGrid:
    """Return about 900 tiles of 32 px at 0.53 um/px: their edge is 33.92 level-0 pixels."""
    return lay_grid(32, 0.53)


@pytest.fixture
def quarters() -> Encoder:
    return make_quarters(32, 0.53)


@pytest.fixture
def bag(grid: TileGrid) -> Features:
    values = np.random.default_rng(0).standard_normal((len(grid), 12)).astype(np.float32)
    info = EncoderInfo("quarters", "1", "0123456789abcdef", 12, 32, 0.53)
    return Features(values, grid, info, SlideRef("/slides/ß x.tif", "abc", (0.5, 0.49999999999999994), SHAPE))


@pytest.fixture
def tools() -> object:
    """Return this module's makers, for tests that need other sizes."""
    import types

    return types.SimpleNamespace(lay_grid=lay_grid, make_quarters=make_quarters, Quarters=Quarters)


@pytest.fixture(autouse=True)
def own_models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep tests away from the user's models."""
    folder = tmp_path / "models"
    monkeypatch.setenv("NAPARI_MIL_MODELS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Keep small operations from waiting for one another on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
