"""OpenSlide handles, lent to one reader at a time."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import openslide

from ..errors import SlideError
from ._source import UnreadableRegionError

if TYPE_CHECKING:
    from PIL import Image


class HandlePool:
    """Lend OpenSlide handles to threads, and replace those that broke.

    OpenSlide remembers an error for ever: after one bad tile every later read of that handle fails. A handle that
    raised is therefore closed and the read tried once more on a fresh one.

    A pool rather than one handle per thread: reading 8192 x 4096 pixels with four threads takes the same time either
    way (within 3 %), and a pool holds as many handles as ever read at once, where thread-local ones pile up with the
    short-lived threads of napari and dask and cannot be closed from outside.

    Parameters
    ----------
    path : pathlib.Path
        The slide file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: list[openslide.OpenSlide] = []
        self.closed = False

    def read_region(self, l0_xy: tuple[int, int], level: int, size_xy: tuple[int, int]) -> Image.Image:
        """Read as OpenSlide does, in its (x, y) order; RGBA, not premultiplied.

        Raises
        ------
        UnreadableRegionError
            If the read fails twice.
        SlideError
            If the pool is closed, or the file no longer opens.
        """
        handle = self.take()
        try:
            image: Image.Image = handle.read_region(l0_xy, level, size_xy)
        except openslide.OpenSlideError:
            handle.close()
            return self._retry(l0_xy, level, size_xy)
        self.give_back(handle)
        return image

    def _retry(self, l0_xy: tuple[int, int], level: int, size_xy: tuple[int, int]) -> Image.Image:
        handle = self._open()
        try:
            image: Image.Image = handle.read_region(l0_xy, level, size_xy)
        except openslide.OpenSlideError as error:
            handle.close()
            (x, y), (width, height) = l0_xy, size_xy
            raise UnreadableRegionError(
                f"{self._path} cannot be read at x={x}, y={y} (level {level}, {width} x {height} px: {error}). The "
                "file is damaged there; copy it again from the scanner."
            ) from error
        self.give_back(handle)
        return image

    def take(self) -> openslide.OpenSlide:
        """Return an idle handle, or a new one; `give_back` it."""
        with self._lock:
            if self.closed:
                raise SlideError(f"{self._path} has been closed. Open the slide again to read from it.")
            if self._idle:
                return self._idle.pop()
        return self._open()

    def give_back(self, handle: openslide.OpenSlide) -> None:
        """Keep a sound handle for the next reader, or close it if the pool has been closed meanwhile."""
        with self._lock:
            if not self.closed:
                self._idle.append(handle)
                return
        handle.close()

    def rest(self) -> None:
        """Close the idle handles; the next read opens another."""
        with self._lock:
            idle, self._idle = self._idle, []
        for handle in idle:
            handle.close()

    def close(self) -> None:
        """Close all handles, those still reading as soon as they are given back."""
        with self._lock:
            self.closed = True
        self.rest()

    def _open(self) -> openslide.OpenSlide:
        try:
            return openslide.OpenSlide(self._path)
        except (openslide.OpenSlideError, OSError) as error:
            if not self._path.exists():
                raise SlideError(
                    f"{self._path} is no longer there. Check that its drive is connected, then open the slide again."
                ) from error
            raise SlideError(
                f"{self._path} cannot be opened ({error}). It is damaged or cut short; copy it again from the scanner."
            ) from error
