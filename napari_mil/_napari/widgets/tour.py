"""Three cards that show the way through the panel, one after the other; nothing waits for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ...errors import NapariMilError
from ...preferences import keep_tour_seen

if TYPE_CHECKING:
    from .panel import MILPanel

_WIDTH_PX, _MARGIN_PX = 300, 12


@dataclass(frozen=True, slots=True)
class Step:
    """One card.

    Parameters
    ----------
    tab : str
        Which tab of the panel it speaks of.
    title, text : str
        In plain words.
    """

    tab: str
    title: str
    text: str


STEPS = (
    Step(
        "Run",
        "Run a model",
        "A demo model is chosen already. Press <b>Run</b>: the slide is cut into patches, and the model says how much "
        "it looked at each. You can pan and zoom meanwhile.",
    ),
    Step(
        "Heatmap",
        "See where it looked",
        "The map lies over the slide. Drag the <b>threshold</b> to keep only the highest patches; hold <b>H</b> to see "
        "the tissue beneath. Rest the mouse on a patch, and the bottom line reads it.",
    ),
    Step(
        "Annotate",
        "Judge whether it was right",
        "The red outlines are known lesions. Here stands how well the map finds them. <b>Draw</b> your own, or open "
        "QuPath's. <b>Alt+S</b> saves all of your work in one file.",
    ),
)


class Tour(QFrame):
    """A card on the canvas, beside the panel.

    Parameters
    ----------
    canvas : QWidget
        What it lies on; it follows its size.
    panel : MILPanel
        Whose tabs it shows.
    """

    def __init__(self, canvas: QWidget, panel: MILPanel) -> None:
        super().__init__(canvas)
        self._panel = panel
        self._at = 0
        self.setObjectName("MILTour")
        self.setAccessibleName("Tour")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        # light as the slide is, whatever napari's theme
        self.setStyleSheet(
            "#MILTour { background: rgba(255, 255, 255, 245); border: 2px solid #007acc; border-radius: 6px; } "
            "#MILTour QLabel { color: #222; background: transparent; } "
            "#MILTour QPushButton { color: #222; background: #e4e4e4; padding: 4px 10px; border-radius: 3px; } "
            "#MILTour QPushButton:focus { border: 2px solid #007acc; }"
        )
        self.title, self.text = QLabel(self), QLabel(self)
        self.title.setStyleSheet("font-weight: bold; font-size: 14px;")
        for label in (self.title, self.text):
            label.setWordWrap(True)
            label.setFixedWidth(_WIDTH_PX - 24)
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.close_button, self.next = QPushButton("Close", self), QPushButton(self)
        self.close_button.setToolTip("End the tour (Esc). The help starts it again.")
        row = QHBoxLayout()
        row.addWidget(self.close_button)
        row.addStretch(1)
        row.addWidget(self.next)
        layout = QVBoxLayout(self)
        for label in (self.title, self.text):
            layout.addWidget(label)
        layout.addLayout(row)
        self.setFixedWidth(_WIDTH_PX)
        self.close_button.clicked.connect(self.end)
        self.next.clicked.connect(self.go_on)
        canvas.installEventFilter(self)
        self.hide()

    def start(self) -> None:
        """Show the first card; from now on the tour comes only when asked for."""
        self._at = 0
        self._show()
        self.next.setFocus()
        try:
            keep_tour_seen()
        except NapariMilError as error:
            show_info(str(error))

    def go_on(self) -> None:
        """Show the next card, or none after the last."""
        self._at += 1
        if self._at < len(STEPS):
            self._show()
            self.next.setFocus()
        else:
            self.end()

    def map_came(self) -> None:
        """Go on by itself from the first card, which asks for a run; the keyboard stays where it is."""
        if self.isVisible() and self._at == 0:
            self._at = 1
            self._show()

    def end(self) -> None:
        """Show no card."""
        self.hide()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """End at Escape."""
        if event.key() == Qt.Key.Key_Escape:
            self.end()
        else:
            super().keyPressEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay beside the panel when the canvas changes its size."""
        if watched is self.parent() and event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def _show(self) -> None:
        step, tabs = STEPS[self._at], self._panel.tabs
        for index in range(tabs.count()):
            if tabs.tabText(index) == step.tab:
                tabs.setCurrentIndex(index)
        self.title.setText(f"{self._at + 1} of {len(STEPS)}: {step.title}")
        self.text.setText(step.text)
        self.next.setText("Next" if self._at + 1 < len(STEPS) else "Done")
        self.show()
        for label in (self.title, self.text):
            # a label that wraps tells Qt its height only when asked for a given width, and in its own type
            label.ensurePolished()
            label.setFixedHeight(label.heightForWidth(_WIDTH_PX - 24) + 2)
        self._place()

    def _place(self) -> None:
        self.adjustSize()
        above = self.parentWidget().size()
        # over the scale bar, under the legend
        self.move(above.width() - self.width() - _MARGIN_PX, above.height() - self.height() - 5 * _MARGIN_PX)
        self.raise_()
