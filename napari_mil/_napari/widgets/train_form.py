"""What to train, on what, and how: the fields of the Train panel, looked at as they are filled in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from ...preferences import read_preferences
from ...training import RECIPES
from ..worker import Job, JobSlot
from .choice_box import Choice, ChoiceBox
from .path_row import PathRow
from .train_choices import POOLINGS, pooling_choices, recipe_choices
from .train_folder import finished_training, free_folder, stopped_training
from .train_more import TrainMore
from .train_request import Checked, TrainRequest, Wanted, check_steps
from .train_words import cohort_words

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLUMNS = "A CSV table, one row per slide, with the columns slide and label, and if known patient."
_LOOK_AFTER_MS = 250
_ERROR = "color: #d9534f; font-size: 11px;"
_QUIET = "font-size: 11px;"


class TrainForm(QWidget):
    """Fields of a training.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    """

    changed = Signal()
    """Something was chosen, or the look at it came to an end."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._jobs = JobSlot()
        self._checked: Checked | None = None
        self._proposed: Path | None = None
        self._build()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_LOOK_AFTER_MS)
        self._soon.timeout.connect(self._look)
        self._recall(read_preferences().training)
        self._connect()
        self._pooling_changed()
        # Qt may delete the panel without closing it
        self.destroyed.connect(self._jobs.abandon)
        self.look_again()

    @property
    def looking(self) -> bool:
        """Whether table and folders are being looked at."""
        return self._checked is None

    def missing(self) -> str:
        """Return what is missing or wrong, in words, or nothing."""
        if self.table.path is None:
            return "Choose the table of your slides."
        if self._checked is None:
            return "Looking at the table"
        if self._checked.table_fault:
            return "The table cannot be used: see below it."
        if self.features.path is None:
            return "Choose the folder with the features of these slides."
        if self._checked.features_fault:
            return "Features are missing: see below their folder."
        if self._checked.folds_fault:
            return self._checked.folds_fault
        if self.out.path is None:
            return "Choose a folder for the results."
        if finished_training(self.out.path):
            return f"{self.out.path} holds a finished training. Choose another folder."
        return ""

    def request(self) -> TrainRequest | None:
        """Return what is chosen, or None while something is missing."""
        table, features, out = self.table.path, self.features.path, self.out.path
        chosen = [box.current for box in (self.pooling, self.recipe, self.more.device)]
        if self.missing() or table is None or features is None or out is None or None in chosen:
            return None
        pooling, recipe, device = (choice.value for choice in chosen if choice is not None)
        return TrainRequest(
            table,
            features,
            out,
            pooling,
            recipe,
            self.more.folds.value(),
            self.more.epochs.value(),
            self.more.seed.value(),
            device,
            self.title.text().strip() or self.title.placeholderText(),
            self.task.text().strip() or self.task.placeholderText(),
            self.go_on.isChecked() and stopped_training(out),
        )

    def choices(self) -> dict[str, str | int]:
        """Return what to remember for the next time; not the result folder, which belongs to this one."""
        kept: dict[str, str | int] = {
            "table": self.table.line.text(),
            "features": self.features.line.text(),
            "folds": self.more.folds.value(),
            "epochs": self.more.epochs.value(),
            "seed": self.more.seed.value(),
        }
        for name, box in (("pooling", self.pooling), ("recipe", self.recipe), ("device", self.more.device)):
            if box.current is not None:
                kept[name] = box.current.value
        return kept

    def look_again(self) -> None:
        """Look at table, features and folds anew, a moment after the last key."""
        self._checked = None
        self._jobs.abandon()
        self._soon.start()
        self.changed.emit()

    def propose(self) -> None:
        """Propose a folder for the results, where nobody has written another."""
        table, pooling = self.table.path, self.pooling.current
        if table is None or pooling is None or self.out.path not in (None, self._proposed):
            return
        self._proposed = free_folder(table.parent / f"{table.stem} {pooling.value}")
        self.out.show_path(self._proposed)

    def propose_next(self) -> None:
        """Propose a folder beside the one that has been filled."""
        if self.out.path is not None:
            self.out.show_path(free_folder(self.out.path))

    def refresh_folder(self) -> None:
        """Look at what the folder for results holds: a training may have ended or been stopped in it."""
        out = self.out.path
        self.go_on.setVisible(out is not None and stopped_training(out))
        self.changed.emit()

    def set_devices(self, choices: list[Choice]) -> None:
        """Offer the devices of this computer."""
        self.more.device.set_choices(choices)
        self.more.device.choose(read_preferences().training.get("device"))

    def release(self) -> None:
        """Stop looking; the window is closing."""
        self._soon.stop()
        self._jobs.abandon()

    def _build(self) -> None:
        self.table = PathRow("Table of slides", "cohort.csv", "Tables (*.csv *.txt);;All files (*)", self)
        self.features = PathRow("Folder of features", "one .h5 file per slide", "", self)
        self.out = PathRow("Folder for results", "", "", self)
        self.pooling, self.recipe = ChoiceBox("Pooling", self), ChoiceBox("Recipe", self)
        self.pooling.set_choices(pooling_choices())
        self.recipe.set_choices(recipe_choices())
        for box in (self.pooling, self.recipe):
            # napari's style has lists wider than a dock of 320 px can show beside their names
            box.setMinimumWidth(120)
        self.title, self.task = QLineEdit(self), QLineEdit(self)
        self.title.setToolTip("What the model is called in lists")
        self.task.setToolTip("What the model predicts, in a sentence: it stands below the model where it is chosen")
        self.table_note, self.features_note, self.pooling_note = (_note(self) for _ in range(3))
        self.out.line.setToolTip("Models, figures and tables of this training go here; the folder is made if need be.")
        self.go_on = QCheckBox("&Go on where it was stopped", self)
        self.go_on.setChecked(True)
        self.go_on.setToolTip(
            "A training into this folder was stopped before its end. Ticked, it goes on, with what was chosen then; "
            "else it begins anew."
        )
        self.go_on.setVisible(False)
        form = QFormLayout(self)
        form.setContentsMargins(6, 9, 6, 9)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for label, field in (
            ("Ta&ble", _with_note(self.table, self.table_note)),
            ("Fe&atures", _with_note(self.features, self.features_note)),
            ("Pool&ing", _with_note(self.pooling, self.pooling_note)),
            ("&Recipe", self.recipe),
            ("&Name", self.title),
            ("Tas&k", self.task),
            ("Res&ults", _with_note(self.out, self.go_on)),
        ):
            form.addRow(label, field)
        self.more = TrainMore(self)
        form.addRow(self.more)

    def _connect(self) -> None:
        self.table.changed.connect(self._table_changed)
        self.features.changed.connect(self.look_again)
        self.more.folds.valueChanged.connect(self.look_again)
        self.more.seed.valueChanged.connect(self.look_again)
        self.out.changed.connect(self.refresh_folder)
        self.pooling.currentIndexChanged.connect(self._pooling_changed)
        self.recipe.currentIndexChanged.connect(self._recipe_changed)

    def _recall(self, kept: Mapping[str, str | int]) -> None:
        """Fill in what was chosen the last time; what no longer makes sense stays as it is."""
        for name, row in (("table", self.table), ("features", self.features)):
            if isinstance(kept.get(name), str):
                row.line.setText(str(kept[name]))
        for name, box in (("pooling", self.pooling), ("recipe", self.recipe)):
            box.choose(kept.get(name))
        self._recipe_changed()
        for name, spin in (("folds", self.more.folds), ("epochs", self.more.epochs), ("seed", self.more.seed)):
            value = kept.get(name)
            if isinstance(value, int):
                spin.setValue(min(max(value, spin.minimum()), spin.maximum()))

    def _table_changed(self) -> None:
        table = self.table.path
        self.title.setPlaceholderText("")
        if table is not None and self.features.path is None and (table.parent / "features").is_dir():
            self.features.show_path(table.parent / "features")
        self.look_again()

    def _pooling_changed(self, *_: Any) -> None:
        chosen = self.pooling.current
        self.pooling_note.setText(POOLINGS[chosen.value][1] if chosen else "")
        self._show_defaults()
        self.propose()
        self.changed.emit()

    def _recipe_changed(self, *_: Any) -> None:
        chosen = self.recipe.current
        if chosen is not None:
            self.more.epochs.setMinimum(RECIPES[chosen.value].warmup_epochs + 1)
            self.more.epochs.setValue(RECIPES[chosen.value].epochs)

    def _look(self) -> None:
        wanted = Wanted(self.table.path, self.features.path, self.more.folds.value(), self.more.seed.value())
        self._jobs.job = Job(
            check_steps(wanted),
            "Looking at the cohort",
            on_progress=lambda _: None,
            on_done=self._looked,
            on_failed=self._look_failed,
            on_cancelled=lambda: None,
        )

    def _looked(self, checked: Checked) -> None:
        self._jobs.job = None
        self._checked = checked
        cohort = checked.cohort
        if cohort is not None:
            _say(self.table_note, cohort_words(cohort))
        else:
            _say(self.table_note, checked.table_fault or _COLUMNS, error=bool(checked.table_fault))
        own = cohort is not None and cohort.splits is not None
        self.more.folds.setEnabled(not own)
        found = f"All {checked.found:,} feature files found." if checked.found else ""
        _say(self.features_note, checked.features_fault or found, error=bool(checked.features_fault))
        self._show_defaults()
        if cohort is not None:
            self.propose()
        self.changed.emit()

    def _look_failed(self, error: Exception) -> None:
        self._looked(Checked(table_fault=f"The table cannot be read: {error}"))

    def _show_defaults(self) -> None:
        """Show the name and the task that the card gets where nobody writes others."""
        pooling, table = self.pooling.current, self.table.path
        if pooling is not None and table is not None:
            self.title.setPlaceholderText(f"{table.stem}, {pooling.label.lower()}")
        cohort = self._checked.cohort if self._checked is not None else None
        if cohort is not None:
            names = cohort.class_names
            self.task.setPlaceholderText(f"Tells {', '.join(names[:-1])} from {names[-1]}")


def _with_note(field: QWidget, note: QWidget) -> QWidget:
    box = QWidget(field.parentWidget())
    layout = QVBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(2)
    layout.addWidget(field)
    layout.addWidget(note)
    box.setFocusProxy(field)
    return box


def _note(parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setWordWrap(True)
    label.setStyleSheet(_QUIET)
    return label


def _say(note: QLabel, line: str, *, error: bool = False) -> None:
    note.setText(line)
    note.setVisible(bool(line))
    note.setStyleSheet(_ERROR if error else _QUIET)
