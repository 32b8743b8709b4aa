"""Tiles that cannot be read: shown as such, counted, told of once, and tried again."""

from __future__ import annotations

import logging
import threading
import time
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..errors import SlideError
    from ._cache import Key

    Place = tuple[int, int]

_log = logging.getLogger(__name__)

RETRY_S = 10.0
"""A tile that failed is tried again after so long, when looked at: a network drive may be back."""


class Faults:
    """The tiles of one pyramid that could not be read; safe to share between threads."""

    def __init__(self) -> None:
        self._failed: dict[Key, float] = {}
        self._striped: dict[Key, tuple[float, tuple[Place, ...]]] = {}
        self._lock = threading.Lock()
        self.first: SlideError | None = None
        """What went wrong first, since nothing was wrong."""

    def __len__(self) -> int:
        """Tiles that could not be read when last tried."""
        return len(self._failed)

    def note(self, key: Key, error: SlideError) -> None:
        """Count a tile; only the first of all is logged."""
        with self._lock:
            known, self._failed[key] = bool(self._failed), time.monotonic()
            if not known:
                self.first = error
        if not known:
            _log.warning("%s", error)

    def recent(self, key: Key) -> bool:
        """Whether a tile failed so short a time ago that it is not tried again yet."""
        failed = self._failed.get(key)
        return failed is not None and time.monotonic() - failed < RETRY_S

    def forgive(self, key: Key) -> None:
        """Take a tile off the list that could be read after all."""
        if self._failed:
            with self._lock:
                self._failed.pop(key, None)
                if not self._failed:
                    self.first = None

    def stripe(self, key: Key, sources: tuple[Place, ...]) -> None:
        """Note that a tile was computed from some, of the level above, that could not be read; none clears it."""
        with self._lock:
            if sources:
                self._striped[key] = time.monotonic(), sources
            else:
                self._striped.pop(key, None)

    def sources(self, key: Key) -> tuple[Place, ...]:
        """Return the tiles of the level above that brought stripes into a tile."""
        return self._striped.get(key, (0.0, ()))[1]

    def flawed(self, key: Key) -> bool:
        """Whether a tile could not be read, or shows some of another that could not."""
        return key in self._failed or key in self._striped

    def outlived(self, key: Key) -> bool:
        """Whether a tile was computed with stripes so long ago that what they stand for is tried again."""
        striped = self._striped.get(key)
        return striped is not None and time.monotonic() - striped[0] >= RETRY_S


@lru_cache(maxsize=16)
def hatched(height: int, width: int) -> NDArray[np.uint8]:
    """Return grey diagonal stripes, which no tissue looks like, (height, width, 3) uint8; not to be written to."""
    stripe = (np.add.outer(np.arange(height), np.arange(width)) // 16) % 2
    picture = np.repeat(np.where(stripe, np.uint8(200), np.uint8(150))[..., None], 3, axis=2)
    picture.flags.writeable = False
    return picture
