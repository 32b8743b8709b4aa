"""Read the patches of a grid in blocks of neighbouring tiles, a few blocks ahead of whoever uses them."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SlideError
from ..slides import best_level, resize_area
from ._ahead import map_ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..slides import Slide
    from ..tiling import TileGrid

_LEAST_FILL = 0.4
_MARGIN_PX = 2  # level pixels around a block, for resampling that looks half a pixel beyond the tile


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Tiles that are read at once.

    Parameters
    ----------
    tiles : (n,) int64
        Their places in the grid, ascending.
    """

    tiles: NDArray[np.int64]


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
    SlideError
        Where the slide cannot be read there.
    """
    level = best_level(slide, grid.tile_l0 / grid.tile_px)
    downsample = slide.level_downsamples[level]
    corners = grid.l0_rc[block.tiles] / downsample  # (n, 2) level pixels
    edge = grid.tile_l0 / downsample
    row, col = (math.floor(v) - _MARGIN_PX for v in corners.min(0))
    bottom, right = (math.ceil(v + edge) + _MARGIN_PX for v in corners.max(0))
    pixels = slide.read(level, row, col, bottom - row, right - col)
    out = np.empty((len(corners), grid.tile_px, grid.tile_px, 3), np.uint8)
    for patch, (r, c) in zip(out, corners, strict=True):
        patch[:] = resize_area(pixels, r - row, c - col, edge, edge, patch.shape[:2])
    return out


def iter_batches(
    slide: Slide, grid: TileGrid, blocks: Sequence[Block], *, skip: int, batch_size: int, threads: int
) -> Generator[NDArray[np.uint8] | None, None, None]:
    """Yield the patches of blocks in order, in batches of one size; read by threads a few blocks ahead.

    Parameters
    ----------
    slide : Slide
        The slide.
    grid : TileGrid
        Its tiles.
    blocks : sequence of Block
        What to read.
    skip : int
        Leave out so many patches at the beginning.
    batch_size : int
        Patches a batch; the last may have fewer.
    threads : int
        Reading threads.

    Yields
    ------
    (n, tile_px, tile_px, 3) uint8 or None
        A batch; None about every tenth of a second while waiting, so that the caller can report and be cancelled.

    Raises
    ------
    SlideError
        Where a block cannot be read; all patches before it have been yielded.
    """
    waiting: list[NDArray[np.uint8]] = []
    count = 0
    read = partial(read_block, slide, grid)
    with closing(map_ahead(read, _remaining(blocks, skip), threads=threads, name="napari-mil-read")) as blocks_read:
        try:
            for patches in blocks_read:
                if patches is None:
                    yield None
                    continue
                waiting.append(patches)
                count += len(patches)
                if count >= batch_size:
                    pool = np.concatenate(waiting)
                    whole = count - count % batch_size
                    for start in range(0, whole, batch_size):
                        yield pool[start : start + batch_size]
                    waiting, count = [pool[whole:].copy()], count - whole
        except SlideError:
            if count:
                yield np.concatenate(waiting)
            raise
    if count:
        yield np.concatenate(waiting)


def _remaining(blocks: Sequence[Block], skip: int) -> Iterator[Block]:
    for block in blocks:
        if skip < len(block.tiles):
            yield Block(block.tiles[skip:]) if skip else block
            skip = 0
        else:
            skip -= len(block.tiles)


def _downsample(slide: Slide, grid: TileGrid) -> float:
    return slide.level_downsamples[best_level(slide, grid.tile_l0 / grid.tile_px)]
