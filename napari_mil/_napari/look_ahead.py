"""Making what a person may choose next, beside the window, while the hand rests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

from .latest import Latest

if TYPE_CHECKING:
    from .overlay import Overlay

_REST_MS = 200


class LookAhead(QObject):
    """Makes the views that are one choice away from what a map shows.

    Parameters
    ----------
    parent : QObject
        Who asks.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._overlay: Overlay | None = None
        self._latest = Latest(self)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_REST_MS)
        self._soon.timeout.connect(self._make)

    @property
    def waiting(self) -> bool:
        """Whether something is being made, or about to be."""
        return bool(self._soon.isActive()) or self._latest.waiting

    def follow(self, overlay: Overlay | None) -> None:
        """Look ahead from what a map shows now, or, with None, no more."""
        if overlay is not self._overlay:
            self._latest.drop()
        self._overlay = overlay
        if overlay is None:
            self._soon.stop()
        else:
            self._soon.start()

    def close(self) -> None:
        """Make nothing ever again."""
        self.follow(None)
        self._latest.close()

    def _make(self) -> None:
        overlay = self._overlay
        work = None if overlay is None else overlay.ahead()
        if overlay is not None and work is not None:
            self._latest.ask(work, overlay.keep_ahead)
