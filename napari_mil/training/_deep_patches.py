"""The patches that fine-tuning looks at: spread over the tissue, decoded once, kept on disk while they are needed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..counting import counted
from ..errors import ExportError, SlideError, TilingError
from ..features import EncoderInfo, iter_batches, plan_batches
from ..files import cannot_write
from ..progress import Progress, Steps
from ..slides import Slide, open_slide
from ..tiling import TileGrid, find_tissue, tile
from ._deep_slides import STAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH, _BLOCK_PX = 64, 512
_JITTER = 0.1  # most by which brightness, contrast and saturation of a bag change, as a share


class PatchStore:
    """A file without a name for patches: gone at the end, and after a kill.

    Parameters
    ----------
    folder : Path
        On whose disk.
    most_bytes : int
        Most that will be kept.

    Raises
    ------
    ExportError
        If the disk has not room for so many bytes, or may not be written.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        try:
            free = shutil.disk_usage(folder).free
            if most_bytes > free:
                raise ExportError(
                    f"The patches take up to {most_bytes / 1e9:.1f} GB on disk while training, and {folder} has "
                    f"{free / 1e9:.1f} GB free. Choose another folder, or fewer patches a slide (--patches-per-slide)."
                )
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by `close`)
        except OSError as err:
            raise ExportError(cannot_write(folder, err)) from err

    def keep(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Write an array and return it as a view of the file."""
        try:
            at = self._file.seek(0, os.SEEK_END)
            self._file.write(pixels.data)
            self._file.flush()
        except OSError as err:
            raise ExportError(cannot_write(self._folder, err)) from err
        return np.memmap(self._file, np.uint8, "r", at, pixels.shape)

    def close(self) -> None:
        """Let the file go; views that are left keep their pixels."""
        self._file.close()


def iter_pools(
    paths: Sequence[Path],
    encoder: EncoderInfo,
    store: PatchStore,
    *,
    most: int,
    seed: int,
    slide_mpp: float | None,
) -> Steps[list[NDArray[np.uint8]]]:
    """Read patches of every slide into a store, yielding Progress.

    Tissue and tiles are found as a run finds them. Of a slide with more than `most` tiles, as many are taken as spread
    evenly over its tissue.

    Parameters
    ----------
    paths : sequence of Path
        The cohort's slides.
    encoder : EncoderInfo
        Says which patches.
    store : PatchStore
        Where their pixels are kept.
    most : int
        Most patches a slide.
    seed : int
        Seed of which.
    slide_mpp : float or None
        Microns per level-0 pixel of slides that do not state it.

    Yields
    ------
    Progress
        In slides.

    Returns
    -------
    list of (n, T, T, 3) uint8
        RGB, views of the store in the cohort's order; neighbours in a list are neighbours on the slide.

    Raises
    ------
    SlideError, TilingError
        Where a slide cannot be read, has no scale or no tissue.
    """
    kept: list[NDArray[np.uint8]] = []
    for row, path in enumerate(paths):
        yield Progress(STAGE, row, len(paths), message=path.name, unit="slides")
        with open_slide(path, mpp=slide_mpp) as slide:
            part = spread_tiles(_grid(slide, path, encoder), most, np.random.default_rng([seed, row]))
            pixels = yield from _read(slide, part, row, len(paths))
        kept.append(store.keep(pixels))
    return kept


def _grid(slide: Slide, path: Path, encoder: EncoderInfo) -> TileGrid:
    try:
        return tile(slide, find_tissue(slide), tile_px=encoder.tile_px, mpp=encoder.mpp)
    except TilingError as err:
        raise TilingError(f"{path.name}: {err}") from err


def _read(slide: Slide, grid: TileGrid, row: int, n_slides: int) -> Steps[NDArray[np.uint8]]:
    """Read all patches of a grid, in its order less those that are damaged."""
    pixels = np.empty((len(grid), grid.tile_px, grid.tile_px, 3), np.uint8)
    read = np.zeros(len(grid), bool)
    plan = plan_batches(slide, grid, batch_size=_BATCH, block_px=_BLOCK_PX)
    for patches in iter_batches(slide, grid, plan, threads=min(8, os.cpu_count() or 1)):
        if patches is not None:
            pixels[patches.tiles], read[patches.tiles] = patches.pixels, True
        message = f"{slide.path.name}, {int(read.sum()):,} of {counted(len(grid), 'patch')}"
        yield Progress(STAGE, row, n_slides, message=message, unit="slides")
    if not read.any():
        raise SlideError(f"No patch of {slide.path} can be read. The file is damaged; copy it again from the scanner.")
    return pixels if read.all() else pixels[read]


def spread_tiles(grid: TileGrid, most: int, rng: np.random.Generator) -> TileGrid:
    """Return at most so many tiles of a grid, spread evenly over them, neighbours after one another.

    Tiles are put in the order of a Morton curve (Z-order), which keeps together what lies together, and one is drawn
    from each of `most` stretches of equal length.

    Parameters
    ----------
    grid : TileGrid
        The tiles.
    most : int
        How many at most.
    rng : Generator
        Draws.

    Returns
    -------
    TileGrid
        In the curve's order.
    """
    cells = np.rint(grid.l0_rc / grid.stride_l0).astype(np.uint64)  # (N, 2)
    code = np.zeros(len(cells), np.uint64)
    for bit in range(32):
        for axis in range(2):
            code |= (cells[:, axis] >> np.uint64(bit) & np.uint64(1)) << np.uint64(2 * bit + 1 - axis)
    chosen = np.argsort(code, kind="stable")[spread(len(cells), most, rng)]
    return replace(grid, l0_rc=grid.l0_rc[chosen], tissue_fraction=grid.tissue_fraction[chosen])


def spread(count: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return at most `most` of the places 0 to count - 1, ascending: one drawn from each stretch of equal length."""
    k = min(count, most)
    edges = np.arange(k + 1, dtype=np.int64) * count // k
    places: NDArray[np.int64] = edges[:-1] + np.floor(rng.random(k) * np.diff(edges)).astype(np.int64)
    return places


def as_images(pixels: NDArray[np.uint8]) -> Tensor:
    """Return patches (N, T, T, 3) as a tensor (N, 3, T, T) uint8, copied out of the store."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def augmented(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return patches as another section might show them.

    Each is turned and mirrored at random (one of the square's eight symmetries); brightness, contrast (about the bag's
    mean) and saturation of the whole bag, as of a slide's stain and scanner, change by up to a tenth each.

    Parameters
    ----------
    images : (N, 3, T, T) uint8
        Patches.
    rng : Generator
        Draws.

    Returns
    -------
    (N, 3, T, T) uint8
        As many.
    """
    turned = images.clone()
    symmetry = torch.from_numpy(rng.integers(0, 8, len(images)))
    for k in range(1, 8):
        some = symmetry == k
        view = images[some].rot90(k % 4, (2, 3))
        turned[some] = view.flip(3) if k >= 4 else view
    brightness, contrast, saturation = (1 + rng.uniform(-_JITTER, _JITTER, 3)).tolist()
    colours = turned.float()
    grey = colours.mean(1, keepdim=True)
    colours = grey + (colours - grey) * saturation
    mean = colours.mean()
    changed: Tensor = ((mean + (colours - mean) * contrast) * brightness).round_().clamp_(0, 255)
    return changed.to(torch.uint8)
