"""The models to choose from: those at hand, files opened or dropped, and the Hugging Face hub by name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...features import models_folder
from ...models import MODEL_ENDINGS, foreign_files, is_on_hub, read_entry
from ...progress import Progress
from ..worker import Job, JobSlot
from .choice_box import ChoiceBox
from .choices import model_choices, model_entries

if TYPE_CHECKING:
    from ...models import ModelCard, ModelEntry
    from ...progress import Steps

_NO_ENCODER = "It does not say which encoder it was trained with: choose that one below."


class ModelField(QWidget):
    """A list of models with a button for others, and what the chosen one says of itself.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    """

    changed = Signal()
    """Another model is chosen, or the same one was read anew."""
    said = Signal(str, bool)
    """A line for the person, and whether it tells of a mistake."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._opened: dict[Path, ModelEntry] = {}
        self._foreign: list[ModelEntry] = []
        self._entries: list[ModelEntry] = []
        self._reading, self._looking = JobSlot(), JobSlot()
        self.box = ChoiceBox("Model", self)
        self.box.setMinimumWidth(120)  # leaves room for the button beside it
        self.more = QToolButton(self)
        self.more.setText("…")
        self.more.setToolTip("Open a model file, or one of the Hugging Face hub")
        self.more.setAccessibleName("Other models")
        self.more.setStyleSheet("QToolButton::menu-indicator { image: none; }")  # the dots say it
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.hub_name = QLineEdit(self)
        self.hub_name.setPlaceholderText("hf:owner/name, then Enter")
        self.hub_name.setToolTip(
            "A model on the Hugging Face hub: hf:owner/name, hf:owner/name@revision or hf:owner/name/file. It is "
            "fetched once and kept."
        )
        self.hub_name.setAccessibleName("Model on the Hugging Face hub")
        self.hub_name.hide()
        self.card_line = QLabel(self)
        self.card_line.setWordWrap(True)
        self.card_line.setStyleSheet("font-size: 11px;")
        self._build()
        self.refresh()

    @property
    def card(self) -> ModelCard | None:
        """The card of the chosen model, or None where none can be chosen."""
        entry = next((one for one in self._entries if one.path == self.path), None)
        return entry.card if entry is not None else None

    @property
    def path(self) -> Path | None:
        """The file of the chosen model."""
        chosen = self.box.current
        return chosen.value if chosen is not None else None

    @property
    def entries(self) -> list[ModelEntry]:
        """The model files at hand, usable or not."""
        return list(self._entries)

    def add(self, name: str | Path) -> None:
        """Offer a model and choose it; what takes time, torch or a network is done beside the window.

        Parameters
        ----------
        name : str or Path
            A model file, or ``hf:owner/name`` on the hub.
        """
        if not is_on_hub(name) and Path(name).suffix.lower() == ".safetensors":
            self._add(read_entry(name))
            return
        self._reading.abandon()
        self.said.emit("Fetching the model" if is_on_hub(name) else "Opening the model", False)
        self._reading.job = Job(
            _read_steps([name]),
            Path(name).name,
            on_progress=_ignore,
            on_done=self._read,
            on_failed=lambda error: self.said.emit(str(error), True),
            on_cancelled=partial(self.said.emit, "", False),
        )

    def look_for_foreign(self) -> None:
        """List what the models folder holds of other projects' files; they are read beside the window."""
        files = foreign_files(models_folder())
        if not files:
            return
        self._looking.abandon()
        self._looking.job = Job(
            _read_steps(files),
            "Models of other projects",
            on_progress=_ignore,
            on_done=self._foreign_read,
            on_failed=lambda error: self.said.emit(str(error), True),
            on_cancelled=lambda: None,
        )

    def release(self) -> None:
        """Stop reading: the window is closing."""
        self._reading.abandon()
        self._looking.abandon()

    def refresh(self) -> None:
        """Look again at which models there are."""
        self._entries = model_entries([*self._foreign, *self._opened.values()])
        with QSignalBlocker(self.box):
            self.box.set_choices(model_choices(self._entries))
        self._chosen()

    def _build(self) -> None:
        menu = QMenu(self.more)
        menu.addAction("Open a model &file…", self._pick)
        menu.addAction("From the Hugging Face &hub…", self._ask_hub)
        self.more.setMenu(menu)
        row = QHBoxLayout()
        row.addWidget(self.box, 1)
        row.addWidget(self.more)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row)
        layout.addWidget(self.hub_name)
        layout.addWidget(self.card_line)
        self.setFocusProxy(self.box)
        self.box.currentIndexChanged.connect(self._chosen)
        self.hub_name.returnPressed.connect(self._hub_named)
        leave = QShortcut(QKeySequence(Qt.Key.Key_Escape), self.hub_name, self.hub_name.hide)
        leave.setContext(Qt.ShortcutContext.WidgetShortcut)
        # Qt may delete the field without a word to it; its jobs must not outlive it.
        self.destroyed.connect(self._reading.abandon)
        self.destroyed.connect(self._looking.abandon)

    def _chosen(self, *_: object) -> None:
        chosen, card = self.box.current, self.card
        lines = [chosen.help.split("\n", 1)[0]] if chosen is not None else []
        lines += [_NO_ENCODER] if card is not None and not card.encoder else []
        self.card_line.setText(" ".join(lines))
        self.card_line.setToolTip(chosen.help if chosen is not None else "")
        self.card_line.setVisible(bool(lines))
        self.changed.emit()

    def _add(self, entry: ModelEntry) -> None:
        self._opened[entry.path] = entry
        self.refresh()
        if self.box.choose(entry.path):
            self.hub_name.hide()
        else:
            self.said.emit(entry.reason, True)

    def _read(self, entries: list[ModelEntry]) -> None:
        self._reading.job = None
        entry = entries[0]
        if is_on_hub(entry.path):  # it could not be fetched: nothing to list
            self.said.emit(entry.reason, True)
            return
        self.said.emit("", False)
        self._add(entry)

    def _foreign_read(self, entries: list[ModelEntry]) -> None:
        self._looking.job = None
        self._foreign = entries
        self.refresh()

    def _pick(self) -> None:
        endings = " ".join(f"*{ending}" for ending in MODEL_ENDINGS)
        path, _ = QFileDialog.getOpenFileName(self, "Open a model file", "", f"Models ({endings})")
        if path:
            self.add(Path(path))

    def _ask_hub(self) -> None:
        self.hub_name.show()
        self.hub_name.setFocus(Qt.FocusReason.OtherFocusReason)
        self.hub_name.selectAll()

    def _hub_named(self) -> None:
        name = self.hub_name.text().strip().removeprefix("https://huggingface.co/").rstrip("/")
        if name:
            self.add(name if is_on_hub(name) else f"hf:{name}")


def _read_steps(names: Iterable[str | Path]) -> Steps[list[ModelEntry]]:
    """Read models' cards in the worker's thread."""
    entries = []
    for name in names:
        yield Progress("Reading models")
        entries.append(read_entry(name))
    return entries


def _ignore(_: Progress) -> None:
    """Show nothing but the bar in napari's activity dock."""
