"""The legend on the canvas: what the colours mean, in words and numbers.

A Qt card over the canvas, not napari's own text and colour bar overlays: these draw each letter anew at first use,
which stops the window for seconds, and know neither log scales nor small numbers. To keep, there is the figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import show_info
from qtpy.QtCore import QEvent, QObject, QPoint, Qt
from qtpy.QtGui import QHideEvent, QMoveEvent, QResizeEvent, QShowEvent
from qtpy.QtWidgets import QFrame, QLabel, QMainWindow, QVBoxLayout, QWidget

from ...errors import NapariMilError
from ...preferences import keep_legend, read_preferences
from .colour_bar import ColourBar
from .legend_grip import GRIP_PX, LegendGrip

if TYPE_CHECKING:
    from ..live import LiveOverlay
    from ..overlay import Overlay

_MARGIN_PX = 12
_ABOVE_SCALE_BAR_PX = 60
_WIDTH_PX = 280
_PADDING_PX = 8
_BORDER_PX = 2


class CanvasLegend(QFrame):
    """A card in a corner of the canvas; the mouse goes through it but for its title.

    By that it is dragged to another corner and folded up, which is remembered.

    Parameters
    ----------
    canvas : QWidget
        What it lies on; it follows its size.
    left : bool or None
        Whether it keeps to the left or the right half, as one of two does; None lets it lie in any corner.
    """

    def __init__(self, canvas: QWidget, *, left: bool | None = None) -> None:
        super().__init__(canvas)
        known = read_preferences()
        self._side = left
        self._top = known.legend_corner.startswith("top")
        self._left = known.legend_corner.endswith("left") if left is None else left
        self._folded = known.legend_folded
        self._overlay: Overlay | LiveOverlay | None = None
        self._from: QPoint | None = None
        self.setObjectName("MILLegend")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        # The slide is light whatever napari's theme is, so the card is too.
        self.setStyleSheet(
            "#MILLegend { background: rgba(255, 255, 255, 225); border: 1px solid rgba(0, 0, 0, 60); "
            "border-radius: 4px; } #MILLegend[provisional=true] { border: 2px dashed #b36b00; } "
            "#MILLegend QLabel { color: #222; background: transparent; font-size: 11px; }"
        )
        # beside the card, not in it: nothing in what lets the mouse through can be clicked
        self.grip = LegendGrip(canvas)
        self.destroyed.connect(self.grip.deleteLater)
        self._words = QLabel(self)
        self._words.setWordWrap(True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._bar = ColourBar(self, ink="#222")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(_PADDING_PX, GRIP_PX, _PADDING_PX, 6)
        layout.addWidget(self._words)
        layout.addWidget(self._bar)
        self.setFixedWidth(_WIDTH_PX)
        canvas.installEventFilter(self)
        self.grip.dragged.connect(self._drag)
        self.grip.dropped.connect(self._drop)
        self.grip.pushed.connect(self._push)
        self.grip.toggled.connect(self.fold)
        self.grip.hide()
        self.hide()

    @property
    def text(self) -> str:
        """What it says, folded up or not."""
        return "" if self._overlay is None else self._overlay.legend().replace(" mm²", "\N{NO-BREAK SPACE}mm²")

    @property
    def folded(self) -> bool:
        """Whether only its title is shown."""
        return self._folded

    @property
    def corner(self) -> str:
        """Where it lies: "top right", "bottom left" and so on."""
        return f"{'top' if self._top else 'bottom'} {'left' if self._left else 'right'}"

    def show_overlay(self, overlay: Overlay | LiveOverlay | None) -> None:
        """Say what an overlay shows.

        Parameters
        ----------
        overlay : Overlay, LiveOverlay or None
            None, or one whose layer is hidden, takes the card away.
        """
        self._overlay = overlay
        if overlay is None or overlay.layer is None or not overlay.layer.visible:
            self.hide()
            return
        self._fill(overlay)
        if self.property("provisional") != overlay.provisional:
            self.setProperty("provisional", overlay.provisional)
            self.style().polish(self)
        self.show()
        self._place()

    def fold(self) -> None:
        """Show only the title, or everything again."""
        self._folded = not self._folded
        if self._overlay is not None and self.isVisible():
            self._fill(self._overlay)
            self._place()
        self._remember()

    def move_to(self, corner: str) -> None:
        """Lie in another corner, as far as it may.

        Parameters
        ----------
        corner : str
            As `corner` says it.
        """
        self._top = corner.startswith("top")
        self._left = corner.endswith("left") if self._side is None else self._side
        self._place()
        self._remember()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay in the corner when the canvas changes its size."""
        if watched is self.parent() and event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def showEvent(self, event: QShowEvent) -> None:
        """Show the title with it, above all else on the canvas."""
        super().showEvent(event)
        self.raise_()
        self.grip.show()
        self.grip.raise_()

    def hideEvent(self, event: QHideEvent) -> None:
        """Hide the title with it."""
        super().hideEvent(event)
        self.grip.hide()

    def moveEvent(self, event: QMoveEvent) -> None:
        """Take the title along."""
        super().moveEvent(event)
        self._fit_grip()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the title as wide as it is."""
        super().resizeEvent(event)
        self._fit_grip()

    def _fill(self, overlay: Overlay | LiveOverlay) -> None:
        title, _, words = self.text.partition("\n")
        if self._folded and not overlay.provisional:
            title = overlay.view.title
        self.grip.show_title(title, folded=self._folded)
        self._words.setVisible(not self._folded)
        self._bar.setVisible(not self._folded)
        self.layout().setContentsMargins(_PADDING_PX, GRIP_PX, _PADDING_PX, 0 if self._folded else 6)
        if self._folded:
            return
        self._words.setText(words)
        # A label that wraps tells Qt its height only when asked for a given width, and none below its least.
        self._words.setMinimumHeight(0)
        self._words.setFixedHeight(self._words.heightForWidth(_WIDTH_PX - 2 * _PADDING_PX))
        self._bar.show_overlay(overlay)

    def _place(self) -> None:
        self.adjustSize()
        canvas = self.parentWidget()
        right, bottom = canvas.width() - self.width() - _MARGIN_PX, canvas.height() - self.height()
        self.move(
            _MARGIN_PX if self._left else right, _MARGIN_PX if self._top else max(0, bottom - _ABOVE_SCALE_BAR_PX)
        )

    def _fit_grip(self) -> None:
        self.grip.setGeometry(self.geometry().adjusted(_BORDER_PX, _BORDER_PX, -_BORDER_PX, 0))

    def _drag(self, by: QPoint) -> None:
        self._from = self.pos() if self._from is None else self._from
        canvas, to = self.parentWidget(), self._from + by
        self.move(
            min(max(to.x(), 0), max(0, canvas.width() - self.width())),
            min(max(to.y(), 0), max(0, canvas.height() - self.height())),
        )

    def _drop(self) -> None:
        """Go to the nearest corner."""
        self._from = None
        middle, canvas = self.geometry().center(), self.parentWidget().rect().center()
        top, left = middle.y() <= canvas.y(), middle.x() <= canvas.x()
        self.move_to(f"{'top' if top else 'bottom'} {'left' if left else 'right'}")

    def _push(self, right: int, down: int) -> None:
        top, left = (down < 0 if down else self._top), (right < 0 if right else self._left)
        self.move_to(f"{'top' if top else 'bottom'} {'left' if left else 'right'}")

    def _remember(self) -> None:
        if self._side is not None:  # of two, each keeps to its own half for as long as both are shown
            return
        try:
            keep_legend(self.corner, folded=self._folded)
        except NapariMilError as error:
            show_info(str(error))


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
