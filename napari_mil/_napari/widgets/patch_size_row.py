"""A row on the canvas that asks for the one thing that a feature file does not say; all else goes on meanwhile."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

_MARGIN_PX = 12
_MOST_PX = 100_000


class PatchSizeRow(QFrame):
    """Ask how wide a patch is.

    Parameters
    ----------
    canvas : QWidget
        What it lies on.
    """

    entered = Signal(float)
    """Edge of a patch in level-0 pixels."""

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._mpp = 0.0
        self.setObjectName("MILPatchSize")
        # light as the slide is, whatever napari's theme
        self.setStyleSheet(
            "#MILPatchSize { background: rgba(255, 243, 205, 245); border: 1px solid rgba(0, 0, 0, 60); "
            "border-radius: 4px; } #MILPatchSize QLabel, #MILPatchSize QToolButton { color: #222; "
            "background: transparent; font-size: 12px; }"
        )
        self.text, self.microns = QLabel(self), QLabel(self)
        self.size = QDoubleSpinBox(self)
        self.size.setRange(0, _MOST_PX)
        self.size.setDecimals(2)
        self.size.setSuffix(" px")
        self.size.setSpecialValueText("pixels")
        self.size.setAccessibleName("Patch edge in pixels of the slide")
        self.size.setToolTip("Pixels of the slide at full resolution: the size in pixels times the level's downsample.")
        self.use = QPushButton("&Show patches", self)
        self.leave = QToolButton(self)
        self.leave.setText("✕")
        self.leave.setToolTip("Leave the file closed")
        first, second = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.text, 1)
        first.addWidget(self.leave)
        for widget in (self.size, self.microns, self.use):
            second.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 4, 4, 6)
        layout.addLayout(first)
        layout.addLayout(second)
        self.size.valueChanged.connect(self._show_microns)
        self.size.lineEdit().returnPressed.connect(self._enter)
        self.use.clicked.connect(self._enter)
        self.leave.clicked.connect(self.hide)
        self.hide()

    def ask(self, name: str, mpp: float, before: float) -> None:
        """Show the row.

        Parameters
        ----------
        name : str
            The file.
        mpp : float
            Microns per level-0 pixel.
        before : float
            What was entered for the last file of the same folder; 0 where none was.
        """
        self._mpp = mpp
        shown = name if len(name) <= 32 else f"{name[:29]}…"
        self.text.setText(f"{shown} does not say how wide its patches are:")
        self.text.setToolTip(name)
        self.size.setValue(before)
        self._show_microns()
        self.adjustSize()
        self.move(_MARGIN_PX, _MARGIN_PX)
        self.show()
        self.raise_()
        self.size.setFocus(Qt.FocusReason.OtherFocusReason)
        self.size.selectAll()

    def _show_microns(self, *_: object) -> None:
        value = self.size.value()
        self.microns.setText(f"= {value * self._mpp:.4g} µm" if value else "of the slide")
        self.use.setEnabled(value > 0)
        self.adjustSize()

    def _enter(self) -> None:
        if self.size.value() > 0:
            self.hide()
            self.entered.emit(self.size.value())
