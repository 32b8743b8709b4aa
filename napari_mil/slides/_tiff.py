"""Reading TIFF files directly: the stored tiles of a window, decoded in the reading thread by libjpeg-turbo and kin.

Four times as fast as OpenSlide and more (benchmarks/read.py): no copy through ARGB, no lock, no look at transparency.
For files that OpenSlide knows too, it still says what the file is; only the pixels come from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SlideError
from ._cache import TileCache
from ._file_bytes import FileBytes
from ._jpeg import empty_rgb
from ._segments import Segments
from ._source import MAX_PIECE_BYTES, UnreadableRegionError
from ._tiff_colour import ToRgb, rgb_converter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tifffile import TiffPage

    from ._source import Source

_KEPT_BYTES = 256 * 2**20
"""Of decoded tiles and strips that were needed in part: enough for the edges of a row of blocks across a slide."""


class NotCoveredError(Exception):
    """A file is not covered by one way of reading; the message is a clause that says why."""


class TiffLevel:
    """One level: a TIFF image, or three grey ones that are its colours.

    Parameters
    ----------
    pages : sequence of tifffile.TiffPage
        One, or three of one sample each.
    file : FileBytes
        Their file.
    cache : TileCache
        For decoded tiles and strips that were needed in part.
    background : (int, int, int)
        Colour of tiles that the file leaves out.

    Raises
    ------
    NotCoveredError
        If its pixels cannot be shown, or its pieces are too large.
    """

    def __init__(
        self, pages: Sequence[TiffPage], file: FileBytes, cache: TileCache, background: tuple[int, int, int]
    ) -> None:
        first = pages[0]
        if first.dtype is None or first.is_contiguous is None or not all(first.shape):
            raise NotCoveredError("its first image is not described")
        self._planes = [Segments(page, file, cache) for page in pages]
        self._per_page = self._planes[0].planes
        self._first = self._planes[0]
        self.shape, self.tile = self._first.shape, self._first.tile
        if any(plane.shape != self.shape or plane.tile != self.tile for plane in self._planes):
            raise NotCoveredError("its colour planes differ in size")
        self.nbytes = sum(plane.nbytes * plane.planes for plane in self._planes)
        if self.nbytes > MAX_PIECE_BYTES:
            raise NotCoveredError(
                f"it is stored in pieces of {self.tile[0]:,} x {self.tile[1]:,} pixels, too large to be decoded one by "
                "one: it can be read when it is saved in tiles"
            )
        samples = len(pages) if len(pages) > 1 else first.samplesperpixel
        convert, self.note = rgb_converter(first, samples)
        if convert is None:
            raise NotCoveredError(self.note)
        self._convert: ToRgb = convert
        self._fills = len(pages) == 1 and self._first.is_rgb
        self._background = np.array(background, np.uint8)

    @property
    def whole(self) -> bool:
        """Whether no tile is left out of the file."""
        return all(plane.whole for plane in self._planes)

    @property
    def listed(self) -> bool:
        """Whether the file has a place, if an empty one, for every tile."""
        return all(plane.listed for plane in self._planes)

    def beyond(self, size: int) -> tuple[int, int]:
        """Return how many of the stored pieces lie beyond a file's size, and how many there are."""
        counts = [plane.beyond(size) for plane in self._planes]
        return sum(beyond for beyond, _ in counts), sum(pieces for _, pieces in counts)

    def read(
        self, row: int, col: int, height: int, width: int, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Return a window inside the level, (height, width, 3) uint8: ``out``, or a new array."""
        tile_h, tile_w = self.tile
        out = empty_rgb(height, width, 3) if out is None else out
        for tile_row in range(row // tile_h, (row + height - 1) // tile_h + 1):
            top = tile_row * tile_h
            r0, r1 = max(row, top), min(row + height, top + tile_h)
            for tile_col in range(col // tile_w, (col + width - 1) // tile_w + 1):
                left = tile_col * tile_w
                c0, c1 = max(col, left), min(col + width, left + tile_w)
                self._copy(tile_row, tile_col, r0 - top, c0 - left, out[r0 - row : r1 - row, c0 - col : c1 - col])
        return out

    def _copy(self, tile_row: int, tile_col: int, row: int, col: int, out: NDArray[np.uint8]) -> None:
        """Fill ``out`` from what a tile holds from (row, col) of its own on."""
        (tile_h, tile_w), (rows, cols) = self.tile, self.shape
        index, (height, width, _) = tile_row * self._first.across + tile_col, out.shape
        if self._fills and (height, width) == self.tile and out.flags.c_contiguous:
            if not self._first.fill(index, out):
                out[:] = self._background
            return
        # of a tile that is needed in part, a neighbour will want the rest
        in_part = (height, width) != (min(tile_h, rows - tile_row * tile_h), min(tile_w, cols - tile_col * tile_w))
        piece = self._piece(index, keep=in_part)
        if piece is None:
            out[:] = self._background
            return
        part = piece[row : row + height, col : col + width]
        if part.shape[:2] != (height, width):
            raise UnreadableRegionError(
                f"the tile at row {tile_row * tile_h}, column {tile_col * tile_w} is smaller than it claims"
            )
        out[:] = self._convert(part)

    def _piece(self, index: int, *, keep: bool) -> NDArray[Any] | None:
        parts = [plane.get(index + k * plane.count, keep=keep) for plane in self._planes for k in range(self._per_page)]
        if len(parts) == 1:
            return parts[0]
        present = [part for part in parts if part is not None]
        return np.concatenate(present, axis=2) if len(present) == len(parts) else None


class TiffSource:
    """A TIFF file read directly; see `Source` for what each attribute and method means.

    Parameters
    ----------
    file : pathlib.Path
        The file.
    levels : sequence of sequence of tifffile.TiffPage
        The images of each level.
    inner : Source, optional
        Another source of the same file, for all but its pixels; closed with this one.
    properties : mapping of str to str
        What the file says of itself, where there is no inner source.
    icc_profile : bytes, optional
        The profile of its colours, likewise.
    why : str
        Why this reads the file.

    Raises
    ------
    NotCoveredError
        If it cannot be read this way.
    """

    name = "direct decoding"
    keeps_rest = True

    def __init__(
        self,
        file: Path,
        levels: Sequence[Sequence[TiffPage]],
        *,
        inner: Source | None = None,
        properties: Mapping[str, str] | None = None,
        icc_profile: bytes | None = None,
        why: str,
    ) -> None:
        self._path, self._inner, self.why = file, inner, why
        self._bytes = FileBytes(file)
        self._kept = TileCache(_KEPT_BYTES)
        self.background = (255, 255, 255) if inner is None else inner.background
        self._levels = [TiffLevel(pages, self._bytes, self._kept, self.background) for pages in levels]
        # a piece that did not fit would be decoded for every window of it
        self._kept.max_bytes = max(_KEPT_BYTES, *(level.nbytes for level in self._levels))
        self.level_shapes = tuple(level.shape for level in self._levels)
        self.level_tiles = tuple(level.tile for level in self._levels)
        notes = tuple(note for note in (self._levels[0].note, self._cut_short()) if note)
        if inner is None:
            height, width = self.level_shapes[0]
            self.level_downsamples: tuple[float, ...] = tuple(
                (height / h + width / w) / 2 for h, w in self.level_shapes
            )
            self.properties: Mapping[str, str] = MappingProxyType(dict(properties or {}))
            self.associated: tuple[str, ...] = ()
            self.icc_profile, self.notes = icc_profile, notes
        else:
            self.level_downsamples, self.properties = inner.level_downsamples, inner.properties
            self.associated, self.icc_profile = inner.associated, inner.icc_profile
            self.notes = (*inner.notes, *notes)

    @property
    def closed(self) -> bool:
        return self._bytes.closed

    @property
    def whole(self) -> bool:
        """Whether no tile of any level is left out of the file."""
        return all(level.whole for level in self._levels)

    @property
    def listed(self) -> bool:
        """Whether the file has a place, if an empty one, for every piece of every level."""
        return all(level.listed for level in self._levels)

    def _cut_short(self) -> str:
        """Say how much of the finest level lies beyond the file's end."""
        finest = self._levels[0]
        beyond, pieces = finest.beyond(self._path.stat().st_size)
        return (
            f"the file is cut short: {beyond:,} of {pieces:,} pieces of its finest level are missing" if beyond else ""
        )

    def read(
        self, level: int, row: int, col: int, height: int, width: int, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        try:
            return self._levels[level].read(row, col, height, width, out)
        except UnreadableRegionError as error:
            raise UnreadableRegionError(
                f"{self._path} cannot be read at row {row}, column {col} (level {level}, {height} x {width} px: "
                f"{error}). The file is damaged there; copy it again from the scanner."
            ) from error

    def associated_image(self, name: str) -> NDArray[np.uint8]:
        if self._inner is None:
            raise SlideError(f"{self._path} has no picture named {name!r}.")
        return self._inner.associated_image(name)

    def rest(self) -> None:
        self._bytes.rest()
        self._kept.clear()
        if self._inner is not None:
            self._inner.rest()

    def close(self) -> None:
        self._bytes.close()
        self._kept.clear()
        if self._inner is not None:
            self._inner.close()
