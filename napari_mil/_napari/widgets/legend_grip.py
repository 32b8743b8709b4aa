"""The strip along the top of a legend, by which it is moved to another corner and folded up."""

from __future__ import annotations

from qtpy.QtCore import QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QEnterEvent, QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QApplication, QWidget

GRIP_PX = 20
_ARROW_PX, _INSET_PX = 20, 11
_INK, _FAINT = QColor("#222"), QColor(0, 0, 0, 18)
_ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


class LegendGrip(QWidget):
    """A title to drag, and an arrow to click.

    Signals: ``dragged`` (how far since the press), ``dropped``, ``pushed`` (-1, 0 or 1 to the right and down, by the
    arrow keys), ``toggled`` (the arrow, a double click, Space or Return).

    Parameters
    ----------
    canvas : QWidget
        What it lies on.
    """

    dragged = Signal(QPoint)
    dropped = Signal()
    pushed = Signal(int, int)
    toggled = Signal()

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._title, self._folded = "", False
        self._pressed: QPoint | None = None
        self._moving = False
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self.setFixedHeight(GRIP_PX)
        self.setMouseTracking(True)
        # by Tab alone: a click must not take the keys from the canvas
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName("Legend")
        self.show_title("", folded=False)

    @property
    def title(self) -> str:
        """What it says."""
        return self._title

    @property
    def arrow(self) -> QRect:
        """Where it is clicked to fold the legend up or open it."""
        return QRect(self.width() - _ARROW_PX, 0, _ARROW_PX, self.height())

    def sizeHint(self) -> QSize:
        """Return the height of a line."""
        return QSize(200, GRIP_PX)

    def show_title(self, title: str, *, folded: bool) -> None:
        """Say something, with the arrow as the legend is."""
        self._title, self._folded = title, folded
        fold = "open it" if folded else "fold it up"
        self.setToolTip(f"{title}\nDrag the legend to another corner; click the arrow to {fold}.".lstrip())
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw title and arrow, shaded under the mouse, and a frame where it has the keys."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.underMouse() or self.hasFocus() or self._folded:
            painter.fillRect(self.rect(), _FAINT)
        if self.hasFocus():
            painter.setPen(QPen(QColor("#007acc"), 2))
            painter.drawRect(self.rect().adjusted(1, 1, -1, -1))
        font = self.font()
        font.setPixelSize(11)
        font.setBold(True)
        painter.setFont(font)
        painter.setPen(_INK)
        room = self.rect().adjusted(_INSET_PX, 0, -_ARROW_PX - 2, 0)
        words = painter.fontMetrics().elidedText(self._title, Qt.TextElideMode.ElideMiddle, room.width())
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, words)
        middle = self.arrow.center()
        tip, side = (QPoint(3, 0), QPoint(-2, 4)) if self._folded else (QPoint(0, 3), QPoint(4, -2))
        other = QPoint(side.x(), -side.y()) if self._folded else QPoint(-side.x(), side.y())
        painter.setPen(QPen(_INK, 1.6))
        painter.drawPolyline([middle + side, middle + tip, middle + other])
        painter.end()

    def enterEvent(self, event: QEnterEvent) -> None:
        """Shade."""
        self.update()

    def leaveEvent(self, event: object) -> None:
        """Shade no more."""
        self.update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show that it has the keys."""
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Show that it has them no more."""
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to drag, or to click the arrow."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed = event.globalPosition().toPoint()
            self._moving = False

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag."""
        over = self.arrow.contains(event.position().toPoint())
        if self._pressed is None:
            self.setCursor(Qt.CursorShape.PointingHandCursor if over else Qt.CursorShape.OpenHandCursor)
            return
        by = event.globalPosition().toPoint() - self._pressed
        if self._moving or by.manhattanLength() >= QApplication.startDragDistance():
            self._moving = True
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
            self.dragged.emit(by)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Drop, or follow the click on the arrow."""
        if self._pressed is None or event.button() != Qt.MouseButton.LeftButton:
            return
        self._pressed = None
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        if self._moving:
            self._moving = False
            self.dropped.emit()
        elif self.arrow.contains(event.position().toPoint()):
            self.toggled.emit()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Fold up or open, also beside the arrow; on it, this is its second click."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.toggled.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move by the arrow keys; fold up or open by Space or Return."""
        if event.key() in _ARROWS:
            self.pushed.emit(*_ARROWS[Qt.Key(event.key())])
        elif event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.toggled.emit()
        else:
            super().keyPressEvent(event)
