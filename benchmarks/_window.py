"""What benchmarks that need a real window share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


def need_display(module: str) -> None:
    """Start the program again on a virtual screen where there is none.

    Parameters
    ----------
    module : str
        Name of the calling module, as ``python -m`` takes it.
    """
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform != "linux":
        return
    if shutil.which("xvfb-run") is None:
        sys.exit("This benchmark needs a display or xvfb-run (Debian package xvfb).")
    command = ["xvfb-run", "-a", "-s", "-screen 0 1366x768x24", sys.executable, "-m", module, *sys.argv[1:]]
    sys.exit(subprocess.run(command, check=False).returncode)


def pump(until: Callable[[], bool], limit_s: float = 300.0) -> float:
    """Let Qt work until something is true; return the seconds it took.

    Parameters
    ----------
    until : callable
        Asked between events.
    limit_s : float
        Give up after so many seconds.

    Returns
    -------
    float
        Seconds waited.
    """
    from qtpy.QtWidgets import QApplication

    start = time.perf_counter()
    while not until():
        if time.perf_counter() - start > limit_s:
            sys.exit(f"Gave up after {limit_s} s")
        QApplication.processEvents()
        time.sleep(0.001)
    return time.perf_counter() - start


def wait(seconds: float) -> None:
    """Let Qt work for a while."""
    end = time.perf_counter() + seconds
    pump(lambda: time.perf_counter() >= end)


class Ticker:
    """Measure how long the window leaves its events waiting: a timer of 10 ms, and the gaps between its ticks."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self.gaps_ms: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(10)

    def take(self) -> list[float]:
        """Return the gaps since the last call, in milliseconds, and begin anew."""
        gaps, self.gaps_ms = self.gaps_ms, []
        self._last = time.perf_counter()
        return gaps

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps_ms.append(1000 * (now - self._last))
        self._last = now
