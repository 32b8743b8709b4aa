"""The classes of outlines and what each counts as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from ..measuring import EXCLUDED, IGNORED, TARGET, role_in

if TYPE_CHECKING:
    from ...annotations import Roles

NO_CLASS = "no class"
_WORDS = {
    TARGET: ("Target", "What the map is to find"),
    EXCLUDED: ("Excluded", "No target, also where it lies within one: normal tissue, holes, artefacts"),
    IGNORED: ("Ignored", "Counts as neither"),
}
_ROWS_SEEN = 4


class ClassTable(QTableWidget):
    """One row per class: name, number of outlines, and a list of what it counts as.

    Attributes
    ----------
    role_chosen : Signal(str, str)
        A class, and "target", "exclude" or "neither".
    """

    role_chosen = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 3, parent)
        self.setHorizontalHeaderLabels(["Class", "Outlines", "Counts as"])
        self.setAccessibleName("Classes of the outlines, and what each counts as")
        self.setToolTip("Which classes the map is to find (target), and which are taken out of them (excluded)")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setTabKeyNavigation(False)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self._shown: tuple[tuple[tuple[str, int], ...], object] = ((), None)
        self._fit()

    def show_classes(
        self, counts: Mapping[str, int], roles: Roles, colours: Mapping[str, tuple[int, int, int]]
    ) -> None:
        """List classes.

        Parameters
        ----------
        counts : mapping of str to int
            Outlines of each class.
        roles : Roles
            What each counts as.
        colours : mapping of str to (int, int, int)
            Of those that have one.
        """
        now = tuple(counts.items()), (roles, tuple(sorted(colours.items())))
        if now == self._shown:
            return
        self._shown = now
        self.setRowCount(len(counts))
        for row, (name, count) in enumerate(counts.items()):
            item = QTableWidgetItem(name or NO_CLASS)
            item.setToolTip(name or "Outlines without a class")
            if name in colours:
                square = QPixmap(10, 10)
                square.fill(QColor(*colours[name]))
                item.setIcon(QIcon(square))
            number = QTableWidgetItem(f"{count:,}")
            number.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.setItem(row, 0, item)
            self.setItem(row, 1, number)
            self.setCellWidget(row, 2, self._box(name, role_in(roles, name)))
        self._fit()

    def choose(self, class_name: str, role: str) -> None:
        """Choose what a class counts as, as its list does."""
        row = [name for name, _ in self._shown[0]].index(class_name)
        box = self.cellWidget(row, 2)
        box.setCurrentIndex(list(_WORDS).index(role))

    def _box(self, name: str, role: str) -> QComboBox:
        box = QComboBox(self)
        box.setAccessibleName(f"What {name or NO_CLASS} counts as")
        for key, (word, tip) in _WORDS.items():
            box.addItem(word, key)
            box.setItemData(box.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        box.setCurrentIndex(list(_WORDS).index(role))
        box.currentIndexChanged.connect(lambda index: self.role_chosen.emit(name, list(_WORDS)[index]))
        return box

    def _fit(self) -> None:
        """Be as high as the rows, up to four of them."""
        rows = sum(self.rowHeight(row) for row in range(min(self.rowCount(), _ROWS_SEEN)))
        self.setFixedHeight(max(self.horizontalHeader().sizeHint().height(), 24) + rows + 2 * self.frameWidth())
        self.setVisible(self.rowCount() > 0)
