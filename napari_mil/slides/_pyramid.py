"""The levels of a slide as arrays that read themselves when sliced.

Levels the file has are read through a cache of decoded tiles; below them, levels of half the size each are computed
from the one above, tile by tile and only when looked at, until the last is small enough for an overview.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SlideError
from ._cache import TileCache
from ._resample import cover, resize_area

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._slide import Slide

    Convert = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

_log = logging.getLogger(__name__)

CHUNK_PX = 512
"""Edge of a cached tile. A view of 1400 x 1000 px on a 40x scan took 10, 14 and 19 ms with 256, 512 and 1024; through
dask, whose cost is per tile, 24, 17 and 22 ms."""

OVERVIEW_PX = 1024
"""Long edge that the last level does not exceed: napari loads that level whole for its thumbnail."""


class PyramidLevel:
    """One level as an array: slicing reads the tiles it touches, and no others.

    It has what napari and dask ask of an array (``shape``, ``dtype``, ``ndim``, ``size``, ``chunks``, slicing); slices
    may have a step and any of the three axes may be indexed by a whole number.

    Parameters
    ----------
    slide : Slide
        Where the pixels come from.
    index : int
        Place in the pyramid, 0 is the finest.
    shape : (int, int)
        Height and width, pixels of this level.
    cache : TileCache
        Where decoded tiles are kept.
    above : PyramidLevel, optional
        The level this one is computed from; None where the file has the level itself.
    convert : callable, optional
        What stored tiles go through when they are decoded: (h, w, 3) uint8 to the same.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(
        self,
        slide: Slide,
        index: int,
        shape: tuple[int, int],
        cache: TileCache,
        above: PyramidLevel | None = None,
        convert: Convert | None = None,
    ) -> None:
        self._slide, self._index, self._cache, self._above = slide, index, cache, above
        self._convert = convert
        # tiles further down are made in the caller's thread: waiting for tasks of one's own pool would be for ever
        self._threads = _decoders if above is None else _averagers if above._above is None else None
        self.shape = (*shape, 3)
        self.chunks = (min(CHUNK_PX, shape[0]), min(CHUNK_PX, shape[1]), 3)

    def __repr__(self) -> str:
        kind = "as stored" if self._above is None else "computed"
        return f"<PyramidLevel {self._index} of {self._slide.path.name}: {self.shape[0]} x {self.shape[1]} px, {kind}>"

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of values: height x width x 3."""
        return self.shape[0] * self.shape[1] * 3

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        row, col, channel = _three(key)
        top, height, rows = _span(row, self.shape[0])
        left, width, cols = _span(col, self.shape[1])
        result: NDArray[np.uint8] = self.read(top, left, height, width)[rows, cols, channel]
        return result

    def read(self, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        """Assemble a window of this level from its tiles.

        Parameters
        ----------
        row, col, height, width : int
            Pixels of this level; must lie inside it.

        Returns
        -------
        (height, width, 3) uint8
            RGB.
        """
        places = [
            (tile_row, tile_col)
            for tile_row in range(row // CHUNK_PX, -(-(row + height) // CHUNK_PX))
            for tile_col in range(col // CHUNK_PX, -(-(col + width) // CHUNK_PX))
        ]
        out = np.empty((height, width, 3), np.uint8)
        for (tile_row, tile_col), tile in zip(places, self._tiles(places), strict=True):
            top, left = tile_row * CHUNK_PX, tile_col * CHUNK_PX
            r0, r1 = max(row, top), min(row + height, top + tile.shape[0])
            c0, c1 = max(col, left), min(col + width, left + tile.shape[1])
            out[r0 - row : r1 - row, c0 - col : c1 - col] = tile[r0 - top : r1 - top, c0 - left : c1 - left]
        return out

    def forget(self) -> None:
        """Drop the decoded tiles."""
        self._cache.clear()

    def resized(
        self, row: float, col: float, height: float, width: float, out_shape: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Read a window of this level at another size, averaged over area.

        Parameters
        ----------
        row, col, height, width : float
            Window in pixels of this level, inside it; need not be whole.
        out_shape : (int, int)
            Rows and columns of the result, not more than the window's.

        Returns
        -------
        (rows, cols, 3) uint8
            RGB.
        """
        top, bottom = cover(row, height, out_shape[0])
        left, right = cover(col, width, out_shape[1])
        block = self.read(top, left, bottom - top, right - left)
        return resize_area(block, row - top, col - left, height, width, out_shape)

    def _tiles(self, places: list[tuple[int, int]]) -> Iterator[NDArray[np.uint8]]:
        """Yield tiles in order, making those not at hand side by side."""
        if self._threads is None or sum((self._index, *place) not in self._cache for place in places) < 2:
            return map(self._tile, places)
        return self._threads().map(self._tile, places)

    def _tile(self, place: tuple[int, int]) -> NDArray[np.uint8]:
        key = (self._index, *place)
        tile = self._cache.get(key)
        if tile is None:
            tile = self._compute(place[0] * CHUNK_PX, place[1] * CHUNK_PX)
            self._cache.put(key, tile)
        return tile

    def _compute(self, row: int, col: int) -> NDArray[np.uint8]:
        height, width = min(CHUNK_PX, self.shape[0] - row), min(CHUNK_PX, self.shape[1] - col)
        if self._above is not None:
            # the true ratio, not 2: an odd size would otherwise drift by up to a pixel towards the far edge
            ratio_r, ratio_c = (a / b for a, b in zip(self._above.shape[:2], self.shape[:2], strict=True))
            window = (row * ratio_r, col * ratio_c, height * ratio_r, width * ratio_c)
            return self._above.resized(*window, (height, width))
        try:
            tile = self._slide.read(self._index, row, col, height, width)
            return tile if self._convert is None else self._convert(tile)
        except SlideError as error:
            if self._slide.closed:
                raise
            # one bad tile must not hide the rest of the slide from the person looking at it
            _log.warning("%s", error)
            return _hatched(height, width)


@cache
def _decoders() -> ThreadPoolExecutor:
    """Return the threads that decode tiles, one set for all slides."""
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="slide-decoder")


@cache
def _averagers() -> ThreadPoolExecutor:
    """Return the threads that compute the first level from decoded tiles; they wait for the decoders alone."""
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="slide-averager")


def build_levels(slide: Slide, cache_bytes: int, convert: Convert | None = None) -> list[PyramidLevel]:
    """Line up the levels of a slide down to an overview.

    Parameters
    ----------
    slide : Slide
        The slide.
    cache_bytes : int
        Most bytes that tiles of all levels may hold. Stored levels share three quarters of it; every computed level has
        its own part of the last quarter, for neither looking around at full resolution nor making the level above may
        push out an overview that took long to compute.
    convert : callable, optional
        What stored tiles go through when they are decoded; see `PyramidLevel`.

    Returns
    -------
    list of PyramidLevel
        Finest first. Stored levels beyond the first that fits the overview are left out: the stamps of a few pixels
        that DICOM files carry no longer have the slide's proportions.
    """
    shapes = list(slide.shown_shapes)
    stored = next((k + 1 for k, shape in enumerate(shapes) if max(shape) <= OVERVIEW_PX), len(shapes))
    shapes = shapes[:stored]
    while max(shapes[-1]) > OVERVIEW_PX:
        height, width = shapes[-1]
        shapes.append((max(1, round(height / 2)), max(1, round(width / 2))))
    computed_bytes = cache_bytes // 4 // max(1, len(shapes) - stored)
    tiles = TileCache(cache_bytes - computed_bytes * (len(shapes) - stored))
    levels: list[PyramidLevel] = []
    for index, shape in enumerate(shapes):
        if index < stored:
            levels.append(PyramidLevel(slide, index, shape, tiles, convert=convert))
        else:
            levels.append(PyramidLevel(slide, index, shape, TileCache(computed_bytes), levels[-1]))
    return levels


def _three(key: Any) -> tuple[Any, Any, Any]:
    """Fill an index up to three axes."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    at = keys.index(Ellipsis)
    keys[at : at + 1] = [slice(None)] * (4 - len(keys))
    if len(keys) != 3:
        raise IndexError(f"a slide's level has 3 axes (row, column, colour), not {len(keys)}")
    row, col, channel = keys
    return row, col, channel


def _span(index: Any, length: int) -> tuple[int, int, int | slice]:
    """Return the first element an index touches, how many from there on, and the index within those."""
    if not isinstance(index, slice):
        return range(length)[index], 1, 0
    touched = range(length)[index]
    if not touched:
        return 0, 0, slice(0)
    first, last = min(touched[0], touched[-1]), max(touched[0], touched[-1])
    return first, last - first + 1, slice(None, None, index.step)


def _hatched(height: int, width: int) -> NDArray[np.uint8]:
    """Return grey diagonal stripes, which no tissue looks like, for a tile that cannot be read."""
    stripe = (np.add.outer(np.arange(height), np.arange(width)) // 16) % 2
    return np.repeat(np.where(stripe, np.uint8(200), np.uint8(150))[..., None], 3, axis=2)
