"""Whether a window can be opened here."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

_TRY = """
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from qtpy.QtGui import QGuiApplication
QGuiApplication([])
"""
_LONG_S = 30.0


def display_problem() -> str:
    """Say why no window can be opened here.

    On Linux Qt ends the whole process where it cannot use the display that the environment names, one that has gone or
    refuses us: so another process tries first.

    Returns
    -------
    str
        A clause for people; empty where a window can be expected to open.
    """
    if sys.platform != "linux":
        return ""
    names = tuple(os.environ.get(name, "") for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if not any(names):
        return "there is no display"
    return _tried(*names, os.environ.get("QT_QPA_PLATFORM", ""))


@cache
def _tried(*named: str) -> str:
    """Have a process of its own reach for the display that the environment names."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LONG_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the display {' '.join(name for name in named if name)} does not answer"
    if done.returncode >= 0:  # anything but a crash, such as Qt not being there, is told where the window is made
        return ""
    first = next((line for line in done.stderr.splitlines() if line.strip()), "it crashed")
    said = first.split(": ", 1)[1] if first.startswith("qt.") and ": " in first else first
    return f"Qt says: {said.strip().rstrip('.')}"
