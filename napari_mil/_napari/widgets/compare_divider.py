"""The line between two maps on the canvas, to be drawn to either side with the mouse."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QPointF, QRectF, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

_WIDTH_PX = 14
_GRIP_PX = 22


class Divider(QWidget):
    """A dark line within a light one over the whole height of a canvas, with a grip.

    The wheel, and the mouse beside it, reach the canvas as before.

    Parameters
    ----------
    canvas : QWidget
        What it lies on; it follows its size.
    """

    moved = Signal(float)
    """Where it was drawn to, from 0 to 1 of the width."""
    resized = Signal()
    """The canvas has another size, and has drawn itself in it."""

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.place = 0.5
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setToolTip("Drag to move the divider: map A lies left of it, map B right")
        self.setAccessibleName("Divider between the two maps")
        self._after = QTimer(self)
        self._after.setSingleShot(True)
        self._after.setInterval(0)
        self._after.timeout.connect(self.resized)
        canvas.installEventFilter(self)
        self._fit()
        self.show()

    def move_to(self, place: float) -> None:
        """Stand elsewhere, from 0 to 1 of the canvas's width."""
        self.place = min(max(place, 0.0), 1.0)
        self._fit()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow the mouse while a button is held."""
        canvas = self.parentWidget()
        x = self.mapTo(canvas, event.position().toPoint()).x()
        self.moved.emit(min(max(x / max(1, canvas.width()), 0.0), 1.0))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take hold, so that the canvas does not pan."""
        event.accept()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw line and grip, seen on tissue, glass and every colour of a map."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, height = self.width() / 2, self.height()
        for colour, width in ((QColor(255, 255, 255, 230), 4), (QColor(20, 20, 20), 2)):
            painter.setPen(QPen(colour, width))
            painter.drawLine(QPointF(middle, 0), QPointF(middle, height))
        grip = QRectF(1, (height - _GRIP_PX) / 2, self.width() - 2, _GRIP_PX)
        painter.setPen(QPen(QColor(20, 20, 20), 1))
        painter.setBrush(QColor(255, 255, 255))
        painter.drawRoundedRect(grip, 4, 4)
        for x in (middle - 2, middle + 2):
            painter.drawLine(QPointF(x, grip.top() + 6), QPointF(x, grip.bottom() - 6))
        painter.end()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay at the same part of the canvas when its size changes."""
        if watched is self.parent() and event.type() == QEvent.Type.Resize:
            self._fit()
            self._after.start()
        return False

    def _fit(self) -> None:
        canvas = self.parentWidget()
        left = round(self.place * canvas.width() - _WIDTH_PX / 2)
        self.setGeometry(left, 0, _WIDTH_PX, canvas.height())
        self.raise_()
