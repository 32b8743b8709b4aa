"""Slides made on the spot whose every pixel is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

WriteSlide = Callable[..., Path]

MPP = 0.2653
# level-0 (row, col) of the centre, where whole numbers are pixel centres as in napari, and the channel it darkens
BLOBS = {
    (301.25, 402.5): 0,
    (1200.0, 1777.3): 1,
    (1511.6, 333.3): 2,
    (333.3, 1999.9): 1,
}


def scene(shape: tuple[int, int], scale: tuple[float, float]) -> np.ndarray:
    """Sample one smooth scene at the pixel centres of a level: no level is made from another."""
    row = (np.arange(shape[0]) + 0.5) * scale[0] - 0.5
    col = (np.arange(shape[1]) + 0.5) * scale[1] - 0.5
    picture = np.full((*shape, 3), 230.0)
    for (r, c), channel in BLOBS.items():
        spot = np.exp(-((row - r) ** 2) / (2 * 40**2))[:, None] * np.exp(-((col - c) ** 2) / (2 * 40**2))
        picture[..., channel] -= 200 * spot
    return np.rint(picture).astype(np.uint8)


def _write(
    path: Path, levels: Sequence[np.ndarray | tuple[int, int]], *, mpp: tuple[float, float] | None = (MPP, MPP)
) -> Path:
    """Write levels as a tiled pyramid; a bare shape stands for a level without any tile."""
    resolution: dict[str, object] = {}
    if mpp is not None:
        resolution = {"resolution": (1e4 / mpp[1], 1e4 / mpp[0]), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for k, level in enumerate(levels):
            common = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate", "metadata": None}
            common |= resolution | {"subfiletype": int(k > 0)}
            if isinstance(level, tuple):
                count = -(-level[0] // 256) * -(-level[1] // 256)
                empty: Iterator[bytes] = iter([b""] * count)
                tiff.write(empty, shape=(*level, 3), dtype=np.uint8, **common)
            else:
                tiff.write(level, **common)
    return path


@pytest.fixture(scope="session")
def write_slide() -> WriteSlide:
    """Return the function that writes arrays as a slide."""
    return _write


@pytest.fixture(scope="session")
def blobs() -> dict[tuple[float, float], int]:
    """Return the fiducials of `fiducial_slide`: level-0 centre to channel."""
    return BLOBS


@pytest.fixture(scope="session")
def fiducial_levels() -> list[np.ndarray]:
    """Return the levels of `fiducial_slide`: odd sizes, one halved as writers do, one of steps that are not whole."""
    return [
        scene((1801, 2203), (1, 1)),
        scene((900, 1101), (2, 2)),
        scene((333, 408), (1801 / 333, 2203 / 408)),
    ]


@pytest.fixture(scope="session")
def fiducial_slide(tmp_path_factory: pytest.TempPathFactory, fiducial_levels: list[np.ndarray]) -> Path:
    """Return a slide with blobs at known places."""
    return _write(tmp_path_factory.mktemp("fiducial") / "fiducial.tif", fiducial_levels)


@pytest.fixture(scope="session")
def noise_levels() -> list[np.ndarray]:
    """Return one level of noise, so that a pixel out of place cannot go unnoticed."""
    return [np.random.default_rng(0).integers(0, 256, (1301, 2699, 3), dtype=np.uint8)]


@pytest.fixture(scope="session")
def noise_slide(tmp_path_factory: pytest.TempPathFactory, noise_levels: list[np.ndarray]) -> Path:
    """Return a slide of a single level of noise."""
    return _write(tmp_path_factory.mktemp("noise") / "noise ü.tif", noise_levels)


@pytest.fixture
def broken_tile_slide(tmp_path: Path, noise_levels: list[np.ndarray]) -> Path:
    """Return a slide whose tile at tile row 2, tile column 3 is damaged."""
    path = _write(tmp_path / "damaged.tif", noise_levels)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        index = 2 * -(-noise_levels[0].shape[1] // 256) + 3
        offset, size = page.dataoffsets[index], page.databytecounts[index]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * size)
    return path
