"""How well the map in front finds what was outlined, in words and figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from ...evaluation import Localisation, Overlap
    from ..overlay import Overlay

_ROWS = {
    "dice": (
        "Above threshold",
        "How well the patches above the threshold agree with the target patches. Dice: twice what both share, by the "
        "sum of both. IoU: what both share, by what either has. 1 is perfect.",
    ),
    "pixels": (
        "  by area",
        "The same with every pixel counted: the area of the patches above against the area of the outlines.",
    ),
    "best": (
        "Best Dice",
        "At the threshold that suits these outlines best. It is chosen on the slide that it is measured on: an upper "
        "limit, not an estimate of how well a threshold does.",
    ),
    "auroc": (
        "AUROC",
        "The chance that a target patch scores higher than another patch. 0.5 is chance, 1 is perfect.",
    ),
    "precision": (
        "Average precision",
        "How pure the top of the list is, averaged over the target patches. By chance it is the share of the patches "
        "that is target.",
    ),
    "mass": (
        "Mass inside",
        "How much of the whole score lies in target patches, and how many times what an even spread would give.",
    ),
    "pointing": ("Highest patch", "The pointing game: whether the one patch with the highest score is target."),
    "top": ("Top patches", "How many of the 10, 50 and 100 highest patches are target."),
}


class MeasureList(QWidget):
    """The measures, one line each, with what they mean as tooltips.

    Attributes
    ----------
    best_wanted : Signal(float)
        The threshold with the best Dice was asked for.
    """

    best_wanted = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._found: Localisation | None = None
        self._best: Overlap | None = None
        self.title, self.notes = _wrapped(self), _wrapped(self)
        self.labels, self.values = ({name: QLabel(self) for name in _ROWS} for _ in range(2))
        self.use_best = QPushButton("Use", self)
        self.use_best.setToolTip("Set the threshold of the Heatmap tab to this one")
        self.use_best.setStyleSheet("padding: 1px 8px;")
        self.use_best.clicked.connect(self._use_best)
        self._figures = QWidget(self)
        form = QFormLayout(self._figures)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(3)
        for name, (words, tip) in _ROWS.items():
            label, value = self.labels[name], self.values[name]
            label.setText(words)
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            for one in (label, value):
                one.setToolTip(tip)
            if name == "best":
                row = QHBoxLayout()
                row.addWidget(value, 1)
                row.addWidget(self.use_best)
                form.addRow(label, row)
            else:
                form.addRow(label, value)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.title, self._figures, self.notes):
            layout.addWidget(widget)
        self.show_words("")

    def show_words(self, line: str, notes: str = "") -> None:
        """Show a line in the place of figures."""
        self._found = self._best = None
        self._figures.hide()
        self.title.setText(line)
        self.title.setVisible(bool(line))
        self.notes.setText(notes)
        self.notes.setVisible(bool(notes))

    def show_found(self, found: Localisation, overlay: Overlay, notes: tuple[str, ...]) -> None:
        """Show measures.

        Parameters
        ----------
        found : Localisation
            Of what the overlay shows.
        overlay : Overlay
            Whose threshold is in force.
        notes : tuple of str
            What to know of the outlines.
        """
        self._found, self._best = found, found.curve.best()
        self.title.setText(f"<b>{found.title}</b>: {found.n_target:,} of {found.n:,} patches are target. {found.rule}")
        self.title.show()
        self.notes.setText(" ".join((*found.notes, *notes)))
        self.notes.setVisible(bool(self.notes.text()))
        self._figures.setVisible(found.n_target > 0)
        values = self.values
        values["auroc"].setText(_number(found.auroc))
        values["precision"].setText(f"{_number(found.average_precision)}  (chance {_number(found.prevalence)})")
        values["mass"].setText(
            "not defined for this score"
            if math.isnan(found.mass_inside)
            else f"{found.mass_inside:.0%}  ({found.enrichment:.1f} times even)"
        )
        values["pointing"].setText(
            {0.0: "is not target", 1.0: "is target"}.get(found.pointing, f"target by {found.pointing:.0%} (ties)")
        )
        ks = ", ".join(str(k) for k, _ in found.hit_rates)
        self.labels["top"].setText(f"Top {ks}" if ks else _ROWS["top"][0])
        values["top"].setText(", ".join(f"{rate:.0%}" for _, rate in found.hit_rates) or "fewer than 10")
        if self._best is not None:
            values["best"].setText(f"{_number(self._best.dice)}  at {self._best.threshold:.3g}")
        self.follow_threshold(overlay)

    def follow_threshold(self, overlay: Overlay) -> None:
        """Show the overlap at the threshold in force: a look-up, at once."""
        if self._found is None:
            return
        inverted = overlay.settings.inverted
        threshold = -math.inf if overlay.hides_none else overlay.settings.threshold
        at = self._found.curve.at(threshold, below=inverted)
        self.values["dice"].setText(f"Dice {_number(at.dice)}  IoU {_number(at.iou)}")
        self.values["pixels"].setText(f"Dice {_number(at.pixel_dice)}  IoU {_number(at.pixel_iou)}")

    def _use_best(self) -> None:
        if self._best is not None:
            self.best_wanted.emit(self._best.threshold)


def _number(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.3f}"


def _wrapped(parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setWordWrap(True)
    label.setStyleSheet("font-size: 11px;")
    return label
