"""Stretches of a file, read from any thread."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from ..errors import SlideError

_CLOCK_S = 2.0  # network drives and memory sticks round the time of the last change


class _Descriptor:
    """An open file, closed when nobody holds it any more.

    Parameters
    ----------
    number : int
        Its descriptor.
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


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
        self._known = path.stat()
        self._lock = threading.Lock()
        self._descriptor: _Descriptor | None = None
        self.closed = False

    def read(self, offset: int, count: int) -> bytes:
        """Return ``count`` bytes, fewer at the file's end.

        Raises
        ------
        SlideError
            If the file has been closed, can no longer be read, or is another than it was when it had to be opened anew.
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
        """Close the file until the next read, as soon as nobody is reading."""
        with self._lock:
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
                self._descriptor = self._open()
            if not hasattr(os, "pread"):
                os.lseek(self._descriptor.number, offset, os.SEEK_SET)
                return os.read(self._descriptor.number, count)
            held = self._descriptor  # so that closing meanwhile cannot hand its number to another file
        try:
            return os.pread(held.number, count, offset)
        finally:
            del held  # an error that is kept keeps this frame

    def _open(self) -> _Descriptor:
        """Open the file, unless another lies there by now: what is known of this one would make nonsense of it."""
        opened = _Descriptor(os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        now, known = os.fstat(opened.number), self._known
        if now.st_size != known.st_size or abs(now.st_mtime - known.st_mtime) > _CLOCK_S:
            raise SlideError(f"{self._path} has changed on disk since it was opened. Open the slide again.")
        return opened
