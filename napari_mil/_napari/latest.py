"""Short computations beside the window, of which only the one asked for last counts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from qtpy.QtCore import QObject, Signal


class Latest(QObject):
    """Computes in a thread of its own what a widget is to show; what is overtaken is dropped.

    For what takes up to a second and needs no bar; all else is a `Job`.

    Parameters
    ----------
    parent : QObject
        Who asks.
    """

    _done = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._thread = ThreadPoolExecutor(1, "napari-mil-latest")
        self._asked: Future[Any] | None = None
        self._then: Callable[[Any], None] | None = None
        self._done.connect(self._deliver)

    @property
    def waiting(self) -> bool:
        """Whether something is still being computed."""
        return self._asked is not None

    def ask(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Compute something instead of what was asked for before.

        Parameters
        ----------
        work : callable
            Called in the thread.
        then : callable
            Called in the window's with what it returned, unless something else was asked for meanwhile.
        """
        self.drop()
        self._then = then
        self._asked = self._thread.submit(work)
        self._asked.add_done_callback(self._tell)

    def drop(self) -> None:
        """Forget what was asked for."""
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None

    def close(self) -> None:
        """Forget it, and end the thread."""
        self.drop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _tell(self, future: Future[Any]) -> None:
        if future.cancelled():
            return
        try:
            self._done.emit(future)
        except RuntimeError:
            return  # the window has gone

    def _deliver(self, future: Future[Any]) -> None:
        if future is self._asked and self._then is not None:
            self._asked = None
            self._then(future.result())
