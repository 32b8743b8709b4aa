"""What the person has chosen to see of a map: one evented object that panel, overlay and legend all follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from psygnal import SignalGroupDescriptor

from ..maps import CutBy

Look = Literal["patches", "smooth"]


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
    cut_by : str
        What is held when score, scale or class change: the threshold's value, or the share, number or area of
        patches above it.
    inverted : bool
        Show what lies below the threshold instead.
    opacity : float
        Of the overlay, 0 to 1.
    colours : str
        Name of a colour map; empty takes the scale's own.
    look : str
        "patches" shows each patch as it is, "smooth" draws gradually from one to the next.
    outlined : bool
        Draw the outline of what is shown.
    """

    score: str
    scale: str
    class_index: int
    threshold: float
    cut_by: CutBy = "value"
    inverted: bool = False
    opacity: float = 0.6
    colours: str = ""
    look: Look = "patches"
    outlined: bool = False

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    def to_record(self) -> dict[str, Any]:
        """Return the choices as JSON-able values, by name."""
        return asdict(self)


def read_settings(record: Mapping[str, Any], usual: HeatmapSettings) -> HeatmapSettings:
    """Return settings that were kept; what is missing or of another kind is taken from the usual ones.

    Parameters
    ----------
    record : mapping
        As `HeatmapSettings.to_record` gives it; from a file, so anything may be in it.
    usual : HeatmapSettings
        What is shown where nothing was kept.

    Returns
    -------
    HeatmapSettings
        New ones.
    """
    known = usual.to_record()
    for field in fields(usual):
        kept, other = record.get(field.name), known[field.name]
        if isinstance(other, float) and isinstance(kept, int | float) and not isinstance(kept, bool):
            known[field.name] = float(kept)
        elif type(kept) is type(other):
            known[field.name] = kept
    for name, choices in (("cut_by", get_args(CutBy)), ("look", get_args(Look))):
        if known[name] not in choices:
            known[name] = getattr(usual, name)
    known["opacity"] = min(max(known["opacity"], 0.0), 1.0)
    return HeatmapSettings(**known)
