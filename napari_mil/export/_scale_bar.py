"""A scale bar of a round length."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.patches import Rectangle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCALE_BAR_HEIGHT = 0.34
"""Inches that the strip with the scale bar takes."""

_INK = "#1c1c1c"
_SHARE = 0.22  # of the picture's width, at most


def round_length_um(at_most_um: float) -> float:
    """Return the longest of 1, 2 or 5 times a power of ten that is not above a length.

    Parameters
    ----------
    at_most_um : float
        Microns, above 0.

    Returns
    -------
    float
        Microns.
    """
    decade = 10.0 ** math.floor(math.log10(at_most_um))
    return max(step * decade for step in (1, 2, 5) if step * decade <= at_most_um * (1 + 1e-9))


def format_length(um: float) -> str:
    """Write a length in millimetres from one up, in microns below."""
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"


def draw_scale_bar(axes: Axes, width_um: float, width_in: float, *, size: float = 9, share: float = _SHARE) -> None:
    """Draw a scale bar at the left of the strip below a picture.

    Parameters
    ----------
    axes : matplotlib Axes
        The strip, as wide as the picture and `SCALE_BAR_HEIGHT` inches high.
    width_um : float
        Width of the picture in microns.
    width_in : float
        The same in inches on the page.
    size : float
        Of the letters, in points.
    share : float
        Of the picture's width, which the bar takes at most.
    """
    length_um = round_length_um(share * width_um)
    length = length_um / width_um
    axes.set(xlim=(0, 1), ylim=(0, SCALE_BAR_HEIGHT))
    axes.axis("off")
    axes.add_patch(Rectangle((0, 0.16), length, 0.05, facecolor=_INK, edgecolor="none"))
    axes.text(length + 0.1 / width_in, 0.185, format_length(length_um), va="center_baseline", size=size, color=_INK)
