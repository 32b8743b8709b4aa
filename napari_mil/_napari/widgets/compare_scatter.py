"""Ranks of patches in two maps as a density, with a lasso: as quick with 100 000 patches as with ten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.path import Path
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BINS = 96
_ROOM_PX = 20


class RankScatter(QWidget):
    """Draw around points to choose patches; click without drawing to choose none."""

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumHeight(150)
        self.setAccessibleName("Ranks of the patches in both maps")
        self.setToolTip("Each patch by its rank in either map. Draw around patches to mark them on the slide.")
        self._points: NDArray[np.float64] = np.empty((0, 2))
        self._picture: QImage | None = None
        self._names = ("", "")
        self._lasso: list[QPointF] = []
        self._mark: int | None = None

    def show_points(self, points: NDArray[np.float64], names: tuple[str, str]) -> None:
        """Show ranks from 0 to 1, first map across, second upwards; (M, 2)."""
        self._points, self._names, self._lasso, self._mark = points, names, [], None
        counts, _, _ = np.histogram2d(points[:, 1], points[:, 0], bins=_BINS, range=((0, 1), (0, 1)))
        shade = np.log1p(counts[::-1]) / max(float(np.log1p(counts).max(initial=0)), 1e-9)
        rgba = ensure_colormap("viridis").map(shade.ravel()).reshape(_BINS, _BINS, 4)
        rgba[counts[::-1] == 0, 3] = 0
        pixels = np.ascontiguousarray(np.rint(rgba * 255).astype(np.uint8))
        self._picture = QImage(pixels.data, _BINS, _BINS, 4 * _BINS, QImage.Format.Format_RGBA8888).copy()
        self.update()

    def mark(self, place: int | None) -> None:
        """Show where one patch lies, or none."""
        if place != self._mark:
            self._mark = place
            self.update()

    def choose_within(self, corners: NDArray[np.float64]) -> NDArray[np.int64]:
        """Choose the patches within a closed line through corners, (K, 2) ranks; tell whom it concerns."""
        inside = Path(corners).contains_points(self._points) if len(corners) > 2 else np.zeros(len(self._points), bool)
        found = np.flatnonzero(inside).astype(np.int64)
        self.chosen.emit(found)
        return found

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a line."""
        self._lasso = [event.position()]

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on with it."""
        self._lasso.append(event.position())
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Close it."""
        box = self._box()
        across = [(p.x() - box.left()) / box.width() for p in self._lasso]
        up = [(box.bottom() - p.y()) / box.height() for p in self._lasso]
        self.choose_within(np.column_stack([across, up]))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw density, axes, line and mark."""
        painter = QPainter(self)
        box, ink = self._box(), self.palette().color(QPalette.ColorRole.WindowText)
        painter.setPen(ink)
        painter.drawRect(box)
        if self._picture is not None:
            painter.drawImage(box, self._picture)
        below = QRectF(box.left(), box.bottom() + 2, box.width(), _ROOM_PX - 2)
        painter.drawText(below, Qt.AlignmentFlag.AlignCenter, f"Rank in {self._names[0]}")
        painter.save()
        painter.translate(box.left() - _ROOM_PX, box.bottom())
        painter.rotate(-90)
        painter.drawText(
            QRectF(0, 0, box.height(), _ROOM_PX), Qt.AlignmentFlag.AlignCenter, f"Rank in {self._names[1]}"
        )
        painter.restore()
        if len(self._lasso) > 1:
            painter.setPen(QPen(ink, 1.5))
            painter.drawPolygon(QPolygonF(self._lasso))
        if self._mark is not None and self._mark < len(self._points):
            x, y = self._points[self._mark]
            at = QPointF(box.left() + x * box.width(), box.bottom() - y * box.height())
            painter.setPen(QPen(QColor("#e6001a"), 2))
            painter.drawEllipse(at, 5, 5)
        painter.end()

    def _box(self) -> QRectF:
        edge = max(20.0, min(self.width() - _ROOM_PX - 8.0, self.height() - _ROOM_PX - 8.0))
        return QRectF(_ROOM_PX + (self.width() - _ROOM_PX - edge) / 2, 4, edge, edge)
