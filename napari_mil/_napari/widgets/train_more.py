"""What hardly anyone need touch of a training, folded away: folds, epochs, seed and device."""

from __future__ import annotations

from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QSpinBox, QToolButton, QVBoxLayout, QWidget

from .choice_box import Choice, ChoiceBox


class TrainMore(QWidget):
    """Further choices of a training.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.shown = QToolButton(self)
        self.shown.setText("&More")
        self.shown.setCheckable(True)
        self.shown.setToolTip("Folds, epochs, seed and device")
        self.folds, self.epochs, self.seed = (QSpinBox(self) for _ in range(3))
        self.folds.setRange(2, 50)
        self.folds.setValue(5)
        self.folds.setToolTip(
            "So many times another part of the patients is put aside, and a model tested on it that has not seen them."
        )
        self.epochs.setRange(1, 10_000)
        self.epochs.setToolTip("At most so many passes over the slides; most recipes stop earlier by themselves.")
        self.seed.setRange(0, 999_999)
        self.seed.setToolTip("The same number gives the same division and, on a CPU, the same model.")
        self.device = ChoiceBox("Device", self)
        self.device.set_choices([Choice("Automatic", "auto", "Looking for a GPU…"), Choice("CPU", "cpu")])
        folded = QWidget(self)
        rows = QGridLayout(folded)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setHorizontalSpacing(2)
        fields = (("F&olds", self.folds), ("&Epochs", self.epochs), ("&Seed", self.seed), ("&Device", self.device))
        for place, (words, field) in enumerate(fields):
            label = QLabel(words, folded)
            label.setBuddy(field)
            # two and two in a dock of 320 px: napari would have each as wide as its largest number
            field.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            rows.addWidget(label, place // 2, 2 * (place % 2))
            rows.addWidget(field, place // 2, 2 * (place % 2) + 1)
        rows.setColumnStretch(1, 2)
        rows.setColumnStretch(3, 3)
        folded.setVisible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.shown)
        layout.addWidget(folded)
        self.shown.toggled.connect(folded.setVisible)
