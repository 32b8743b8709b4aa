"""A colour bar with numbers in the scale's own units; what lies below the threshold is faded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QSizePolicy, QWidget

from ..overlay_data import axis_place

if TYPE_CHECKING:
    from ...maps import MapView
    from ..live import LiveOverlay
    from ..overlay import Overlay

MARGIN_PX = 7
"""Room for half of the outermost numbers; the threshold slider below ends a little inside too."""

_STOPS = 64
_BAR_PX = 14


class ColourBar(QWidget):
    """Show the colours of a map's present view and their values.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    ink : str
        Colour of the numbers; empty takes the theme's.
    """

    def __init__(self, parent: QWidget | None = None, ink: str = "") -> None:
        super().__init__(parent)
        self._ink = QColor(ink) if ink else None
        self._overlay: Overlay | LiveOverlay | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Colours of the map")

    def sizeHint(self) -> QSize:
        """Return the height of bar, ticks and numbers."""
        return QSize(160, _BAR_PX + 6 + self.fontMetrics().height())

    def show_overlay(self, overlay: Overlay | LiveOverlay | None) -> None:
        """Show the colours of an overlay, faded where nothing is shown.

        Parameters
        ----------
        overlay : Overlay, LiveOverlay or None
            None clears the bar.
        """
        self._overlay = overlay
        if overlay is not None:
            low, high = overlay.limits
            self.setToolTip(f"{overlay.view.title}: {overlay.view.scale.title}, from {low:.3g} to {high:.3g}")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw gradient, ticks and numbers."""
        if self._overlay is None:
            return
        view, settings = self._overlay.view, self._overlay.settings
        painter = QPainter(self)
        metrics = self.fontMetrics()
        bar = QRectF(MARGIN_PX, 0, self.width() - 2 * MARGIN_PX, _BAR_PX)
        cut = fraction(view, settings.threshold)
        gradient = QLinearGradient(bar.left(), 0, bar.right(), 0)
        places = np.linspace(0, 1, _STOPS)
        for place, colour in zip(places, ensure_colormap(self._overlay.colours).map(places), strict=True):
            r, g, b, _ = (float(x) for x in colour)
            seen = self._overlay.shows_all or (place >= cut) != settings.inverted
            gradient.setColorAt(float(place), QColor.fromRgbF(r, g, b, 1.0 if seen else 0.2))
        painter.fillRect(bar, gradient)
        painter.setPen(self._ink or self.palette().color(QPalette.ColorRole.WindowText))
        taken = -math.inf
        for value, text in ticks(view):
            x = bar.left() + fraction(view, value) * bar.width()
            width = metrics.horizontalAdvance(text)
            left = min(max(x - width / 2, 0), self.width() - width)
            painter.drawLine(round(x), _BAR_PX, round(x), _BAR_PX + 3)
            if left > taken + 4:
                text_box = QRectF(left, _BAR_PX + 4, width + 1, metrics.height())
                painter.drawText(text_box, Qt.AlignmentFlag.AlignCenter, text)
                taken = left + width
        painter.end()


def ticks(view: MapView) -> list[tuple[float, str]]:
    """Return the numbers that a colour bar carries.

    Parameters
    ----------
    view : MapView
        What the map shows.

    Returns
    -------
    list of (float, str)
        Value on the displayed scale and its text, ascending: powers of ten on a log scale, else five even steps.
    """
    low, high = view.limits
    if view.scale.log:
        powers = range(math.ceil(math.log10(low) - 1e-6), math.floor(math.log10(high) + 1e-6) + 1)
        return [(10.0**p, f"{10.0**p:,g}") for p in powers]
    count = 3 if view.scale.diverging else 5
    found = [(float(v), f"{v:.2g}") for v in np.linspace(low, high, count)]
    if view.scale.saturates and view.lowest < low:
        found[0] = low, f"≤{low:.2g}"
    if view.highest > high:
        found[-1] = high, f"≥{high:.2g}"
    return found


def fraction(view: MapView, value: float) -> float:
    """Return where a shown value lies along a colour bar.

    Parameters
    ----------
    view : MapView
        What the bar shows.
    value : float
        On the displayed scale.

    Returns
    -------
    float
        0 at the left end to 1 at the right.
    """
    low, high = (axis_place(view, limit) for limit in view.limits)
    return min(max((axis_place(view, value) - low) / (high - low), 0.0), 1.0)
