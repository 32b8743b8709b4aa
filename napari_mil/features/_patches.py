"""Read the patches of a grid in batches, a few batches ahead of whoever uses them.

A thread reads a whole batch into the array that the encoder is given: nothing is joined or copied afterwards. Which
patches make a batch follows from the grid alone, so that an interrupted run goes on with the very same batches.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SlideError
from ..slides import UnreadableRegionError, best_level, cover, empty_rgb, resize_windows
from ._ahead import map_ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..slides import Slide
    from ..tiling import TileGrid

_LEAST_FILL = 0.9
_BLOCK_BYTES = 64 * 2**20
"""A box is read at once, by every thread its own: a batch of tiles much finer than the patches would take gigabytes."""

_LOST_AT_LEAST, _LOST_SHARE = 10, 0.05  # a slide that has lost more than both is not to be judged


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


def plan_batches(slide: Slide, grid: TileGrid, *, batch_size: int, block_px: int) -> list[NDArray[np.int64]]:
    """Divide the tiles of a grid into batches of neighbours.

    Parameters
    ----------
    slide : Slide
        The slide.
    grid : TileGrid
        Its tiles.
    batch_size : int
        Tiles a batch; the last may have fewer.
    block_px : int
        Edge in pixels of the squares of the level that is read, one of which is done with before the next.

    Returns
    -------
    list of (n,) int64
        Places in the grid, each once. They depend on nothing but the arguments.
    """
    level = best_level(slide, grid.tile_l0 / grid.tile_px)
    l0_edge = max(block_px * slide.level_downsamples[level], grid.tile_l0)
    cell_row, cell_col = (grid.l0_rc // l0_edge).astype(np.int64).T
    order = np.lexsort((cell_col, cell_row)).astype(np.int64)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def iter_batches(
    slide: Slide, grid: TileGrid, batches: Iterable[NDArray[np.int64]], *, threads: int
) -> Generator[Patches | None, None, None]:
    """Yield the patches of batches in order; read by threads a few batches ahead.

    Patches whose place on the slide is damaged are left out, as long as they are few.

    Parameters
    ----------
    slide : Slide
        The slide.
    grid : TileGrid
        Its tiles.
    batches : iterable of (n,) int64
        Which tiles to read at once; each is asked for a few batches before its turn.
    threads : int
        Reading threads.

    Yields
    ------
    Patches or None
        A batch with at least one patch; None about every tenth of a second while waiting, so that the caller can
        report and be cancelled.

    Raises
    ------
    SlideError
        Where the slide can no longer be read at all, or more than a twentieth of its patches (and more than ten)
        cannot, or none can; all batches before have been yielded.
    """
    lost = 0
    work = partial(read_batch, slide, grid)
    with closing(map_ahead(work, batches, threads=threads, name="napari-mil-read")) as read:
        for found in read:
            if found is None:
                yield None
                continue
            patches, errors = found
            if len(patches.tiles):
                yield patches
            lost += len(errors)
            if errors:
                _refuse_too_many(slide, grid, lost, errors[0])


def read_batch(slide: Slide, grid: TileGrid, tiles: NDArray[np.int64]) -> tuple[Patches, list[UnreadableRegionError]]:
    """Read the patches of a batch.

    Parameters
    ----------
    slide : Slide
        The slide.
    grid : TileGrid
        Its tiles.
    tiles : (n,) int64
        Places in the grid.

    Returns
    -------
    patches : Patches
        Each as ``Slide.read_patch`` gives it: from the best level, averaged over area.
    errors : list of UnreadableRegionError
        One for each tile that is left out because the slide is damaged there.

    Raises
    ------
    SlideError
        Where the slide is closed, or its file no longer opens.
    """
    level = best_level(slide, grid.tile_l0 / grid.tile_px)
    scale = np.asarray(slide.level_scales[level])
    corners = grid.l0_rc[tiles] / scale  # (n, 2) level pixels
    size = grid.tile_l0 / scale
    out = empty_rgb(len(tiles), grid.tile_px, grid.tile_px, 3)
    good = np.ones(len(tiles), bool)
    errors = []
    as_stored = bool((size == grid.tile_px).all() and not (corners % 1).any())
    apart = as_stored and (slide.keeps_rest or _whole_pieces(slide, level, corners, size))
    step = np.minimum(size, grid.stride_l0 / scale)
    # in the order of the file, from the end of the list
    pending = [np.array([k]) for k in range(len(tiles))][::-1] if apart else _blocks(corners, size, step)
    while pending:
        members = pending.pop()
        try:
            if as_stored and len(members) == 1:
                k = int(members[0])
                row, col = corners[k].astype(int).tolist()
                slide.read(level, row, col, grid.tile_px, grid.tile_px, out[k])
            else:
                _read_block(slide, level, corners[members], size, out, members)
        except UnreadableRegionError as error:
            if len(members) > 1:  # one damaged place must not cost its neighbours: each tile by itself
                pending += [members[k : k + 1] for k in range(len(members))]
            else:
                good[members] = False
                errors.append(error)
    return (Patches(tiles, out) if good.all() else Patches(tiles[good], out[good])), errors


def _whole_pieces(slide: Slide, level: int, corners: NDArray[np.float64], size: NDArray[np.float64]) -> bool:
    """Whether tiles are whole pieces as the file stores them, so that they have none in common."""
    stored = np.asarray(slide.level_tiles[level])
    return not (size % stored).any() and not (corners % stored).any()


def _blocks(
    corners: NDArray[np.float64], size: NDArray[np.float64], step: NDArray[np.float64]
) -> list[NDArray[np.int64]]:
    """Divide tiles into boxes in which little would be read for nothing, none larger than `_BLOCK_BYTES` if avoidable.

    Where much would be, they are cut where the halves have the least area; where a box is only large, in its middle.
    """
    first, last = corners.min(0), corners.max(0)
    area = float((last - first + size).prod())
    # of tiles that overlap only what each adds to its neighbours counts
    rim = float(size.prod() - step.prod())
    if len(corners) * step.prod() + rim >= _LEAST_FILL * ((last - first + step).prod() + rim):
        if 3 * area <= _BLOCK_BYTES or not (last > first).any():
            return [np.arange(len(corners))]
        axis = int(np.argmax(last - first))
        near = corners[:, axis] <= (first[axis] + last[axis]) / 2
        halves = np.flatnonzero(near), np.flatnonzero(~near)
        return [half[block] for half in halves for block in _blocks(corners[half], size, step)]
    orders = [np.argsort(corners[:, axis], kind="stable") for axis in range(2)]
    areas = [_areas(corners[o], size)[:-1] + _areas(corners[o[::-1]], size)[-2::-1] for o in orders]
    axis = int(areas[1].min() < areas[0].min())
    order, cut = orders[axis], int(np.argmin(areas[axis])) + 1
    return [half[block] for half in (order[:cut], order[cut:]) for block in _blocks(corners[half], size, step)]


def _areas(corners: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the area of the box around the first tile, the first two, and so on."""
    areas: NDArray[np.float64] = (np.maximum.accumulate(corners) - np.minimum.accumulate(corners) + size).prod(1)
    return areas


def _read_block(
    slide: Slide,
    level: int,
    corners: NDArray[np.float64],
    size: NDArray[np.float64],
    out: NDArray[np.uint8],
    members: NDArray[np.int64],
) -> None:
    """Read the box around some tiles and resample each into its place in ``out``."""
    tall, wide = (float(v) for v in size)
    edge = out.shape[1]
    (row, col), (last_row, last_col) = corners.min(0), corners.max(0)
    # not a pixel more than resampling looks at: one beyond a tile of the file costs a tile
    top, bottom = cover(row, tall, edge)[0], cover(last_row, tall, edge)[1]
    left, right = cover(col, wide, edge)[0], cover(last_col, wide, edge)[1]
    pixels = slide.read(level, top, left, bottom - top, right - left)
    begin, end = int(members[0]), int(members[0]) + len(members)
    in_a_row = np.array_equal(members, np.arange(begin, end))
    found = out[begin:end] if in_a_row else np.empty((len(members), *out.shape[1:]), np.uint8)
    resize_windows(pixels, corners - (top, left), (tall, wide), found)
    if not in_a_row:
        out[members] = found


def _refuse_too_many(slide: Slide, grid: TileGrid, lost: int, error: UnreadableRegionError) -> None:
    most = max(_LOST_AT_LEAST, int(_LOST_SHARE * len(grid)))
    if lost > most or lost == len(grid):
        found = f"More than {most:,}" if lost > most else "All"
        raise SlideError(
            f"{found} of the {len(grid):,} patches of {slide.path} cannot be read, too many to be left out. "
            "The file is damaged; copy it again from the scanner."
        ) from error
