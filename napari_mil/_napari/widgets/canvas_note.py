"""One line on the canvas that must not be overlooked."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QLabel, QWidget

_MARGIN_PX = 12

NO_SCALE = "No scale: sizes are in pixels. Set it in the Run tab."


class CanvasNote(QLabel):
    """A line in the canvas's bottom left corner; the mouse goes through it.

    Parameters
    ----------
    canvas : QWidget
        What it lies on; it follows its size.
    text : str
        What it says.
    """

    def __init__(self, canvas: QWidget, text: str) -> None:
        super().__init__(text, canvas)
        self.setObjectName("MILNote")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        # light as the slide is, whatever napari's theme
        self.setStyleSheet(
            "#MILNote { background: rgba(255, 243, 205, 235); color: #222; border: 1px solid rgba(0, 0, 0, 60); "
            "border-radius: 4px; padding: 4px 8px; font-size: 12px; }"
        )
        canvas.installEventFilter(self)
        self.hide()

    def setVisible(self, visible: bool) -> None:
        """Show or hide it, in its corner."""
        super().setVisible(visible)
        if visible:
            self._place()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in the corner when the canvas changes its size."""
        if watched is self.parent() and event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _place(self) -> None:
        self.adjustSize()
        self.move(_MARGIN_PX, self.parentWidget().height() - self.height() - _MARGIN_PX)
        self.raise_()
