"""Progress of long work: one small value that every long generator yields.

The same generator serves a test, the command line and the window: each drives it in its own way and may close it at
any yield, which cancels the work cleanly.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a long piece of work stands.

    Parameters
    ----------
    stage : str
        What is being done, in words a pathologist understands ("Reading patches").
    done, total : int
        Units finished and units in all; ``total == 0`` means not known.
    rate : float
        Units per second of late; 0 while not known.
    message : str
        One more short sentence, or empty.
    unit : str
        Plural name of the unit counted ("patches").
    """

    stage: str
    done: int = 0
    total: int = 0
    rate: float = 0.0
    message: str = ""
    unit: str = "patches"

    @property
    def fraction(self) -> float | None:
        """Share done in [0, 1], or None where the total is not known."""
        return min(1.0, self.done / self.total) if self.total > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end of this stage, or None where it cannot be told."""
        if self.total <= 0 or self.rate <= 0:
            return None
        return max(0, self.total - self.done) / self.rate


Steps: TypeAlias = Generator[Progress, None, T]
"""A generator of Progress that returns a T; ``close()`` cancels it."""


def finish(steps: Steps[T]) -> T:
    """Run a generator of Progress to its end and return its result.

    Parameters
    ----------
    steps : generator of Progress
        The work.

    Returns
    -------
    T
        What the generator returns.
    """
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


class Pacer:
    """Keep a loop's Progress down to about ten a second, with a rate over the last few seconds.

    Parameters
    ----------
    stage : str
        As in `Progress`.
    total : int
        Units in all.
    done : int
        Units finished before this run (a resumed one); they do not count towards the rate.
    unit : str
        As in `Progress`.
    """

    _interval_s = 0.1
    _window_s = 5.0

    def __init__(self, stage: str, total: int, *, done: int = 0, unit: str = "patches") -> None:
        now = time.monotonic()
        self._stage, self._total, self._unit = stage, total, unit
        self._marks: deque[tuple[float, int]] = deque([(now, done)])
        self._last = -float("inf")

    def step(self, done: int, message: str = "") -> Progress | None:
        """Return the Progress to yield now, or None when the last was under a tenth of a second ago."""
        now = time.monotonic()
        if now - self._last < self._interval_s and done < self._total:
            return None
        self._last = now
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[0][0] > self._window_s:
            self._marks.popleft()
        elapsed = now - self._marks[0][0]
        rate = (done - self._marks[0][1]) / elapsed if elapsed > 0 else 0.0
        return Progress(self._stage, done, self._total, rate, message, self._unit)
