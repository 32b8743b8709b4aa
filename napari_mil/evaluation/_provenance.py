"""With what a judgement was computed, and when."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version

from .. import __version__


def provenance() -> dict[str, str]:
    """Return versions of what computes here, and the time."""
    return {
        "napari_mil": __version__,
        **{name: version(name) for name in ("numpy", "scipy", "scikit-learn", "torch")},
        "python": platform.python_version(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
