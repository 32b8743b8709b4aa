"""A cache of decoded tiles, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Key = tuple[int, int, int]
"""Level, tile row, tile column."""


def default_cache_bytes() -> int:
    """Return 1 GB or an eighth of the machine's memory, the smaller."""
    return min(1_000_000_000, int(psutil.virtual_memory().total) // 8)


class TileCache:
    """Hold the tiles used last, up to so many bytes; safe to share between threads.

    Parameters
    ----------
    max_bytes : int
        Most bytes held at any time; a tile larger than this is not kept at all.

    Attributes
    ----------
    cleared : int
        How often `clear` has been called.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.cleared = 0
        self._bytes = 0
        self._lock = threading.Lock()
        self._tiles: OrderedDict[Key, NDArray[np.uint8]] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def __contains__(self, key: Key) -> bool:
        return key in self._tiles

    def get(self, key: Key) -> NDArray[np.uint8] | None:
        """Return a tile and mark it as used, or None."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

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
        if tile.nbytes > self.max_bytes:
            return
        with self._lock:
            if since is not None and since != self.cleared:
                return
            old = self._tiles.pop(key, None)
            self._bytes -= 0 if old is None else old.nbytes
            while self._bytes + tile.nbytes > self.max_bytes:
                self._bytes -= self._tiles.popitem(last=False)[1].nbytes
            self._tiles[key] = tile
            self._bytes += tile.nbytes

    def clear(self) -> None:
        """Drop all tiles."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0
            self.cleared += 1
