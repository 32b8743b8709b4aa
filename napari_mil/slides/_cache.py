"""Caches of decoded tiles, bounded in bytes: each by itself, and all that share a budget together."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from functools import cache
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakSet

import psutil  # type: ignore[import-untyped]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Key = tuple[int, int, int]
"""Level, tile row, tile column."""


def default_cache_bytes() -> int:
    """Return 1 GB or an eighth of the machine's memory, the smaller."""
    return min(1_000_000_000, int(psutil.virtual_memory().total) // 8)


class Budget:
    """What several caches may hold together.

    Parameters
    ----------
    max_bytes : int
        Most bytes at any time.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.lock = threading.Lock()
        self.clock = count()
        self._caches: WeakSet[TileCache] = WeakSet()  # a slide that nobody holds any more takes its tiles with it

    @property
    def max_bytes(self) -> int:
        """Most bytes at any time."""
        return self._max_bytes

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        with self.lock:
            return sum(cache.nbytes for cache in self._caches)

    def resize(self, max_bytes: int) -> None:
        """Set another bound, and keep to it at once."""
        with self.lock:
            self._max_bytes = max_bytes
            self.make_room()

    def join(self, cache: TileCache) -> None:
        """Take a cache among those that share the budget."""
        with self.lock:
            self._caches.add(cache)

    def make_room(self) -> None:
        """Drop what was unused for longest, wherever it is; of caches to be spared only when the others are empty.

        For whoever holds `lock`.
        """
        held = {cache: cache.nbytes for cache in self._caches if cache.nbytes}
        excess = sum(held.values()) - self._max_bytes
        while excess > 0:
            chosen = min(held, key=lambda cache: (cache.spared, cache.oldest))
            excess -= chosen.drop_oldest()
            if not chosen.nbytes:
                del held[chosen]


class TileCache:
    """Hold the tiles used last, up to so many bytes; safe to share between threads.

    Parameters
    ----------
    max_bytes : int
        Most bytes held at any time; a tile larger than this is not kept at all.
    budget : Budget, optional
        Shared with other caches, whose tiles may have to go for those of this one and the other way round.
    spared : bool
        Whether those of other caches go first.

    Attributes
    ----------
    cleared : int
        How often `clear` has been called.
    """

    def __init__(self, max_bytes: int, budget: Budget | None = None, *, spared: bool = False) -> None:
        self.max_bytes, self.spared = max_bytes, spared
        self.cleared = 0
        self._bytes = 0
        self._budget = Budget(sys.maxsize) if budget is None else budget
        self._lock = self._budget.lock
        self._tiles: OrderedDict[Key, tuple[int, NDArray[np.uint8]]] = OrderedDict()
        self._budget.join(self)

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    @property
    def oldest(self) -> int:
        """When the tile unused for longest was used, by the budget's clock."""
        return next(iter(self._tiles.values()))[0]

    def __contains__(self, key: Key) -> bool:
        return key in self._tiles

    def get(self, key: Key) -> NDArray[np.uint8] | None:
        """Return a tile and mark it as used, or None."""
        with self._lock:
            found = self._tiles.pop(key, None)
            if found is None:
                return None
            self._tiles[key] = next(self._budget.clock), found[1]
            return found[1]

    def put(self, key: Key, tile: NDArray[np.uint8], since: int | None = None) -> None:
        """Keep a tile, dropping those unused for longest to make room.

        Parameters
        ----------
        key : Key
            Which.
        tile : uint8 array
            Its pixels.
        since : int, optional
            `cleared` as it was when making the tile began: one that was asked for before all were dropped is not kept.
        """
        with self._lock:
            most = min(self.max_bytes, self._budget.max_bytes)
            if tile.nbytes > most or (since is not None and since != self.cleared):
                return
            old = self._tiles.pop(key, None)
            self._bytes -= 0 if old is None else old[1].nbytes
            while self._bytes + tile.nbytes > self.max_bytes:
                self.drop_oldest()
            self._tiles[key] = next(self._budget.clock), tile
            self._bytes += tile.nbytes
            self._budget.make_room()

    def drop_oldest(self) -> int:
        """Drop the tile unused for longest, for whoever holds the budget's lock; return its bytes."""
        freed: int = self._tiles.popitem(last=False)[1][1].nbytes
        self._bytes -= freed
        return freed

    def clear(self) -> None:
        """Drop all tiles."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0
            self.cleared += 1


@cache
def tile_budget() -> Budget:
    """Return the one budget that all slides share which were given none of their own."""
    return Budget(default_cache_bytes())


def limit_tile_cache(max_bytes: int | None) -> None:
    """Bound the decoded tiles of all slides together.

    Parameters
    ----------
    max_bytes : int or None
        Most bytes; None for 1 GB or an eighth of the machine's memory, the smaller. Slides that were given a bound of
        their own at opening are not concerned.

    Raises
    ------
    ValueError
        If not positive.
    """
    if max_bytes is not None and max_bytes <= 0:
        raise ValueError(f"max_bytes must be positive, not {max_bytes}")
    most = default_cache_bytes() if max_bytes is None else max_bytes
    if most != tile_budget().max_bytes:
        tile_budget().resize(most)
