"""Live curves of a training: losses and validation AUC by epoch, a fold in front and the others faint behind it.

Drawn with Qt itself: a matplotlib figure of this size takes some fifty milliseconds a frame of the window's own thread,
ten times a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from .choice_box import Choice, ChoiceBox
from .train_chart import Chart, Curve

if TYPE_CHECKING:
    from ...training import Epoch, EpochProgress

FINAL = 0
"""Fold number of the model that is fitted on all slides at the end."""

LATEST = -1


class TrainCurves(QWidget):
    """Two charts, one above the other, and the choice of the fold in front.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folds: dict[int, list[Epoch]] = {}
        self._kept: dict[int, int] = {}
        self._latest = 1
        self.fold = ChoiceBox("Fold in front", self)
        self.fold.setToolTip("The fold that is drawn in front")
        self.loss = Chart("Loss (lower is better)", self)
        self.auc = Chart("Validation AUC (higher is better)", self, top=1.0, guide=(0.5, "0.5: a coin toss"))
        label = QLabel("Fol&d", self)
        label.setBuddy(self.fold)
        row = QHBoxLayout()
        row.addWidget(label)
        row.addWidget(self.fold, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.loss, 3)
        layout.addWidget(self.auc, 2)
        self.fold.currentIndexChanged.connect(self._draw)
        self.clear()

    @property
    def history(self) -> Mapping[int, list[Epoch]]:
        """Every epoch that is drawn, by fold; `FINAL` for the model fitted on all slides."""
        return self._folds

    def clear(self) -> None:
        """Begin anew."""
        self._folds, self._kept, self._latest = {}, {}, 1
        self.fold.set_choices([Choice("In training now", LATEST)])
        self._draw()

    def add(self, steps: Iterable[EpochProgress]) -> None:
        """Draw further epochs.

        Parameters
        ----------
        steps : iterable of EpochProgress
            In the order in which they came.
        """
        known = set(self._folds)
        for step in steps:
            self._folds.setdefault(step.fold, []).append(step.epoch)
            self._latest = step.fold
        if set(self._folds) != known:
            self.fold.set_choices(
                [Choice("In training now", LATEST), *(Choice(fold_words(fold), fold) for fold in self._folds)]
            )
        self._draw()

    def show_kept(self, kept: Mapping[int, int]) -> None:
        """Mark the epoch that was kept of each fold.

        Parameters
        ----------
        kept : mapping of int to int
            Epoch by fold.
        """
        self._kept = dict(kept)
        # the model fitted on all slides has no validation to look at
        if self.fold.current is not None and self.fold.current.value == LATEST and kept:
            self.fold.choose(max(kept))
        self._draw()

    def _draw(self, *_: object) -> None:
        chosen = self.fold.current
        front = self._latest if chosen is None or chosen.value == LATEST else chosen.value
        loss: list[Curve] = []
        auc: list[Curve] = []
        for fold in sorted(self._folds, key=lambda fold: fold == front):
            epochs, strong, kept = self._folds[fold], fold == front, self._kept.get(fold)
            x = [epoch.epoch for epoch in epochs]
            name = fold_words(fold)
            loss.append(Curve(f"{name}, training", "training", x, [epoch.train_loss for epoch in epochs], strong))
            for curves, values in (
                (loss, [epoch.val_loss for epoch in epochs]),
                (auc, [epoch.val_auc for epoch in epochs]),
            ):
                if any(math.isfinite(value) for value in values):
                    curves.append(Curve(f"{name}, validation", "validation", x, values, strong, kept))
        self.loss.show_curves(loss)
        self.auc.show_curves(auc)


def fold_words(fold: int) -> str:
    """Return what a fold is called.

    Parameters
    ----------
    fold : int
        From 1, or `FINAL`.

    Returns
    -------
    str
        "Fold 1", "All slides".
    """
    return "All slides (final model)" if fold == FINAL else f"Fold {fold}"
