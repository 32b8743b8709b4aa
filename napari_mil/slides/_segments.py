"""The stored pieces (tiles or strips) of one TIFF image, decoded one by one in whichever thread asks."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SlideError
from ._cache import TileCache
from ._source import UnreadableRegionError
from ._together import Together

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tifffile import TiffPage

_DECODER_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, struct.error, zlib.error)
"""What tifffile and the decoders under it raise on broken data (imagecodecs' errors are RuntimeErrors)."""


_ROWS_BYTES = 2**20
"""Rows of an uncompressed picture are read so many bytes at a time."""


class FileBytes:
    """Read stretches of a file from any thread, and open it anew where a read fails.

    Reads, not a memory map: where a network drive goes away, touching a map ends the process, a read only fails.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self.closed = False

    def __del__(self) -> None:
        self.rest()

    def read(self, offset: int, count: int) -> bytes:
        """Return ``count`` bytes, fewer at the file's end.

        Raises
        ------
        SlideError
            If the file has been closed, or can no longer be read.
        """
        try:
            return self._read(offset, count)
        except OSError:
            self.rest()  # a network drive that was away is back under a new handle only
        try:
            return self._read(offset, count)
        except OSError as error:
            raise SlideError(
                f"{self._path} can no longer be read ({error.strerror or error}). "
                "Check that its drive is connected, then open the slide again."
            ) from error

    def rest(self) -> None:
        """Close the file until the next read."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self.closed = True
        self.rest()

    def _read(self, offset: int, count: int) -> bytes:
        with self._lock:
            if self.closed:
                raise SlideError(f"{self._path} has been closed. Open the slide again to read from it.")
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            if not hasattr(os, "pread"):
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                return os.read(self._descriptor, count)
            own = os.dup(self._descriptor)  # so that closing meanwhile cannot hand its number to another file
        try:
            return os.pread(own, count, offset)
        finally:
            os.close(own)


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

    def _load(self, index: int) -> NDArray[Any] | None:
        if index >= len(self._counts) or not self._counts[index]:
            return None
        offset, count = self._offsets[index], self._counts[index]
        if count > 2 * self.nbytes + 2**16:
            raise UnreadableRegionError(f"piece {index} claims {count:,} bytes, more than it can hold")
        data = self._file.read(offset, count)
        if len(data) != count:
            raise UnreadableRegionError(f"the file ends within piece {index}")
        try:
            decoded = self._decode(data, index)[0]
            if decoded is None:
                return None
            piece = np.asarray(decoded)
            return piece.reshape(piece.shape[-3:])
        except _DECODER_ERRORS as error:
            raise UnreadableRegionError(f"piece {index} cannot be decoded: {error}") from error
