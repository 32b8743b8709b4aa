"""A gigapixel pyramid in seconds: few tiles, each used in many places."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ._noise import Noise
from ._stain import GLASS_RGB
from ._tiff import TILE_PX, Level, encode_tile, write_levels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SWATCH_TILES = 4
_SEED = 5


def write_sparse_pyramid(
    path: str | Path,
    shape: tuple[int, int] = (80_000, 100_000),
    mpp: float = 0.25,
    levels: int | None = None,
    tile: int = TILE_PX,
) -> Path:
    """Write a huge BigTIFF pyramid whose tissue repeats a few tiles.

    Every level shows the same picture: an irregular piece of tissue, about a third of the slide, made of one painted
    swatch of 4 x 4 tiles laid edge to edge; glass elsewhere.

    Parameters
    ----------
    path : path
        File to write; a few megabytes.
    shape : (int, int)
        Height and width of level 0 in pixels.
    mpp : float
        Microns per level-0 pixel.
    levels : int, optional
        How many levels, each half the one before; until the longer edge is at most 1024 px if omitted.
    tile : int
        Edge of a tile in pixels, a multiple of 16.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the shape, the number of levels or the tile is not positive, or the tile no multiple of 16.
    """
    if min(shape) < 1 or (levels is not None and levels < 1) or tile < 16 or tile % 16:
        raise ValueError(f"cannot tile a slide of {shape} px in {levels} levels with tiles of {tile} px")
    if levels is None:
        levels = max(1, 1 + int(np.ceil(np.log2(max(shape) / 1024))))
    mask = _tissue(-(-shape[0] // tile), -(-shape[1] // tile))
    swatch = _swatch(_SWATCH_TILES * tile)
    made = [
        Level(
            (max(1, round(shape[0] / 2**k)), max(1, round(shape[1] / 2**k))),
            _tiles(mask, swatch, k, tile, (max(1, round(shape[0] / 2**k)), max(1, round(shape[1] / 2**k)))),
        )
        for k in range(levels)
    ]
    return write_levels(Path(path), made, mpp, tile=tile, description="napari-mil: generated sparse pyramid")


def _tissue(rows: int, cols: int) -> NDArray[np.bool_]:
    """Return which level-0 tiles are tissue: a bumpy ellipse with holes, touching no edge."""
    y, x = np.meshgrid(
        np.linspace(-1, 1, rows, dtype=np.float32), np.linspace(-1, 1, cols, dtype=np.float32), indexing="ij"
    )
    noise = Noise(_SEED)
    field = 0.72 - np.hypot(y, 0.95 * x) + 0.11 * noise("sparse", y, x, 0.35) + 0.05 * noise("sparse-fine", y, x, 0.1)
    holes = noise("sparse-holes", y, x, 0.22) > 1.5
    return np.asarray((field > 0) & ~holes & (np.maximum(np.abs(y), np.abs(x)) < 0.97))


def _swatch(edge: int) -> NDArray[np.uint8]:
    """Return (edge, edge, 3) uint8 RGB of painted tissue without glass, at 0.5 um/px."""
    from .painter import paint_slide, plan_slide

    margin = 300
    across = edge + 2 * margin
    plan = plan_slide((across, across), 0.5, _SEED, lesion=True, everywhere=True)
    return paint_slide(plan)[margin:-margin, margin:-margin]


def _tiles(
    mask: NDArray[np.bool_], swatch: NDArray[np.uint8], level: int, tile: int, shape: tuple[int, int]
) -> Iterator[bytes]:
    """Yield the encoded tiles of one level; those that show the same part of swatch and mask are encoded once."""
    rows, cols = -(-shape[0] // tile), -(-shape[1] // tile)
    span = 2**level
    period = max(1, _SWATCH_TILES // span)
    texture = _texture(swatch, level, tile)
    padded = np.zeros((rows * span, cols * span), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask[: rows * span, : cols * span]

    @cache
    def encoded(row: int, col: int, cover: bytes) -> bytes:
        part = texture[row * tile : (row + 1) * tile, col * tile : (col + 1) * tile]
        small = Image.frombytes("L", (span, span), cover)
        alpha = np.asarray(
            small.resize((tile, tile), Image.Resampling.NEAREST if span <= tile else Image.Resampling.BOX)
        )
        glass = np.asarray(GLASS_RGB)
        return encode_tile(np.rint(glass + (alpha[..., None] / 255.0) * (part - glass)).astype(np.uint8))

    for row in range(rows):
        for col in range(cols):
            cover = padded[row * span : (row + 1) * span, col * span : (col + 1) * span]
            if not cover.any():
                yield encoded(0, 0, bytes(span * span))
            else:
                yield encoded(row % period, col % period, (cover * np.uint8(255)).tobytes())


def _texture(swatch: NDArray[np.uint8], level: int, tile: int) -> NDArray[np.uint8]:
    """Return the swatch as a level shows it, repeated until it fills at least one tile."""
    edge = max(1, swatch.shape[0] >> level)
    small = np.asarray(Image.fromarray(swatch).resize((edge, edge), Image.Resampling.BOX))
    times = -(-tile // edge)
    return np.tile(small, (times, times, 1))
