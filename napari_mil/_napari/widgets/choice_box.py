"""A drop-down list in which what cannot be chosen stays visible, greyed, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QPaintEvent, QStandardItem, QStandardItemModel
from qtpy.QtWidgets import QComboBox, QSizePolicy, QStyle, QStyleOptionComboBox, QStylePainter, QWidget

_MARGIN_PX = 8  # beside the text, as themes pad it


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of a `ChoiceBox`.

    Parameters
    ----------
    label : str
        What the line says.
    value : object
        What choosing it means.
    help : str
        Its tooltip.
    reason : str
        Why it cannot be chosen now; empty where it can.
    """

    label: str
    value: Any
    help: str = ""
    reason: str = ""


class ChoiceBox(QComboBox):
    """A combo box of `Choice` lines.

    Parameters
    ----------
    accessible_name : str
        What a screen reader calls it.
    parent : QWidget or None
        Qt parent.
    """

    def __init__(self, accessible_name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(accessible_name)
        # Long names must not widen the dock: they are elided, and the tooltip has them whole.
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._choices: list[Choice] = []
        self.currentIndexChanged.connect(self._show_help)

    @property
    def closed_text(self) -> str:
        """What the closed list shows: a name too long loses its middle, since names often differ at the end.

        Where no line can be chosen, that is said.
        """
        room = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, self._option(), QStyle.SubControl.SC_ComboBoxEditField, self
        )
        text = self.currentText() if self.currentIndex() >= 0 else self.placeholderText()
        return str(self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, room.width() - _MARGIN_PX))

    def _option(self) -> QStyleOptionComboBox:
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        return option

    def paintEvent(self, _: QPaintEvent) -> None:
        """Draw as Qt does, with the text elided."""
        option = self._option()
        option.currentText = self.closed_text
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The lines, in order."""
        return tuple(self._choices)

    @property
    def current(self) -> Choice | None:
        """The chosen line, or None where there is none that can be chosen."""
        index = self.currentIndex()
        choice = self._choices[index] if 0 <= index < len(self._choices) else None
        return choice if choice is not None and not choice.reason else None

    def set_choices(self, choices: Iterable[Choice], prefer: Any = None) -> None:
        """Replace the lines; keep what was chosen where it still can be, else take the preferred, else the first.

        Parameters
        ----------
        choices : iterable of Choice
            The new lines.
        prefer : object
            Value to choose where the present one is gone.
        """
        kept = self.current.value if self.current else None
        self._choices = list(choices)
        model = QStandardItemModel(len(self._choices), 1, self)
        for row, choice in enumerate(self._choices):
            item = QStandardItem(f"{choice.label}  ({choice.reason})" if choice.reason else choice.label)
            item.setToolTip(choice.reason or choice.help)
            if choice.reason:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
            model.setItem(row, 0, item)
        blocked = self.blockSignals(True)
        self.setModel(model)
        self.setCurrentIndex(self._best_row(kept, prefer))
        self.setPlaceholderText("None of these can be used" if self._choices else "")
        self.blockSignals(blocked)
        self._show_help()
        self.currentIndexChanged.emit(self.currentIndex())

    def choose(self, value: Any) -> bool:
        """Choose the line with a value, if it can be chosen; tell whether that was so."""
        for row, choice in enumerate(self._choices):
            if choice.value == value and not choice.reason:
                self.setCurrentIndex(row)
                return True
        return False

    def _best_row(self, *wanted: Any) -> int:
        usable = [row for row, choice in enumerate(self._choices) if not choice.reason]
        for value in wanted:
            for row in usable:
                if value is not None and self._choices[row].value == value:
                    return row
        return usable[0] if usable else -1

    def _show_help(self, *_: Any) -> None:
        choice = self.current
        self.setToolTip(choice.help or choice.label if choice else "")
