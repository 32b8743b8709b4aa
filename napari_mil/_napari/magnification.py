"""How much a view is magnified, and where the mouse is, in the words of a microscope."""

from __future__ import annotations

import math

PRESETS = (1.0, 2.5, 5.0, 10.0, 20.0, 40.0)
"""The objectives of a microscope."""

_UM_AT_1X = 10.0
"""Microns per pixel at 1x, by the convention of the field: 10x is 1 um, 40x is 0.25 um per pixel."""


def zoom_for(magnification: float) -> float:
    """Return the camera's zoom, screen pixels per micron, that shows a slide at a magnification.

    Parameters
    ----------
    magnification : float
        20 for 20x.

    Returns
    -------
    float
        For napari's camera over layers in microns.
    """
    return magnification / _UM_AT_1X


def magnification_at(zoom: float) -> float:
    """Return the magnification at which a camera's zoom shows a slide; the inverse of `zoom_for`.

    Parameters
    ----------
    zoom : float
        Screen pixels per micron.

    Returns
    -------
    float
        20 for 20x.
    """
    return zoom * _UM_AT_1X


def view_words(zoom: float, place: tuple[float, float] | None, *, scaled: bool) -> str:
    """Say in a line what a view shows.

    Parameters
    ----------
    zoom : float
        Screen pixels per world unit.
    place : (float, float) or None
        (row, col) under the mouse from the slide's top left corner: microns, or level-0 pixels of a slide without
        scale; None where the mouse is elsewhere.
    scaled : bool
        Whether the slide's scale is known.

    Returns
    -------
    str
        Such as "20x  0.50 µm/px  |  x 12.31  y 4.08 mm".
    """
    if not math.isfinite(zoom) or zoom <= 0:
        return ""
    if not scaled:
        words = f"No scale  {_digits(1 / zoom)} slide px/px"
        return words if place is None else f"{words}  |  x {place[1]:,.0f}  y {place[0]:,.0f} px"
    words = f"{_digits(magnification_at(zoom))}x  {_digits(1 / zoom)} µm/px"
    return words if place is None else f"{words}  |  x {place[1] / 1000:.2f}  y {place[0] / 1000:.2f} mm"


def _digits(value: float) -> str:
    """Write a number with three digits, and no more than it needs."""
    if value >= 100:
        return f"{value:,.0f}"
    decimals = 1 if value >= 10 else 2
    if value < 0.1:
        return f"{value:.2g}"
    text = f"{value:.{decimals}f}"
    whole, _, fraction = text.partition(".")
    return text if fraction.strip("0") else whole
