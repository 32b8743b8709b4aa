"""An outline that a person drew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """One outline, with its class.

    Parameters
    ----------
    name : str
        What the person called this one; may be empty.
    class_name : str
        What it is ("Tumor"), or the group it is in; may be empty.
    geometry : shapely geometry
        Level-0 pixels, (x, y), with (0, 0) at the slide's top-left corner, so that pixel edges lie on whole numbers.
    color : (int, int, int) or None
        Red, green, blue, 0 to 255; None where the file states none.
    repaired : bool
        True where the outline as drawn crossed itself, so that ``geometry`` is not quite what was drawn.
    """

    name: str
    class_name: str
    geometry: Any
    color: tuple[int, int, int] | None
    repaired: bool = False
