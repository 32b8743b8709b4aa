"""The card over the slide that says what a difference shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QLabel, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from ...maps import Difference

_STOPS = 16


class DifferenceCard(QFrame):
    """Names, colours and limits of a difference, in the canvas's top left corner.

    Parameters
    ----------
    canvas : QWidget
        What it lies on.
    """

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.setObjectName("MILDifference")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._words, self._ends = QLabel(self), QLabel(self)
        self._bar = QFrame(self)
        self._bar.setFixedHeight(14)
        for label in (self._words, self._ends):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        colours = ensure_colormap("PuOr").map([k / (_STOPS - 1) for k in range(_STOPS)])
        stops = ",".join(
            f"stop:{k / (_STOPS - 1):.3f} rgb({','.join(str(round(float(x) * 255)) for x in colour[:3])})"
            for k, colour in enumerate(colours)
        )
        self._bar.setStyleSheet(f"background: qlineargradient(x1:0, y1:0, x2:1, y2:0, {stops});")
        # light whatever the theme: the slide is
        self.setStyleSheet(
            "#MILDifference { background: rgba(255, 255, 255, 225); border: 1px solid rgba(0, 0, 0, 60); "
            "border-radius: 4px; } #MILDifference QLabel { color: #222; background: transparent; font-size: 11px; }"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        for widget in (self._words, self._bar, self._ends):
            layout.addWidget(widget)
        self.setFixedWidth(300)
        self.hide()

    @property
    def text(self) -> str:
        """The words on the card."""
        return f"{self._words.text()}\n{self._ends.text()}"

    def show_difference(self, found: Difference | None) -> None:
        """Say what a difference shows; None takes the card away."""
        if found is None:
            self.hide()
            return
        first, second = found.names
        self._words.setText(f"{found.title}\nA: {first}\nB: {second}\n{found.help}")
        low, high = found.limits
        self._ends.setText(f"{low:.3g}: higher in B      0      {high:.3g}: higher in A")
        for label in (self._words, self._ends):
            label.setFixedHeight(label.heightForWidth(284))
        self.adjustSize()
        self.move(12, 12)
        self.show()
        self.raise_()
