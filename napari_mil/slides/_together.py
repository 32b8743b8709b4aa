"""What several threads want at a time is made by one of them, and given to all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Together(Generic[Made]):
    """Have one thread make what several ask for at the same time; nothing is kept."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, Future[Made]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what ``make`` returns, in this thread or in one that is at it already.

        Parameters
        ----------
        key : hashable
            Tells what is made apart.
        make : callable
            Makes it. What it raises is raised to all who wait; where its thread is interrupted, another makes it.

        Returns
        -------
        object
            What was made.
        """
        while True:
            with self._lock:
                mine = key not in self._waiting
                future = self._waiting.setdefault(key, Future())
            if mine:
                self._settle(key, future, make)
            try:
                return future.result()
            except CancelledError:
                continue

    def _settle(self, key: Hashable, future: Future[Made], make: Callable[[], Made]) -> None:
        try:
            future.set_result(make())
        except Exception as error:
            future.set_exception(error)
        finally:
            with self._lock:
                del self._waiting[key]
            future.cancel()  # only where neither has happened: an interruption is this thread's alone
