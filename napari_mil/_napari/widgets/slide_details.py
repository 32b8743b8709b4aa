"""All that is known of a slide, in a table that can be searched; label and overview pictures only when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ...errors import SlideError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...slides import Slide

_PICTURE_PX = 280
_CAUTION = "These pictures can show a patient's name. They are shown here only and are never exported."


def slide_facts(slide: Slide, mpp: tuple[float, float] | None) -> list[tuple[str, str]]:
    """Return what people ask of a slide first, in plain words, then all that its file says of itself.

    Parameters
    ----------
    slide : Slide
        The slide.
    mpp : (float, float) or None
        Microns per level-0 pixel in force, (y, x).

    Returns
    -------
    list of (str, str)
        Names and values.
    """
    height, width = slide.shape
    facts = [("Name", slide.name), ("File", str(slide.path)), ("Size", f"{width:,} x {height:,} pixels")]
    if mpp is None:
        facts.append(("Scale", "unknown: set it in the Run tab"))
    else:
        facts.append(("Size on the glass", f"{width * mpp[1] / 1000:.2f} x {height * mpp[0] / 1000:.2f} mm"))
        square = abs(mpp[0] / mpp[1] - 1) < 1e-3
        scale = f"{mpp[1]:.4g}" if square else f"{mpp[1]:.4g} x {mpp[0]:.4g}"
        origin = "" if mpp == slide.stated_mpp else " (set by you)"
        facts.append(("Scale", f"{scale} µm per pixel{origin}"))
    if slide.objective_power is not None:
        facts.append(("Scanned with", f"{slide.objective_power:g}x objective (as the file says)"))
    facts += [
        ("Kind of file", slide.vendor or "no slide format of a scanner"),
        ("Levels", ", ".join(f"{w:,} x {h:,}" for h, w in slide.level_shapes)),
        ("Read by", slide.reader + (f": {slide.reader_why}" if slide.reader_why else "")),
        ("Colours", slide.colours),
        ("Further pictures", ", ".join(slide.associated) or "none"),
    ]
    facts += [("Note", note) for note in slide.notes]
    return facts + sorted(slide.properties.items())


class SlideDetails(QWidget):
    """A table of a slide's facts with a filter, and its label and overview on request.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._slide: Slide | None = None
        self.filter = QLineEdit(self)
        self.filter.setPlaceholderText("Search names and values")
        self.filter.setClearButtonEnabled(True)
        self.filter.textChanged.connect(self._search)
        self.table = QTableWidget(0, 2, self)
        self.table.setHorizontalHeaderLabels(["Name", "Value"])
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setWordWrap(True)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        self.caution = QLabel(_CAUTION, self)
        self.caution.setWordWrap(True)
        self.picture = QLabel(self)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.hide()
        self._buttons = QHBoxLayout()
        self.requests: list[QPushButton] = []
        layout = QVBoxLayout(self)
        layout.addWidget(self.filter)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.caution)
        layout.addLayout(self._buttons)
        layout.addWidget(self.picture)
        self.resize(560, 560)

    def show_slide(self, slide: Slide | None, mpp: tuple[float, float] | None) -> None:
        """Show a slide's facts; None clears. Pictures shown of another slide go.

        Parameters
        ----------
        slide : Slide or None
            The slide.
        mpp : (float, float) or None
            Microns per level-0 pixel in force, (y, x).
        """
        self._slide = slide
        facts = [] if slide is None else slide_facts(slide, mpp)
        self.table.setRowCount(len(facts))
        for row, (name, value) in enumerate(facts):
            for column, text in enumerate((name, value)):
                item = QTableWidgetItem(text)
                item.setToolTip(text[:2000])
                self.table.setItem(row, column, item)
        self.table.setColumnWidth(0, 190)
        self.table.resizeRowsToContents()
        self._search(self.filter.text())
        self._hide_picture()
        for button in self.requests:
            self._buttons.removeWidget(button)
            button.deleteLater()
        self.requests = [self._request(name) for name in (slide.associated if slide is not None else ())]
        self.caution.setVisible(bool(self.requests))

    def visible_rows(self) -> list[tuple[str, str]]:
        """Return the names and values that pass the filter."""
        table = self.table
        return [
            (table.item(row, 0).text(), table.item(row, 1).text())
            for row in range(table.rowCount())
            if not table.isRowHidden(row)
        ]

    def _request(self, name: str) -> QPushButton:
        button = QPushButton(f"Show {name}", self)
        button.setCheckable(True)
        button.toggled.connect(lambda on, name=name, button=button: self._show_picture(name, button, on=on))
        self._buttons.addWidget(button)
        return button

    def _search(self, text: str) -> None:
        wanted = text.strip().lower()
        for row in range(self.table.rowCount()):
            words = " ".join(self.table.item(row, column).text() for column in (0, 1)).lower()
            self.table.setRowHidden(row, wanted not in words)

    def _show_picture(self, name: str, pressed: QPushButton, *, on: bool) -> None:
        for button in self.requests:
            if on and button is not pressed:
                button.setChecked(False)
        if not on or self._slide is None:
            self._hide_picture()
            return
        try:
            pixels = self._slide.associated_image(name)
        except SlideError as error:
            self.picture.setText(str(error))
            self.picture.setWordWrap(True)
        else:
            pixmap = QPixmap.fromImage(_image(pixels))
            size = pixmap.size().boundedTo(
                pixmap.size().scaled(_PICTURE_PX, _PICTURE_PX, Qt.AspectRatioMode.KeepAspectRatio)
            )
            self.picture.setPixmap(
                pixmap.scaled(size, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)
            )
        self.picture.show()

    def _hide_picture(self) -> None:
        self.picture.clear()
        self.picture.hide()


def _image(rgb: NDArray[np.uint8]) -> QImage:
    pixels = np.ascontiguousarray(rgb)
    height, width = pixels.shape[:2]
    return QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
