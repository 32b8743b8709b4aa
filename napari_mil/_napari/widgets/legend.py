"""The legend on the canvas: what the colours mean, in words and numbers.

A Qt card over the canvas, not napari's own text and colour bar overlays: these draw each letter anew at first use,
which stops the window for seconds, and know neither log scales nor small numbers. To keep, there is the figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QFrame, QLabel, QMainWindow, QVBoxLayout, QWidget

from .colour_bar import ColourBar

if TYPE_CHECKING:
    from ..live import LiveOverlay
    from ..overlay import Overlay

_MARGIN_PX = 12
_WIDTH_PX = 280
_PADDING_PX = 8


class CanvasLegend(QFrame):
    """A card in the canvas's top right corner; the mouse goes through it.

    Parameters
    ----------
    canvas : QWidget
        What it lies on; it follows its size.
    left : bool
        In the top left corner instead.
    """

    def __init__(self, canvas: QWidget, *, left: bool = False) -> None:
        super().__init__(canvas)
        self._left = left
        self.setObjectName("MILLegend")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        # The slide is light whatever napari's theme is, so the card is too.
        self.setStyleSheet(
            "#MILLegend { background: rgba(255, 255, 255, 225); border: 1px solid rgba(0, 0, 0, 60); "
            "border-radius: 4px; } #MILLegend[provisional=true] { border: 2px dashed #b36b00; } "
            "#MILLegend QLabel { color: #222; background: transparent; font-size: 11px; }"
        )
        self._words = QLabel(self)
        self._words.setWordWrap(True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._bar = ColourBar(self, ink="#222")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(_PADDING_PX, 6, _PADDING_PX, 6)
        layout.addWidget(self._words)
        layout.addWidget(self._bar)
        self.setFixedWidth(_WIDTH_PX)
        canvas.installEventFilter(self)
        self.hide()

    @property
    def text(self) -> str:
        """The words on the card."""
        return self._words.text()

    def show_overlay(self, overlay: Overlay | LiveOverlay | None) -> None:
        """Say what an overlay shows.

        Parameters
        ----------
        overlay : Overlay, LiveOverlay or None
            None, or one whose layer is hidden, takes the card away.
        """
        if overlay is None or overlay.layer is None or not overlay.layer.visible:
            self.hide()
            return
        self._words.setText(overlay.legend().replace(" mm²", "\N{NO-BREAK SPACE}mm²"))
        # A label that wraps tells Qt its height only when asked for a given width, and none below its least.
        self._words.setMinimumHeight(0)
        self._words.setFixedHeight(self._words.heightForWidth(_WIDTH_PX - 2 * _PADDING_PX))
        self._bar.show_overlay(overlay)
        if self.property("provisional") != overlay.provisional:
            self.setProperty("provisional", overlay.provisional)
            self.style().polish(self)
        self.show()
        self._place()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in the corner when the canvas changes its size."""
        if watched is self.parent() and event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _place(self) -> None:
        self.adjustSize()
        right = self.parentWidget().width() - self.width() - _MARGIN_PX
        self.move(_MARGIN_PX if self._left else right, _MARGIN_PX)
        self.raise_()


def main_window_of(widget: QWidget) -> QMainWindow | None:
    """Return the main window that a widget belongs to, also while its dock floats.

    Parameters
    ----------
    widget : QWidget
        Any widget.

    Returns
    -------
    QMainWindow or None
        None while it has not been put into one.
    """
    above: QWidget | None = widget
    while above is not None and not isinstance(above, QMainWindow):
        above = above.parentWidget()
    return above
