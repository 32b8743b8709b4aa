"""A PNG of any size, written rows by rows: no more of it is held than a few pieces.

After the PNG specification (ISO/IEC 15948): one IDAT stream, of which each piece of rows is filtered and deflated by
itself, several at a time, and ends at a byte (RFC 1951, full flush), so that the pieces laid end to end are one stream.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PIECE_BYTES = 1 << 20
_LEVEL = 6
_UP = 2
LARGEST_EDGE = 2**31 - 1
"""Pixels, by the specification."""


class PngWriter:
    """Takes rows of one picture from top to bottom; see `png_writer`.

    Parameters
    ----------
    file : binary file
        Open for writing.
    shape : (int, int)
        Rows and columns.
    dpi : float
        Pixels per inch, for programs that print.
    threads : ThreadPoolExecutor
        What packs pieces.
    """

    def __init__(self, file: IO[bytes], shape: tuple[int, int], dpi: float, threads: ThreadPoolExecutor) -> None:
        self._file, self._shape, self._threads = file, shape, threads
        self._above = np.zeros((1, shape[1] * 3), np.uint8)
        self._rows, self._sum = 0, zlib.adler32(b"")
        self._waiting: deque[Future[tuple[bytes, bytes]]] = deque()
        per_metre = round(dpi / 0.0254)
        self._file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", shape[1], shape[0], 8, 2, 0, 0, 0))
        self._chunk(b"sRGB", b"\0")
        self._chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))
        self._chunk(b"IDAT", b"\x78\x9c")

    def write(self, rows: NDArray[np.uint8]) -> None:
        """Write the next rows, (rows, columns, 3) uint8 sRGB."""
        flat = np.ascontiguousarray(rows).reshape(len(rows), -1)
        if flat.shape[1] != self._above.shape[1] or self._rows + len(flat) > self._shape[0]:
            raise ValueError(f"{rows.shape} are no rows of a picture of {self._shape} after {self._rows}")
        step = max(1, _PIECE_BYTES // flat.shape[1])
        for start in range(0, len(flat), step):
            piece = flat[start : start + step]
            above = np.concatenate([self._above, piece[:-1]])
            self._above = piece[-1:].copy()
            self._waiting.append(self._threads.submit(packed, piece, above))
            if len(self._waiting) > 2 * _threads():
                self._store()
        self._rows += len(flat)

    def close(self) -> None:
        """Write what is still being packed, and the end."""
        if self._rows != self._shape[0]:
            raise ValueError(f"{self._rows} of {self._shape[0]} rows were written")
        while self._waiting:
            self._store()
        # an empty last block, and the sum of all that was packed
        self._chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", self._sum))
        self._chunk(b"IEND", b"")

    def _store(self) -> None:
        data, filtered = self._waiting.popleft().result()
        self._sum = zlib.adler32(filtered, self._sum)
        self._chunk(b"IDAT", data)

    def _chunk(self, name: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


@contextmanager
def png_writer(path: Path, shape: tuple[int, int], dpi: float) -> Iterator[PngWriter]:
    """Yield what writes a picture rows by rows; where the block fails, what is there is no PNG.

    Parameters
    ----------
    path : Path
        Where; replaced.
    shape : (int, int)
        Rows and columns.
    dpi : float
        Pixels per inch.

    Yields
    ------
    PngWriter
        Wants all rows.
    """
    with path.open("wb") as file, ThreadPoolExecutor(_threads(), "png") as threads:
        writer = PngWriter(file, shape, dpi, threads)
        yield writer
        writer.close()


def packed(rows: NDArray[np.uint8], above: NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """Return rows of bytes deflated, as a piece of a stream, and the bytes that went in: each less the one above it."""
    filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    np.subtract(rows, above, out=filtered[:, 1:])
    data = filtered.tobytes()
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush(zlib.Z_FULL_FLUSH), data


def _threads() -> int:
    return min(8, os.cpu_count() or 1)
