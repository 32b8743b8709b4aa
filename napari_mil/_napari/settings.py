"""What the person has chosen to see of a map: one evented object that panel, overlay and legend all follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from psygnal import SignalGroupDescriptor


@dataclass
class HeatmapSettings:
    """How a map is shown; assigning a field tells everyone who follows.

    Parameters
    ----------
    score : str
        Name of the score ("attention").
    scale : str
        Display scale ("rank").
    class_index : int
        Which class, for scores that have one per class.
    threshold : float
        On the displayed scale; patches at or above it are shown.
    opacity : float
        Of the overlay, 0 to 1.
    """

    score: str
    scale: str
    class_index: int
    threshold: float
    opacity: float = 0.6

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()
