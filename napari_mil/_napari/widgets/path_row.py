"""A line for a path with a button that picks one."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QDir, QFileInfo, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QToolButton, QWidget


class PathRow(QWidget):
    """Type, paste or pick a path.

    Parameters
    ----------
    name : str
        What it is, for the dialog and a screen reader.
    hint : str
        Shown while it is empty.
    files : str
        Filter of the dialog ("Tables (*.csv)"); empty picks a folder.
    parent : QWidget or None
        Qt parent.
    """

    changed = Signal()

    def __init__(self, name: str, hint: str, files: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name, self._files = name, files
        self.line = QLineEdit(self)
        self.line.setPlaceholderText(hint)
        self.line.setAccessibleName(name)
        self.pick = QToolButton(self)
        self.pick.setText("…")
        self.pick.setToolTip(f"Choose: {name.lower()}")
        self.pick.setAccessibleName(f"Choose: {name.lower()}")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, 1)
        layout.addWidget(self.pick)
        self.setFocusProxy(self.line)
        self.line.textChanged.connect(self._text_changed)
        self.pick.clicked.connect(self._pick)

    @property
    def path(self) -> Path | None:
        """What is written, or None while nothing is."""
        text = self.line.text().strip().strip('"')
        return Path(text.removeprefix("file://")).expanduser() if text else None

    def show_path(self, path: Path | None) -> None:
        """Write a path; None empties the line."""
        self.line.setText("" if path is None else str(path))

    def _text_changed(self, text: str) -> None:
        self.line.setToolTip(text)
        self.changed.emit()

    def _pick(self) -> None:
        start = self.path or Path(QDir.homePath())
        title = f"Choose: {self._name.lower()}"
        if self._files:
            path, _ = QFileDialog.getOpenFileName(self, title, str(start), self._files)
        else:
            while not QFileInfo(str(start)).isDir() and start != start.parent:
                start = start.parent
            path = QFileDialog.getExistingDirectory(self, title, str(start))
        if path:
            self.show_path(Path(path))
