"""What the Compare tab consists of: the list of maps, buttons, the choice of two, table and scatter."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSlider,
    QTabWidget,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from ..keys import FLIP_KEY
from .choice_box import Choice, ChoiceBox
from .compare_scatter import RankScatter
from .compare_two import MODES


class CompareFields(QWidget):
    """The tab's widgets, without any knowledge of maps.

    Parameters
    ----------
    parent : QWidget
        The tab.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.maps = QListWidget(self)
        self.maps.setAccessibleName("Maps to compare")
        self.maps.setMaximumHeight(96)
        self.maps.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.first, self.second = ChoiceBox("First map", self), ChoiceBox("Second map", self)
        self.mode = ChoiceBox("How two maps are shown", self)
        self.mode.set_choices(Choice(label, value, words) for label, value, words in MODES)
        self.divider = QSlider(Qt.Orientation.Horizontal, self)
        self.divider.setRange(0, 1000)
        self.divider.setValue(500)
        self.divider.setAccessibleName("Divider")
        self.divider.setToolTip("Where map A ends and map B begins; the line on the slide can be dragged, too")
        self.table, self.scatter = QTextBrowser(self), RankScatter(self)
        self.table.setStyleSheet("font-size: 11px;")
        self.pages = QTabWidget(self)
        self.pages.addTab(self.table, "Agreement")
        self.pages.addTab(self.scatter, "Patches")
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.setStyleSheet("font-size: 11px;")
        buttons, self._blink = self._build_buttons(), self._build_blink()
        self._form = QFormLayout()
        for label, field in (
            ("&A", self.first),
            ("B", self.second),
            ("&Show", self.mode),
            ("Divider", self.divider),
            ("Blink", self._blink),
        ):
            self._form.addRow(label, field)
        self.show_mode("off")
        layout = QVBoxLayout(self)
        layout.addWidget(self.maps)
        layout.addLayout(buttons)
        layout.addLayout(self._form)
        layout.addWidget(self.pages, 1)
        layout.addWidget(self.note)

    def _build_buttons(self) -> QHBoxLayout:
        self.poolings = QPushButton("Compare &poolings", self)
        self.poolings.setToolTip("Run every other model that takes this map's features; nothing is read again")
        self.cancel = QPushButton("Cancel", self)
        self.cancel.setVisible(False)
        self.beside = QPushButton("Side &by side…", self)
        self.beside.setToolTip("The ticked maps, each over the slide, in a window with locked cameras")
        row = QHBoxLayout()
        for button in (self.poolings, self.cancel, self.beside):
            row.addWidget(button)
        return row

    def _build_blink(self) -> QWidget:
        blink = QWidget(self)
        self.flip = QPushButton("&Flip", blink)
        key = FLIP_KEY.combination.replace("-", "+")
        self.flip.setToolTip(f"{FLIP_KEY.does} ({key})")
        self.by_itself = QCheckBox("by &itself", blink)
        self.by_itself.setToolTip(f"Show one map after the other in time; off, {key} shows the other")
        self.by_itself.setChecked(True)
        row = QHBoxLayout(blink)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.flip, 1)
        row.addWidget(self.by_itself)
        return blink

    @property
    def numbers(self) -> tuple[int, int] | None:
        """Which two maps are chosen, by their place among those compared; None where there are none."""
        first, second = self.first.current, self.second.current
        return (first.value, second.value) if first is not None and second is not None else None

    def items(self) -> list[QListWidgetItem]:
        """Return the lines of the list of maps."""
        return [self.maps.item(row) for row in range(self.maps.count())]

    def show_maps(self, maps: Sequence[tuple[str, bool]]) -> None:
        """List maps by their layers' names, each ticked or not; nobody is told."""
        blocked = self.maps.blockSignals(True)
        self.maps.clear()
        for name, ticked in maps:
            item = QListWidgetItem(name.split(" on ")[0], self.maps)
            item.setToolTip(name)
            item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
        self.maps.blockSignals(blocked)
        self.number_maps()

    def number_maps(self) -> None:
        """Give the maps that are ticked the numbers that they have in the table of figures."""
        blocked, number = self.maps.blockSignals(True), 0
        for item in self.items():
            name = item.toolTip().split(" on ")[0]
            ticked = item.checkState() == Qt.CheckState.Checked
            number += ticked
            item.setText(f"{number}  {name}" if ticked else name)
        self.maps.blockSignals(blocked)

    def show_names(self, names: Sequence[str]) -> None:
        """Offer maps as the first and the second; nobody is told, since for a moment one of the two may be gone."""
        blocked = [box.blockSignals(True) for box in (self.first, self.second)]
        choices = [Choice(f"{k + 1}  {name}", k, name) for k, name in enumerate(names)]
        self.first.set_choices(choices)
        self.second.set_choices(choices, prefer=1)
        if self.first.current is not None and self.second.current == self.first.current:
            self.second.choose(0 if self.first.current.value else 1)
        for box, before in zip((self.first, self.second), blocked, strict=True):
            box.blockSignals(before)

    def show_mode(self, mode: str) -> None:
        """Show the controls that a way of showing two maps has."""
        self._form.setRowVisible(self.divider, mode == "swipe")
        self._form.setRowVisible(self._blink, mode == "blink")

    def show_table(self, html: str) -> None:
        """Show the figures, where they were scrolled to."""
        bar = self.table.verticalScrollBar()
        place = bar.value()
        self.table.setHtml(html)
        bar.setValue(place)

    def allow(self, enough: bool) -> None:
        """Allow what takes two maps."""
        for widget in (self.beside, self.first, self.second, self.mode):
            widget.setEnabled(enough)
