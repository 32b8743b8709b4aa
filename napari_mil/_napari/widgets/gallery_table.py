"""Hot spots in a table that can be sorted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QEvent, QModelIndex, QObject, QSortFilterProxyModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from ...maps import format_areas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QKeyEvent, QMouseEvent

    from ...maps import HotSpot

_COLUMNS = (
    ("Peak", "Highest score in it, as shown"),
    ("Mean", "Mean score of its patches, as shown"),
    ("Area", "Area of its patches"),
    ("Patches", "How many patches it has"),
)
_AREA = 2
_KEYS = (Qt.Key.Key_N, Qt.Key.Key_P)
SORT = Qt.ItemDataRole.UserRole + 1


class HotSpotModel(QAbstractTableModel):
    """Hot spots, the highest peak first.

    Parameters
    ----------
    parent : QObject
        Qt parent.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.spots: list[HotSpot] = []
        self._unit, self._areas = format_areas([])
        self.form = ".3g"

    def show(self, spots: Sequence[HotSpot]) -> None:
        """Show other hot spots."""
        self.beginResetModel()
        self.spots = list(spots)
        self._unit, self._areas = format_areas([spot.area_mm2 for spot in self.spots])
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many hot spots there are."""
        return 0 if parent is not None and parent.isValid() else len(self.spots)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many things are said of each."""
        return 0 if parent is not None and parent.isValid() else len(_COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a column's name and what it means, or a row's number."""
        if orientation == Qt.Orientation.Vertical:
            return section + 1 if role == Qt.ItemDataRole.DisplayRole else None
        part = {Qt.ItemDataRole.DisplayRole: 0, Qt.ItemDataRole.ToolTipRole: 1}.get(role)
        if part is None:
            return None
        words = _COLUMNS[section][part]
        return f"{words} {self._unit}" if section == _AREA and part == 0 else words

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a cell: its words, and its number to sort by."""
        if not index.isValid():
            return None
        spot = self.spots[index.row()]
        number = (spot.peak, spot.mean, spot.area_mm2, spot.n_patches)[index.column()]
        if role == SORT:
            return number
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        if index.column() == _AREA:
            return self._areas[index.row()]
        return f"{number:,}" if index.column() == 3 else format(number, self.form)


class HotSpotTable(QTableView):
    """Hot spots to sort and to go to.

    Signals: ``flown`` (the chosen one is to be gone to), ``stepped`` (1 or -1), ``chosen`` (another is).
    """

    flown = Signal()
    stepped = Signal(int)
    chosen = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAccessibleName("Hot spots")
        self.spots = HotSpotModel(self)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.spots)
        self._sorted.setSortRole(SORT)
        self.setModel(self._sorted)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.DescendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.verticalHeader().hide()
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setMinimumSectionSize(40)
        self.selectionModel().currentRowChanged.connect(self._row_changed)

    def _row_changed(self) -> None:
        self.chosen.emit()

    @property
    def form(self) -> str:
        """How scores are written."""
        return self.spots.form

    @form.setter
    def form(self, form: str) -> None:
        self.spots.form = form

    @property
    def current(self) -> HotSpot | None:
        """The chosen hot spot."""
        row = self._sorted.mapToSource(self.currentIndex()).row()
        return self.spots.spots[row] if 0 <= row < len(self.spots.spots) else None

    def show_spots(self, spots: Sequence[HotSpot]) -> None:
        """Show other hot spots; the chosen one stays so while its peak is there."""
        peak = None if self.current is None else self.current.peak_patch
        self.spots.show(spots)
        for row, spot in enumerate(spots):
            if spot.peak_patch == peak:
                self.setCurrentIndex(self._sorted.mapFromSource(self.spots.index(row, 0)))
                return

    def step(self, by: int) -> None:
        """Choose the next row, or the one before."""
        row = self.currentIndex().row()
        wanted = min(max(row + by, 0), self._sorted.rowCount() - 1) if row >= 0 else 0
        self.setCurrentIndex(self._sorted.index(wanted, 0))

    def event(self, event: QEvent) -> bool:
        """Claim the table's own keys: the window has shortcuts of single letters."""
        if event.type() == QEvent.Type.ShortcutOverride and event.key() in _KEYS and not event.modifiers():
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """N and P go to the next and the one before, Enter goes there; arrows choose."""
        key = event.key()
        if key in _KEYS:
            self.stepped.emit(1 if key == Qt.Key.Key_N else -1)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.flown.emit()
        else:
            super().keyPressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Go to the hot spot that was clicked."""
        super().mouseReleaseEvent(event)
        if event.button() == Qt.MouseButton.LeftButton and self.indexAt(event.pos()).isValid():
            self.flown.emit()
