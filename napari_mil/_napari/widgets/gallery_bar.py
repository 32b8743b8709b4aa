"""The line above the gallery: which patches, how many, how far apart, in which field; to step, tag and save."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QTabBar,
    QWidget,
    QWidgetAction,
)

from .choice_box import Choice, ChoiceBox

if TYPE_CHECKING:
    from ..overlay import Overlay

TABS = ("top", "bottom", "spots", "ticked")
_TITLES = {
    "top": ("Top", "The patches that score highest"),
    "bottom": ("Bottom", "The patches that score lowest"),
    "spots": ("Hot spots", "Regions of neighbouring patches that the threshold leaves"),
    "ticked": ("Ticked", "The patches that you have ticked or tagged, to look through and to save"),
}
_FIELDS = (
    Choice("1x", 1, "Pictures show the patch alone"),
    Choice("2x", 2, "Pictures show the patch, framed, in a field twice as wide"),
    Choice("4x", 4, "Pictures show the patch, framed, in a field four times as wide"),
)
USUAL_TAGS = ("mitosis", "artefact")


class GalleryBar(QWidget):
    """The gallery's controls, on one line.

    Signals: ``changed`` (other patches are asked for), ``field_changed``, ``stepped`` (1 or -1), ``tag_wanted``,
    ``save_clicked``.
    """

    changed = Signal()
    field_changed = Signal(int)
    stepped = Signal(int)
    tag_wanted = Signal()
    save_clicked = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.tabs = QTabBar(self)
        self.tabs.setAccessibleName("Which patches")
        self.tabs.setDrawBase(False)
        self.tabs.setUsesScrollButtons(False)
        for row, name in enumerate(TABS):
            self.tabs.addTab(_TITLES[name][0])
            self.tabs.setTabToolTip(row, _TITLES[name][1])
        self.k = _spin(self, "Number of patches", 1, 500, 50, "How many patches at most, 1 to 500")
        self.apart = _spin(self, "Spacing", 0, 100, 2, "")
        self.apart.setSpecialValueText("any")
        self.least = _spin(self, "Smallest hot spot", 1, 9999, 1, "Leave out hot spots of fewer patches")
        self.least.setPrefix("≥ ")
        self.field = ChoiceBox("Field", self)
        # napari's style makes fields wider than the space below a small screen's canvas allows
        for box, width_px in ((self.k, 42), (self.apart, 100), (self.least, 56), (self.field, 60)):
            box.setStyleSheet("min-width: 0px;")
            box.setFixedWidth(width_px)
        self.field.set_choices(_FIELDS)
        self.back = _button("<", "Go to the one before (P)", self)
        self.next = _button(">", "Go to the next (N)", self)
        self.tag = _button("&Tag", "Say what the chosen patches show (T); tick them with the space bar", self)
        self.save = _button("&Save…", "Save the ticked patches as pictures, with a table of places and tags", self)
        self.note = QLabel(self)
        self.note.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        row.addWidget(self.tabs)
        row.addWidget(self.note, 1)
        for widget in (self.k, self.apart, self.least, self.field, self.back, self.next, self.tag, self.save):
            row.addWidget(widget)
        self.tabs.currentChanged.connect(self._tab_changed)
        for box in (self.k, self.apart, self.least):
            box.valueChanged.connect(self.changed)
        self.field.currentIndexChanged.connect(self._field_chosen)
        self.back.clicked.connect(self._back)
        self.next.clicked.connect(self._next)
        self.tag.clicked.connect(self.tag_wanted)
        self.save.clicked.connect(self.save_clicked)
        self._fit_tab()

    @property
    def tab(self) -> str:
        """Which patches are asked for: "top", "bottom", "spots" or "ticked"."""
        return TABS[self.tabs.currentIndex()]

    def choose(self, tab: str) -> None:
        """Ask for other patches."""
        self.tabs.setCurrentIndex(TABS.index(tab))

    def show_overlay(self, overlay: Overlay | None) -> None:
        """Say the spacing in the microns of a map's patches."""
        grid = None if overlay is None or overlay.map.slide.mpp is None else overlay.map.grid
        n = self.apart.value()
        self.apart.setPrefix("" if n == 0 else "≥")
        words = "patch" if n == 1 else "patches"
        self.apart.setSuffix(f" {words}" if grid is None else f" ({n * grid.tile_um:,.0f} µm)")
        self.apart.setToolTip(
            "Least distance between the middles of two patches, in patches, so that neighbours do not crowd; "
            "0 shows neighbours too"
        )

    def show_counts(self, ticked: int, *, saving: bool, can_save: bool) -> None:
        """Say how many are ticked; while they are saved, offer to cancel."""
        self.tabs.setTabText(TABS.index("ticked"), f"Ticked ({ticked})" if ticked else "Ticked")
        self.save.setText("Cancel" if saving else "&Save…")
        self.save.setEnabled(saving or can_save)

    def _tab_changed(self) -> None:
        self._fit_tab()
        self.changed.emit()

    def _fit_tab(self) -> None:
        ranked = self.tab in ("top", "bottom")
        self.k.setVisible(ranked)
        self.apart.setVisible(ranked)
        self.least.setVisible(self.tab == "spots")

    def _back(self) -> None:
        self.stepped.emit(-1)

    def _next(self) -> None:
        self.stepped.emit(1)

    def _field_chosen(self) -> None:
        if self.field.current is not None:
            self.field_changed.emit(self.field.current.value)


def tag_menu(
    parent: QWidget, names: Iterable[str], on_all: Callable[[str], bool], tag: Callable[[str, bool], None]
) -> QMenu:
    """Return a menu of tags with a line for one of the person's own.

    Parameters
    ----------
    parent : QWidget
        Qt parent.
    names : iterable of str
        Tags in use on the slide.
    on_all : callable
        Whether all chosen patches have a tag.
    tag : callable
        Takes a tag and whether it is to be put on or taken off.

    Returns
    -------
    QMenu
        Not yet shown.
    """
    menu = QMenu(parent)
    for name in dict.fromkeys((*USUAL_TAGS, *names)):
        action = menu.addAction(f"&{name}" if name in USUAL_TAGS else name.replace("&", "&&"))
        action.setCheckable(True)
        action.setChecked(on_all(name))
        action.triggered.connect(lambda on, name=name: tag(name, on))
    menu.addSeparator()
    line = QLineEdit(menu)
    line.setPlaceholderText("Another tag, then Enter")
    line.setAccessibleName("Another tag")
    line.setMinimumWidth(190)
    own = QWidgetAction(menu)
    own.setDefaultWidget(line)
    menu.addAction(own)

    def given() -> None:
        tag(line.text(), True)
        menu.close()

    line.returnPressed.connect(given)
    return menu


def _spin(parent: QWidget, name: str, low: int, high: int, value: int, tip: str) -> QSpinBox:
    box = QSpinBox(parent)
    box.setAccessibleName(name)
    box.setRange(low, high)
    box.setValue(value)
    box.setToolTip(tip)
    box.setKeyboardTracking(False)
    # arrow keys and wheel; numbers need the room
    box.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
    return box


def _button(text: str, tip: str, parent: QWidget) -> QPushButton:
    button = QPushButton(text, parent)
    button.setToolTip(tip)
    button.setAccessibleName(tip if text in "<>" else text.replace("&", ""))
    button.setStyleSheet("padding: 2px 5px;")
    return button
