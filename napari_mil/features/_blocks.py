"""Read the patches of a grid in blocks of neighbouring tiles, a few blocks ahead of whoever uses them."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SlideError
from ..slides import UnreadableRegionError, best_level, resize_area
from ._ahead import map_ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..slides import Slide
    from ..tiling import TileGrid

_LEAST_FILL = 0.4
_MARGIN_PX = 2  # level pixels around a block, for resampling that looks half a pixel beyond the tile
_LOST_AT_LEAST, _LOST_SHARE = 10, 0.05  # a slide that has lost more than both is not to be judged


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Tiles that are read at once.

    Parameters
    ----------
    tiles : (n,) int64
        Their places in the grid, ascending.
    """

    tiles: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Patches that were read.

    Parameters
    ----------
    tiles : (n,) int64
        Their places in the grid.
    pixels : (n, tile_px, tile_px, 3) uint8
        RGB.
    """

    tiles: NDArray[np.int64]
    pixels: NDArray[np.uint8]


def plan_blocks(slide: Slide, grid: TileGrid, block_px: int) -> list[Block]:
    """Group the tiles of a grid into blocks worth one read each.

    Parameters
    ----------
    slide : Slide
        The slide.
    grid : TileGrid
        Its tiles.
    block_px : int
        Wanted edge of a block in pixels of the level that is read.

    Returns
    -------
    list of Block
        Every tile once. The order depends on nothing but the arguments. Where tiles lie so far apart that most of a
        block would be read for nothing, each is a block of its own.
    """
    if not len(grid):
        return []
    l0_edge = max(block_px * _downsample(slide, grid), grid.tile_l0)
    cells = (grid.l0_rc // l0_edge).astype(np.int64)
    _, cell, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    blocks = []
    for tiles in np.split(np.argsort(cell.ravel(), kind="stable"), np.cumsum(counts)[:-1]):
        l0_rc = grid.l0_rc[tiles]
        box = l0_rc.max(0) - l0_rc.min(0) + grid.tile_l0
        filled = len(tiles) * min(grid.tile_l0, grid.stride_l0) ** 2 / box.prod()
        blocks += [Block(tiles)] if filled >= _LEAST_FILL else [Block(tiles[i : i + 1]) for i in range(len(tiles))]
    return blocks


def read_block(slide: Slide, grid: TileGrid, block: Block) -> NDArray[np.uint8]:
    """Read the patches of a block.

    Parameters
    ----------
    slide : Slide
        The slide.
    grid : TileGrid
        Its tiles.
    block : Block
        Which of them.

    Returns
    -------
    (n, tile_px, tile_px, 3) uint8
        Each as ``Slide.read_patch`` gives it: from the best level, averaged over area.

    Raises
    ------
    UnreadableRegionError
        Where the slide is damaged there.
    SlideError
        Where the slide is closed, or its file no longer opens.
    """
    level = best_level(slide, grid.tile_l0 / grid.tile_px)
    scale = np.asarray(slide.level_scales[level])
    corners = grid.l0_rc[block.tiles] / scale  # (n, 2) level pixels
    tall, wide = (float(v) for v in grid.tile_l0 / scale)
    row, col = (math.floor(v) - _MARGIN_PX for v in corners.min(0))
    bottom, right = (math.ceil(v) + _MARGIN_PX for v in corners.max(0) + grid.tile_l0 / scale)
    pixels = slide.read(level, row, col, bottom - row, right - col)
    out = np.empty((len(corners), grid.tile_px, grid.tile_px, 3), np.uint8)
    for patch, (r, c) in zip(out, corners, strict=True):
        patch[:] = resize_area(pixels, r - row, c - col, tall, wide, patch.shape[:2])
    return out


def iter_batches(
    slide: Slide, grid: TileGrid, blocks: Sequence[Block], *, read: NDArray[np.bool_], batch_size: int, threads: int
) -> Generator[Patches | None, None, None]:
    """Yield the patches of blocks in order, in batches of one size; read by threads a few blocks ahead.

    Patches whose place on the slide is damaged are left out, as long as they are few.

    Parameters
    ----------
    slide : Slide
        The slide.
    grid : TileGrid
        Its tiles.
    blocks : sequence of Block
        What to read.
    read : (len(grid),) bool
        Tiles to pass over, having been read before.
    batch_size : int
        Patches a batch; the last may have fewer.
    threads : int
        Reading threads.

    Yields
    ------
    Patches or None
        A batch; None about every tenth of a second while waiting, so that the caller can report and be cancelled.

    Raises
    ------
    SlideError
        Where the slide can no longer be read at all, or more than a twentieth of its patches (and more than ten)
        cannot, or none can; all patches before have been yielded.
    """
    waiting: list[Patches] = []
    count = lost = 0
    work = partial(_read_readable, slide, grid)
    left = [Block(block.tiles[~read[block.tiles]]) for block in blocks if not read[block.tiles].all()]
    with closing(map_ahead(work, left, threads=threads, name="napari-mil-read")) as blocks_read:
        try:
            for found in blocks_read:
                if found is None:
                    yield None
                    continue
                patches, errors = found
                lost += len(errors)
                if errors:
                    _refuse_too_many(slide, grid, lost, errors[0])
                waiting.append(patches)
                count += len(patches.tiles)
                if count >= batch_size:
                    pool = _joined(waiting)
                    whole = count - count % batch_size
                    for start in range(0, whole, batch_size):
                        yield _part(pool, start, start + batch_size)
                    waiting, count = [_part(pool, whole, count, copy=True)], count - whole
        except SlideError:
            if count:
                yield _joined(waiting)
            raise
    if count:
        yield _joined(waiting)


def _read_readable(slide: Slide, grid: TileGrid, block: Block) -> tuple[Patches, list[UnreadableRegionError]]:
    """Read the patches of a block that can be read, and return one error for each that cannot."""
    try:
        return Patches(block.tiles, read_block(slide, grid, block)), []
    except UnreadableRegionError as error:
        if len(block.tiles) == 1:
            return Patches(block.tiles[:0], np.empty((0, grid.tile_px, grid.tile_px, 3), np.uint8)), [error]
    # one damaged place must not cost its neighbours: each tile by itself
    alone = [_read_readable(slide, grid, Block(block.tiles[i : i + 1])) for i in range(len(block.tiles))]
    return _joined([patches for patches, _ in alone]), [error for _, errors in alone for error in errors]


def _refuse_too_many(slide: Slide, grid: TileGrid, lost: int, error: UnreadableRegionError) -> None:
    most = max(_LOST_AT_LEAST, int(_LOST_SHARE * len(grid)))
    if lost > most or lost == len(grid):
        found = f"More than {most:,}" if lost > most else "All"
        raise SlideError(
            f"{found} of the {len(grid):,} patches of {slide.path} cannot be read, too many to be left out. "
            "The file is damaged; copy it again from the scanner."
        ) from error


def _joined(parts: Sequence[Patches]) -> Patches:
    return Patches(np.concatenate([p.tiles for p in parts]), np.concatenate([p.pixels for p in parts]))


def _part(patches: Patches, start: int, stop: int, *, copy: bool = False) -> Patches:
    """Return some patches in a row; copied where the others are to be let go of."""
    pixels = patches.pixels[start:stop]
    return Patches(patches.tiles[start:stop], pixels.copy() if copy else pixels)


def _downsample(slide: Slide, grid: TileGrid) -> float:
    return slide.level_downsamples[best_level(slide, grid.tile_l0 / grid.tile_px)]
