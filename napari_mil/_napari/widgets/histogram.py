"""How many patches there are of each value shown, and which of them are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from ..overlay_shown import HISTOGRAM_BINS
from .colour_bar import MARGIN_PX, fraction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...maps import MapView
    from ..overlay import Overlay

_HEIGHT_PX = 44


class Histogram(QWidget):
    """The histogram of a map as shown, coloured like it; above a colour bar it shares the bar's axis.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._overlay: Overlay | None = None
        self._view: MapView | None = None
        self.counts = np.zeros(HISTOGRAM_BINS, int)
        self.even: float | None = None
        """Where a patch with an even share of the attention, 1/N, is shown; None where that means nothing."""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("How many patches have each value")

    @property
    def heights(self) -> NDArray[np.float64]:
        """How tall each bar is, from 0 to 1; values beyond the limits, in the first and last, press no other flat."""
        return np.minimum(1.0, self.counts / max(1, int(self.counts[1:-1].max())))

    def sizeHint(self) -> QSize:
        """Return its height, which does not depend on anything."""
        return QSize(160, _HEIGHT_PX)

    def show_overlay(self, overlay: Overlay | None) -> None:
        """Show an overlay's values, what is hidden of them faded; None clears it."""
        self._overlay = overlay
        view = None if overlay is None else overlay.view
        if overlay is not None and view is not None and view is not self._view:
            self.counts, self.even = overlay.counts, overlay.even
            self.setToolTip(_words(view, self.even))
        self._view = view
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw a bar per bin, the cut, and the mark of even attention."""
        if self._overlay is None or self._view is None:
            return
        painter, settings = QPainter(self), self._overlay.settings
        area = QRectF(MARGIN_PX, 0, self.width() - 2 * MARGIN_PX, self.height())
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
        colours = ensure_colormap(self._overlay.colours).map((edges[:-1] + edges[1:]) / 2)
        cut = fraction(self._view, settings.threshold)
        edge = QColor(ink)
        edge.setAlphaF(0.3)  # the middle of colours for and against is as pale as a light theme
        painter.setPen(QPen(edge, 1))
        for left, right, share, colour in zip(edges[:-1], edges[1:], self.heights, colours, strict=True):
            if share == 0:
                continue
            middle = (left + right) / 2
            seen = self._overlay.shows_all or (middle >= cut) != settings.inverted
            shade = QColor.fromRgbF(*(float(x) for x in colour[:3]), 1.0 if seen else 0.25)
            height = max(1.0, (area.height() - 2) * share)
            box = QRectF(area.left() + left * area.width(), area.bottom() - height, 0, height)
            box.setRight(area.left() + right * area.width())
            painter.fillRect(box, shade)
            if height > 2:
                painter.drawRect(box)
        if not self._overlay.shows_all:
            self._upright(painter, area, cut, QPen(ink, 2))
        if self.even is not None:
            self._upright(painter, area, fraction(self._view, self.even), QPen(ink, 1, Qt.PenStyle.DotLine))
        painter.end()

    def _upright(self, painter: QPainter, area: QRectF, place: float, pen: QPen) -> None:
        x = area.left() + place * area.width()
        painter.setPen(pen)
        painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))


def _words(view: MapView, even: float | None) -> str:
    words = f"How many of {len(view.values):,} patches have each value. The thick line is the threshold."
    if even is not None:
        words += f" The dotted line is where every patch would lie if all had the same attention, 1/N ({even:.3g})."
    return words
