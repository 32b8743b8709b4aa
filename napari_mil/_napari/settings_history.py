"""What was chosen before, to go back to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .settings import HeatmapSettings

_ONE_CHANGE_S = 1.0  # a slider that is dragged is one change
_MOST = 100

Record = Mapping[str, Any]


class History:
    """The choices of one map over time.

    Parameters
    ----------
    settings : HeatmapSettings
        Which it follows.
    """

    def __init__(self, settings: HeatmapSettings) -> None:
        self._settings = settings
        self._past: list[Record] = []
        self._future: list[Record] = []
        self._now: Record = settings.to_record()
        self._last: tuple[str, float] = ("", 0.0)
        self._moving = False
        self.held = False
        """Whether what is shown is not the person's choice for now and will be given back: it is none to go back to."""
        settings.events.connect(self._note)

    def back(self, restore: Callable[[Record], None]) -> None:
        """Restore what was chosen before the last change, if there was one."""
        self._move(self._past, self._future, restore)

    def forward(self, restore: Callable[[Record], None]) -> None:
        """Restore what was undone last, if nothing else was chosen since."""
        self._move(self._future, self._past, restore)

    def _move(self, source: list[Record], target: list[Record], restore: Callable[[Record], None]) -> None:
        if not source or self.held:
            return
        target.append(self._now)
        self._now = source.pop()
        self._last = ("", 0.0)
        self._moving = True
        try:
            restore(self._now)
        finally:
            self._moving = False

    def _note(self, _: Any) -> None:
        if self._moving or self.held:
            return
        record, now = self._settings.to_record(), time.monotonic()
        name = ",".join(field for field, value in record.items() if value != self._now[field])
        if not name:
            return
        if name != self._last[0] or now - self._last[1] > _ONE_CHANGE_S:
            self._past.append(self._now)
            del self._past[:-_MOST]
        self._now, self._last = record, (name, now)
        self._future.clear()
