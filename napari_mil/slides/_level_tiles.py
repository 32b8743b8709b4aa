"""The tiles of one level: made from the file or from the level above, kept, and put together into windows.

What cannot be made is drawn hatched and remembered, so that one bad tile does not hide the rest of the slide; what was
asked for before the slide was put to rest is not made any more.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..errors import SlideError
from ._faults import Faults, hatched
from ._loader import tile_loader
from ._resample import cover, resize_area

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._cache import TileCache
    from ._slide import Slide

    Convert = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

Place = tuple[int, int]
"""Tile row and column."""

Tile = tuple["NDArray[np.uint8]", bool]
"""Its pixels, and whether some of them are stripes for want of better."""

_FEW_TILES = 4
"""So many computed tiles are not worth threads of their own: what they are computed from is read by threads."""


class _RestedError(Exception):
    """The slide was put to rest while a tile was being made for a window."""


class LevelTiles:
    """The tiles of one level of a slide, whichever thread asks for them.

    Parameters
    ----------
    slide : Slide
        Where the pixels come from.
    index : int
        Place in the pyramid, 0 is the finest.
    shape : (int, int)
        Height and width, pixels of this level.
    tile : (int, int)
        Height and width of a cached tile, pixels of this level.
    cache : TileCache
        Where decoded tiles are kept.
    faults : Faults
        Where tiles that cannot be read are noted, for all levels of the pyramid.
    stored : int, optional
        The slide's level that this is; None where it is computed.
    above : LevelTiles, optional
        The next finer level, which this one is computed from if it is not stored; of the same class.
    convert : callable, optional
        What stored tiles, (h, w, 3) uint8, go through when they are decoded, such as a colour profile.
    """

    def __init__(
        self,
        slide: Slide,
        index: int,
        shape: tuple[int, int],
        *,
        tile: tuple[int, int],
        cache: TileCache,
        faults: Faults,
        stored: int | None = None,
        above: Self | None = None,
        convert: Convert | None = None,
    ) -> None:
        self._slide, self._index, self._cache, self._faults = slide, index, cache, faults
        self._stored, self._above, self._convert = stored, above, convert
        self._below: Self | None = None
        if above is not None:
            above._below = self
        self._tile_px = tile
        self.shape = (*shape, 3)

    def _gather(
        self, row: int, col: int, height: int, width: int, since: int | None = None
    ) -> tuple[NDArray[np.uint8], tuple[Place, ...]]:
        """Assemble a window of this level, waiting for its tiles; say which of those show stripes."""
        places = self._places(row, col, height, width)
        out = np.empty((height, width, 3), np.uint8)
        flawed = []
        for place, (tile, striped) in zip(places, self._tiles(places, since), strict=True):
            self._paste(out, row, col, place, tile)
            if striped:
                flawed.append(place)
        return out, tuple(flawed)

    def _resized(
        self,
        row: float,
        col: float,
        height: float,
        width: float,
        out_shape: tuple[int, int],
        since: int | None = None,
    ) -> tuple[NDArray[np.uint8], tuple[Place, ...]]:
        """Read a window at another size, averaged over area; say which of the tiles that were used show stripes."""
        top, bottom = cover(row, height, out_shape[0])
        left, right = cover(col, width, out_shape[1])
        block, flawed = self._gather(top, left, bottom - top, right - left, since)
        return resize_area(block, row - top, col - left, height, width, out_shape), flawed

    def _places(self, row: int, col: int, height: int, width: int) -> list[Place]:
        tile_h, tile_w = self._tile_px
        return [
            (tile_row, tile_col)
            for tile_row in range(row // tile_h, -(-(row + height) // tile_h))
            for tile_col in range(col // tile_w, -(-(col + width) // tile_w))
        ]

    def _within(self, row: float, col: float, height: float, width: float) -> list[Place]:
        """Return the tiles of a window that may leave the level."""
        top, bottom = max(0, int(row)), min(self.shape[0], int(row + height) + 1)
        left, right = max(0, int(col)), min(self.shape[1], int(col + width) + 1)
        return self._places(top, left, bottom - top, right - left) if bottom > top and right > left else []

    def _paste(self, out: NDArray[np.uint8], row: int, col: int, place: Place, tile: NDArray[np.uint8]) -> None:
        """Copy what a tile shares with the window whose corner is at (row, col)."""
        height, width = out.shape[:2]
        top, left = place[0] * self._tile_px[0], place[1] * self._tile_px[1]
        r0, r1 = max(row, top), min(row + height, top + tile.shape[0])
        c0, c1 = max(col, left), min(col + width, left + tile.shape[1])
        out[r0 - row : r1 - row, c0 - col : c1 - col] = tile[r0 - top : r1 - top, c0 - left : c1 - left]

    def _tiles(self, places: list[Place], since: int | None) -> Iterator[Tile]:
        """Yield tiles in order, making those not at hand side by side."""
        missing = [place for place in places if self._ready(place) is None]
        few = 2 if self._stored is not None else _FEW_TILES
        loader = tile_loader()
        if len(missing) < few or loader.inside:
            for place in places:
                loader.give_way()  # an overview takes long: the view is what somebody looks at
                yield self._tile(place, since)
            return
        tasks = [((self._faults, self._index, *place), partial(self._tile, place)) for place in missing]
        made = dict(zip(missing, loader.ask(object(), tasks, patient=True), strict=True))
        for place in places:
            future = made.pop(place, None)
            try:
                yield self._tile(place) if future is None else future.result()  # type: ignore[misc]
            except _RestedError:  # it was being made for a window already, which has gone
                yield self._tile(place)

    def _task(self, place: Place) -> tuple[Hashable, Any]:
        """Return what makes a tile for a window."""
        return (self._faults, self._index, *place), partial(self._tile_for_window, place, self._slide.rests)

    def _tile_for_window(self, place: Place, since: int) -> Tile:
        try:
            return self._tile(place, since)
        finally:
            if self._slide.rests != since:
                self._slide.rest_file()  # which this may have opened again

    def _tile(self, place: Place, since: int | None = None) -> Tile:
        """Return a tile, made if need be: no further, if ``since`` is given, than until the slide is put to rest."""
        ready = self._ready(place)
        if ready is not None:
            return ready
        key = (self._index, *place)
        height, width = self._size(place)
        cleared = self._cache.cleared  # before looking whether it is still wanted: so nothing slips in between
        if since is not None and self._slide.rests != since:
            raise _RestedError
        try:
            tile, flawed = self._renewed(place) or self._compute(place, height, width, since)
        except _RestedError:
            raise
        except Exception as error:
            if self._slide.closed:
                raise
            # one bad tile must not hide the rest of the slide from the person looking at it
            self._faults.note(key, error if isinstance(error, SlideError) else self._unforeseen(error))
            return hatched(height, width), True
        self._faults.forgive(key)
        self._faults.stripe(key, flawed)
        self._cache.put(key, tile, cleared)
        return tile, bool(flawed)

    def _unforeseen(self, error: Exception) -> SlideError:
        if isinstance(error, MemoryError):
            return SlideError(f"There is too little memory to read {self._slide.path}. Close other programs or slides.")
        said = SlideError(f"{self._slide.path} cannot be read ({type(error).__name__}: {error}). Copy it again.")
        said.__cause__ = error
        return said

    def _renewed(self, place: Place) -> tuple[NDArray[np.uint8], tuple[Place, ...]] | None:
        """Return a tile with stripes as it was, where none of what they stand for can be read yet."""
        key = (self._index, *place)
        sources, tile, above = self._faults.sources(key), self._cache.get(key), self._above
        if tile is None or above is None or not all(above._tile(source)[1] for source in sources):
            return None
        return tile, sources

    def _ready(self, place: Place) -> Tile | None:
        """Return a tile that is at hand, unless it is time to try again what of it could not be read."""
        key = (self._index, *place)
        flawed = self._faults.flawed(key)  # before and after: another thread may be making it anew
        tile = self._cache.get(key)
        if tile is None:
            return (hatched(*self._size(place)), True) if self._faults.recent(key) else None
        return None if self._faults.outlived(key) else (tile, flawed or self._faults.flawed(key))

    def _size(self, place: Place) -> tuple[int, int]:
        (tile_h, tile_w), (rows, cols, _) = self._tile_px, self.shape
        return min(tile_h, rows - place[0] * tile_h), min(tile_w, cols - place[1] * tile_w)

    def _compute(
        self, place: Place, height: int, width: int, since: int | None
    ) -> tuple[NDArray[np.uint8], tuple[Place, ...]]:
        """Make a tile; say which of those that it is computed from show stripes."""
        row, col = place[0] * self._tile_px[0], place[1] * self._tile_px[1]
        if self._stored is not None:
            tile = self._slide.read(self._stored, row, col, height, width)
            return (tile if self._convert is None else self._convert(tile)), ()
        # the true ratio, not 2: an odd size would otherwise drift by up to a pixel towards the far edge
        above: Self = self._above  # type: ignore[assignment]
        ratio_r, ratio_c = (a / b for a, b in zip(above.shape[:2], self.shape[:2], strict=True))
        window = row * ratio_r, col * ratio_c, height * ratio_r, width * ratio_c
        return above._resized(*window, (height, width), since)
