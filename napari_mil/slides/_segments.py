"""The stored pieces (tiles or strips) of one TIFF image, decoded one by one in whichever thread asks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ._cache import TileCache
from ._file_bytes import FileBytes
from ._jpeg import empty_rgb, rgb_decoder
from ._source import UnreadableRegionError
from ._together import Together

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tifffile import TiffPage

_DECODER_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, struct.error, zlib.error)
"""What tifffile and the decoders under it raise on broken data (imagecodecs' errors are RuntimeErrors)."""


_ROWS_BYTES = 2**20
"""Rows of an uncompressed picture are read so many bytes at a time."""


class Segments:
    """The tiles or strips of one TIFF image.

    Parameters
    ----------
    page : tifffile.TiffPage
        The image.
    file : FileBytes
        Its file.
    cache : TileCache
        Where decoded pieces are kept of which a window needs a part only: its neighbours will ask for the rest.
    """

    def __init__(self, page: TiffPage, file: FileBytes, cache: TileCache) -> None:
        self._file, self._cache = file, cache
        self._offsets, self._counts = page.dataoffsets, page.databytecounts
        self._decode: Callable[[bytes, int], Any] = partial(
            page.decode, jpegtables=page.jpegtables, jpegheader=page.jpegheader
        )
        self._decode_rgb = rgb_decoder(page)
        self._key = page.index
        self._together: Together[NDArray[Any] | None] = Together()
        self.shape = page.imagelength, page.imagewidth
        self.planes = page.samplesperpixel if page.planarconfig == 2 else 1
        height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        self.tile = min(height, page.imagelength) if not page.is_tiled else height, width
        self.across = -(-self.shape[1] // width)
        self.count = self.across * -(-self.shape[0] // self.tile[0])
        samples = page.samplesperpixel if page.planarconfig == 1 else 1
        self._listed: bool = len(self._offsets) == len(self._counts) == self.count * self.planes
        row_bytes = width * samples * page.dtype.itemsize
        if self._listed and not page.is_tiled and page.is_contiguous:
            self._take_rows(page, samples, row_bytes)
        self.nbytes = self.tile[0] * row_bytes

    def _take_rows(self, page: TiffPage, samples: int, row_bytes: int) -> None:
        """Cut an uncompressed picture into a few rows each, where the file holds all: its strips can be gigabytes."""
        height, width = self.shape
        start, plane_bytes = self._offsets[0], height * row_bytes
        if start + plane_bytes * self.planes > page.parent.filehandle.size or row_bytes < 1:
            return
        rows = min(height, max(1, _ROWS_BYTES // row_bytes))
        begins = range(0, plane_bytes, rows * row_bytes)
        self._offsets = tuple(start + k * plane_bytes + begin for k in range(self.planes) for begin in begins)
        self._counts = tuple(min(rows * row_bytes, plane_bytes - begin) for begin in begins) * self.planes
        self.tile, self.count = (rows, width), len(begins)
        stored = page.dtype.newbyteorder(page.parent.byteorder)

        def decode(data: bytes, _: int) -> tuple[NDArray[Any]]:
            return (np.frombuffer(data, stored).reshape(-1, width, samples).astype(page.dtype, copy=False),)

        self._decode = decode

    @property
    def is_rgb(self) -> bool:
        """Whether pieces are decoded straight into RGB, so that `fill` may be used."""
        return self._decode_rgb is not None

    @property
    def whole(self) -> bool:
        """Whether the file holds every piece."""
        return self.listed and all(count > 0 for count in self._counts)

    @property
    def listed(self) -> bool:
        """Whether the file has a place, if an empty one, for every piece."""
        return self._listed

    def beyond(self, size: int) -> tuple[int, int]:
        """Return how many of the pieces end beyond a file's size, and how many there are."""
        ends = [offset + count for offset, count in zip(self._offsets, self._counts, strict=False)]
        return sum(end > size for end in ends), len(ends)

    def get(self, index: int, *, keep: bool) -> NDArray[Any] | None:
        """Return a decoded piece, (rows, cols, samples), or None where the file leaves it out; not to be written to.

        Parameters
        ----------
        index : int
            Its number in the file.
        keep : bool
            Whether to keep it for others, or take it from what was kept.

        Raises
        ------
        UnreadableRegionError
            If it cannot be decoded.
        SlideError
            If the file is closed or gone.
        """
        if not keep:
            return self._load(index)
        key = (self._key, index, 0)
        found: NDArray[Any] | None = self._cache.get(key)
        if found is not None:
            return found
        return self._together.get(index, partial(self._load_to_keep, index))

    def _load_to_keep(self, index: int) -> NDArray[Any] | None:
        piece = self._load(index)
        if piece is not None:
            self._cache.put((self._key, index, 0), piece)
        return piece

    def fill(self, index: int, out: NDArray[np.uint8]) -> bool:
        """Decode a piece of an image that `is_rgb` into an array; return False where the file leaves it out.

        Parameters
        ----------
        index : int
            Its number in the file.
        out : (rows, cols, 3) uint8
            Contiguous and of the size of `tile`.

        Raises
        ------
        UnreadableRegionError
            If it cannot be decoded, or is not of that size.
        SlideError
            If the file is closed or gone.
        """
        data = self._stored(index)
        piece = None if data is None else self._decoded(data, index, out)
        if piece is not None and piece is not out:
            if piece.shape != out.shape:
                raise UnreadableRegionError(f"piece {index} is smaller than it claims")
            out[:] = piece
        return piece is not None

    def _load(self, index: int) -> NDArray[Any] | None:
        data = self._stored(index)
        return None if data is None else self._decoded(data, index, empty_rgb(*self.tile, 3) if self.is_rgb else None)

    def _stored(self, index: int) -> bytes | None:
        """Return a piece as the file holds it; None where it leaves it out."""
        if index >= len(self._counts) or not self._counts[index]:
            return None
        offset, count = self._offsets[index], self._counts[index]
        if count > 2 * self.nbytes + 2**16:
            raise UnreadableRegionError(f"piece {index} claims {count:,} bytes, more than it can hold")
        data = self._file.read(offset, count)
        if len(data) != count:
            raise UnreadableRegionError(f"the file ends within piece {index}")
        return data

    def _decoded(self, data: bytes, index: int, out: NDArray[np.uint8] | None) -> NDArray[Any] | None:
        """Return a piece decoded, in ``out`` where that is given and can be done."""
        if out is not None and self._decode_rgb is not None:
            try:
                self._decode_rgb(data, out)
            except _DECODER_ERRORS:  # of another size, or damaged: the slower way is the more lenient one
                pass
            else:
                return out
        try:
            decoded = self._decode(data, index)[0]
            if decoded is None:
                return None
            piece = np.asarray(decoded)
            return piece.reshape(piece.shape[-3:])
        except _DECODER_ERRORS as error:
            raise UnreadableRegionError(f"piece {index} cannot be decoded: {error}") from error
