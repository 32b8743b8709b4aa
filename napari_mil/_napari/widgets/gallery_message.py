"""What the gallery says where it has no patches to show, and what helps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from ..overlay import Overlay

_NO_MAP = "No map yet: choose a model in the MIL panel and press Run, or drop a map file on the window."
_NONE = {
    "top": "No patch of this map has this score.",
    "bottom": "No patch of this map has this score.",
    "ticked": "Nothing is ticked yet: click the box on a patch or press the space bar; T tags it.",
}
_ALL = "The map is shown whole. Raise the threshold in the Heatmap tab: what it leaves falls into hot spots."


class GalleryMessage(QWidget):
    """A sentence and, where it helps, a button.

    Signals: ``opened`` (the map's slide is to be opened), ``cut`` (the threshold is to be raised).
    """

    opened = Signal()
    cut = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.words = QLabel(self)
        self.words.setWordWrap(True)
        self.words.setTextFormat(Qt.TextFormat.PlainText)
        self.words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.open = QPushButton("&Open the slide", self)
        self.raised = QPushButton("Show the top 5 %", self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 0, 8, 0)
        layout.addStretch(1)
        layout.addWidget(self.words)
        for button in (self.open, self.raised):
            layout.addWidget(button, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(1)
        self.open.clicked.connect(self.opened)
        self.raised.clicked.connect(self.cut)
        self.hide()

    def say(self, overlay: Overlay | None, slide_missing: bool, tab: str, count: int) -> bool:
        """Say why there is nothing to show, and be there only then.

        Parameters
        ----------
        overlay : Overlay or None
            The map in front.
        slide_missing : bool
            Whether its slide is not open.
        tab : str
            Which patches are asked for.
        count : int
            How many patches, or hot spots, there are.

        Returns
        -------
        bool
            Whether something is said.
        """
        gone = overlay is not None and slide_missing
        whole = overlay is not None and not gone and tab == "spots" and overlay.shows_all
        self.open.setVisible(gone and Path(overlay.map.slide.path).exists())  # type: ignore[union-attr]
        self.raised.setVisible(whole)
        text = ""
        if overlay is None:
            text = _NO_MAP
        elif gone:
            path = Path(overlay.map.slide.path)
            text = (
                f"The slide of this map is not open: {path.name}. Drop it on the window. It was last in {path.parent}."
            )
        elif whole:
            text = _ALL
        elif count == 0:
            text = _NONE.get(tab, "No hot spot: the threshold leaves nothing, or nothing large enough.")
        self.words.setText(text)
        self.setVisible(bool(text))
        return bool(text)
