"""The levels of a slide as arrays that read themselves when sliced.

Levels the file has are read through a cache of decoded tiles. Where they are far apart, and below the last, levels of
half the size each are computed from the one above, tile by tile and only when looked at, until the last is small enough
for an overview.
"""

from __future__ import annotations

from collections.abc import Hashable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

import numpy as np

from ._indexing import spans
from ._level_tiles import LevelTiles, Place
from ._loader import tile_loader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._faults import Faults


class PyramidLevel(LevelTiles):
    """One level as an array: slicing reads the tiles it touches, and no others.

    It has what napari and dask ask of an array (``shape``, ``dtype``, ``ndim``, ``size``, ``chunks``, slicing); slices
    may have a step and any of the three axes may be indexed by a whole number. Made as `LevelTiles` is.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __repr__(self) -> str:
        kind = "computed" if self._stored is None else "as stored"
        return f"<PyramidLevel {self._index} of {self._slide.path.name}: {self.shape[0]} x {self.shape[1]} px, {kind}>"

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Height, width and colours of a tile."""
        return min(self._tile_px[0], self.shape[0]), min(self._tile_px[1], self.shape[1]), 3

    @property
    def size(self) -> int:
        """Number of values: height x width x 3."""
        return self.shape[0] * self.shape[1] * 3

    @property
    def stored(self) -> int | None:
        """The slide's level that this is; None where it is computed from a finer one."""
        return self._stored

    @property
    def faults(self) -> Faults:
        """Tiles of the whole pyramid that could not be read."""
        return self._faults

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        (top, height, rows), (left, width, cols), channel = spans(key, self.shape)
        result: NDArray[np.uint8] = self.read(top, left, height, width)[rows, cols, channel]
        return result

    def read(self, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        """Assemble a window of this level from its tiles, waiting for those not at hand.

        Parameters
        ----------
        row, col, height, width : int
            Pixels of this level; must lie inside it.

        Returns
        -------
        (height, width, 3) uint8
            RGB.
        """
        return self._gather(row, col, height, width)[0]

    def glimpse(
        self, row: int, col: int, height: int, width: int, *, wait_s: float, group: Hashable = "view"
    ) -> tuple[NDArray[np.uint8], list[Future[object]]]:
        """Assemble a window from what is at hand within a short time; have the rest made meanwhile.

        What is not at hand is drawn from coarser levels, as far as these are, else in the background colour. A newer
        glimpse of the same group takes precedence: what only the older one asked for is not made any more. The group
        "view" goes before all others.

        Parameters
        ----------
        row, col, height, width : int
            Pixels of this level; must lie inside it.
        wait_s : float
            Wait at most so many seconds for tiles being made.
        group : hashable
            What glimpses at this pyramid replace one another.

        Returns
        -------
        rgb : (height, width, 3) uint8
            What can be shown now.
        pending : list of Future
            One for each tile that is still being made; empty where ``rgb`` is what `read` returns.
        """
        places = self._places(row, col, height, width)
        at_hand: dict[Place, NDArray[np.uint8] | None] = {}
        for place in places:
            ready = self._ready(place)
            at_hand[place] = None if ready is None else ready[0]
        missing = [place for place in places if at_hand[place] is None]
        # even where none is missing: what the view before asked for is not wanted any more
        futures = tile_loader().ask(
            (self._faults, group), [self._task(place) for place in missing], patient=group != "view"
        )
        if futures:
            wait(futures, wait_s)
        pending = []
        for place, future in zip(missing, futures, strict=True):
            if future.done() and not future.cancelled() and future.exception() is None:
                at_hand[place] = future.result()[0]  # type: ignore[index]
            else:
                pending.append(future)
        out = np.empty((height, width, 3), np.uint8)
        for place, tile in at_hand.items():
            self._paste(out, row, col, place, self._stand_in(place) if tile is None else tile)
        return out, pending

    def prefetch(self, row: int, col: int, height: int, width: int, heading: tuple[float, float] = (0.0, 0.0)) -> None:
        """Have the surroundings of a window made when nobody waits for anything else, and the levels next to it.

        Parameters
        ----------
        row, col, height, width : int
            The window, pixels of this level.
        heading : (float, float)
            Where the view is moving, (row, col), any length: tiles ahead come first.
        """
        tile_h, tile_w = self._tile_px
        around = self._within(row - tile_h, col - tile_w, height + 2 * tile_h, width + 2 * tile_w)
        middle = row + height / 2, col + width / 2
        ahead = sorted(
            around,
            key=lambda at: (
                -heading[0] * ((at[0] + 0.5) * tile_h - middle[0]) - heading[1] * ((at[1] + 0.5) * tile_w - middle[1])
            ),
        )
        wanted = [self._task(place) for place in ahead if self._ready(place) is None]
        for other, part in ((self._below, 1.0), (self._above, 0.5)):
            if other is not None:
                wanted += other._tasks_around(
                    *(m / n for m, n in zip(middle, self.shape, strict=False)),
                    *(part * m / n for m, n in zip((height, width), self.shape, strict=False)),
                )
        tile_loader().ask_ahead((self._faults, "view"), wanted[:_MOST_AHEAD])

    def rest(self) -> None:
        """Drop the decoded tiles, and what is being asked for."""
        for group in ("view", "overview", "thumbnail"):
            tile_loader().drop((self._faults, group))
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
        return self._resized(row, col, height, width, out_shape)[0]

    def _tasks_around(self, row: float, col: float, height: float, width: float) -> list[tuple[Hashable, Any]]:
        """Return what makes the tiles missing around a place, all as parts of the level's height and width."""
        h, w = height * self.shape[0], width * self.shape[1]
        places = self._within(row * self.shape[0] - h / 2, col * self.shape[1] - w / 2, h, w)
        return [self._task(place) for place in places if self._ready(place) is None]

    def _stand_in(self, place: Place) -> NDArray[np.uint8]:
        """Return a tile enlarged from the finest coarser level at hand; one that is made anew, as it was."""
        old = self._cache.get((self._index, *place))
        if old is not None:
            return old
        height, width = self._size(place)
        row, col = place[0] * self._tile_px[0], place[1] * self._tile_px[1]
        level = self._below
        while level is not None:
            rows, cols = (
                ((start + np.arange(count) + 0.5) * (there / here)).astype(np.intp)
                for start, count, there, here in zip((row, col), (height, width), level.shape, self.shape, strict=False)
            )
            part = level._if_at_hand(int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1)
            if part is not None:
                enlarged: NDArray[np.uint8] = part[rows - rows[0]][:, cols - cols[0]]
                return enlarged
            level = level._below
        return np.broadcast_to(np.array(self._slide.background, np.uint8), (height, width, 3))

    def _if_at_hand(self, top: int, left: int, bottom: int, right: int) -> NDArray[np.uint8] | None:
        out = np.empty((bottom - top, right - left, 3), np.uint8)
        for place in self._places(top, left, *out.shape[:2]):
            ready = self._ready(place)
            if ready is None:
                return None
            self._paste(out, top, left, place, ready[0])
        return out


_MOST_AHEAD = 64
"""Tiles made ahead of a view at most: 50 MB."""
