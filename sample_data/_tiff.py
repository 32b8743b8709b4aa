"""Write tiled JPEG BigTIFF pyramids that OpenSlide's generic-tiff driver reads, storing equal tiles once.

General TIFF writers give every tile its own bytes. Here tiles that are equal share one place in the file: empty glass
costs nothing, and a slide of gigapixels takes seconds and megabytes (BigTIFF: Adobe TIFF 6.0 with 8-byte offsets).
"""

from __future__ import annotations

import io
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from numpy.typing import NDArray

TILE_PX = 256
QUALITY = 72
SMALLEST_PX = 512

_SHORT, _LONG, _RATIONAL, _LONG8, _ASCII = 3, 4, 5, 16, 2
_FORMATS = {_SHORT: "H", _LONG: "I", _RATIONAL: "I", _LONG8: "Q", _ASCII: "B"}


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a pyramid: its size and its encoded tiles.

    Parameters
    ----------
    shape : (int, int)
        Height and width in level pixels.
    tiles : iterable of bytes
        JPEG streams of ``tile`` x ``tile`` pixels in raster order, as many as cover the level.
    """

    shape: tuple[int, int]
    tiles: Iterable[bytes]


def encode_tile(rgb: NDArray[np.uint8], quality: int = QUALITY, subsampling: int = 2) -> bytes:
    """Return the JPEG stream of one (tile, tile, 3) uint8 RGB tile; ``subsampling`` 2 is 4:2:0, 0 is 4:4:4."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling=subsampling, optimize=True)
    return buffer.getvalue()


def pyramid_of(rgb: NDArray[np.uint8], downsamples: Sequence[float] | None = None) -> list[NDArray[np.uint8]]:
    """Return the levels of a picture, each averaged from level 0.

    Parameters
    ----------
    rgb : (h, w, 3) uint8
        Level 0.
    downsamples : sequence of float, optional
        Of all levels, the first being 1; need not be whole. Doubling to a longer edge of at most 512 px if omitted.

    Returns
    -------
    list of (h_k, w_k, 3) uint8
        Level shapes are rounded, and each level is resampled to exactly its own shape, so that the ratio of shapes
        is the true downsample. (A Hamming window: a box of whole pixels would shift by up to half a pixel.)
    """
    height, width = rgb.shape[:2]
    if downsamples is None:
        downsamples = [1.0]
        while max(height, width) / downsamples[-1] > SMALLEST_PX:
            downsamples.append(downsamples[-1] * 2)
    picture = Image.fromarray(rgb)
    sizes = [(max(1, round(width / d)), max(1, round(height / d))) for d in downsamples]
    return [rgb] + [np.asarray(picture.resize(size, Image.Resampling.HAMMING)) for size in sizes[1:]]


def write_slide(
    path: Path,
    rgb_levels: Sequence[NDArray[np.uint8]],
    mpp: float,
    *,
    tile: int = TILE_PX,
    quality: int = QUALITY,
    subsampling: int = 2,
    description: str = "",
) -> Path:
    """Write pictures as the levels of a pyramidal TIFF.

    Parameters
    ----------
    path : Path
        File to write.
    rgb_levels : sequence of (h, w, 3) uint8
        Level 0 first.
    mpp : float
        Microns per level-0 pixel.
    tile, quality, subsampling : int
        Tile edge in px, JPEG quality (1 to 95) and chroma subsampling (2 is 4:2:0, 0 is 4:4:4).
    description : str
        Text for ImageDescription.
    """
    with ThreadPoolExecutor(2) as pool:
        levels = [
            Level(rgb.shape[:2], pool.map(lambda t: encode_tile(t, quality, subsampling), cut_tiles(rgb, tile)))
            for rgb in rgb_levels
        ]
        return write_levels(path, levels, mpp, tile=tile, subsampling=subsampling, description=description)


def cut_tiles(rgb: NDArray[np.uint8], tile: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the (tile, tile, 3) tiles of a picture in raster order, the last row and column padded by their edge."""
    height, width = rgb.shape[:2]
    for row in range(0, height, tile):
        for col in range(0, width, tile):
            piece = rgb[row : row + tile, col : col + tile]
            missing = ((0, tile - piece.shape[0]), (0, tile - piece.shape[1]), (0, 0))
            yield (
                np.pad(piece, missing, mode="edge") if piece.shape[:2] != (tile, tile) else np.ascontiguousarray(piece)
            )


def write_levels(
    path: Path, levels: Sequence[Level], mpp: float, *, tile: int = TILE_PX, subsampling: int = 2, description: str = ""
) -> Path:
    """Write encoded levels as a BigTIFF in which equal tiles share their bytes.

    Raises
    ------
    ValueError
        If a level brings another number of tiles than cover it.
    """
    if not mpp > 0:
        raise ValueError(f"mpp must be positive, not {mpp}")
    path = Path(path)
    stored: dict[bytes, int] = {}
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        link_at = 8
        for index, level in enumerate(levels):
            offsets, counts = _write_tiles(file, level, tile, stored)
            tags = _tags(level.shape, tile, subsampling, mpp, description, reduced=index > 0)
            tags[324] = (_LONG8, offsets)
            tags[325] = (_LONG, counts)
            link_at = _write_directory(file, tags, link_at)
    return path


def _write_tiles(file: BinaryIO, level: Level, tile: int, stored: dict[bytes, int]) -> tuple[list[int], list[int]]:
    """Write the tiles not yet in the file; return the offset and the byte count of every tile of the level."""
    offsets, counts = [], []
    end = file.tell()
    for data in level.tiles:
        place = stored.get(data)
        if place is None:
            place = stored[data] = end
            end += file.write(data)
        offsets.append(place)
        counts.append(len(data))
    expected = -(-level.shape[0] // tile) * -(-level.shape[1] // tile)
    if len(offsets) != expected:
        raise ValueError(f"a level of shape {level.shape} needs {expected} tiles of {tile} px, got {len(offsets)}")
    return offsets, counts


def _tags(
    shape: tuple[int, int], tile: int, subsampling: int, mpp: float, description: str, *, reduced: bool
) -> dict[int, tuple[int, list[int]]]:
    """Return TIFF tags as {tag: (type, values)}; OpenSlide takes reduced-resolution directories as levels."""
    per_cm = [round(1e4 / mpp * 10_000), 10_000]
    factor = 2 if subsampling == 2 else 1
    return {
        254: (_LONG, [int(reduced)]),  # NewSubfileType
        256: (_LONG, [shape[1]]),
        257: (_LONG, [shape[0]]),
        258: (_SHORT, [8, 8, 8]),
        259: (_SHORT, [7]),  # compression: JPEG
        262: (_SHORT, [6]),  # photometric: YCbCr
        270: (_ASCII, [*description.encode("ascii", "replace"), 0]),
        277: (_SHORT, [3]),
        282: (_RATIONAL, per_cm),
        283: (_RATIONAL, per_cm),
        284: (_SHORT, [1]),
        296: (_SHORT, [3]),  # resolution unit: centimetre
        322: (_LONG, [tile]),
        323: (_LONG, [tile]),
        530: (_SHORT, [factor, factor]),  # YCbCrSubSampling
    }


def _write_directory(file: BinaryIO, tags: dict[int, tuple[int, list[int]]], link_at: int) -> int:
    """Write one directory and link it from ``link_at``; return where the link to the next one goes."""
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        data = struct.pack(f"<{len(values)}{_FORMATS[kind]}", *values)
        count = len(values) // 2 if kind == _RATIONAL else len(values)
        if len(data) > 8:
            file.write(b"\0" * (-file.tell() % 8))
            place = struct.pack("<Q", file.tell())
            file.write(data)
        else:
            place = data.ljust(8, b"\0")
        entries += struct.pack("<HHQ", tag, kind, count) + place
    file.write(b"\0" * (-file.tell() % 8))
    start = file.tell()
    file.write(struct.pack("<Q", len(tags)) + entries + struct.pack("<Q", 0))
    end = file.tell()
    file.seek(link_at)
    file.write(struct.pack("<Q", start))
    file.seek(end)
    return end - 8
