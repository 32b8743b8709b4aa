"""Slides and work that were open before, to be opened again with one click."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QToolButton, QVBoxLayout, QWidget

from ...errors import NapariMilError
from ...preferences import read_preferences

if TYPE_CHECKING:
    import napari

_MOST = 6


class RecentSlides(QWidget):
    """One button each; hidden while there are none, or a slide is open.

    Parameters
    ----------
    viewer : napari.Viewer
        In which they are opened.
    parent : QWidget or None
        Qt parent.
    """

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.buttons: list[QToolButton] = []
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        self._layout.addWidget(QLabel("Opened before", self))

    def refresh(self, *, slide_open: bool) -> None:
        """List what is there now.

        Parameters
        ----------
        slide_open : bool
            With a slide in the window, nothing is listed.
        """
        for button in self.buttons:
            self._layout.removeWidget(button)
            button.deleteLater()
        self.buttons = []
        paths = [] if slide_open else [Path(path) for path in read_preferences().recent]
        for path in [one for one in paths if one.exists()][:_MOST]:
            button = QToolButton(self)
            button.setText(path.name)
            button.setToolTip(str(path))
            button.setAutoRaise(True)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            button.clicked.connect(partial(self.open, path))
            self._layout.addWidget(button)
            self.buttons.append(button)
        self.setVisible(bool(self.buttons))

    def open(self, path: Path, *_: object) -> None:
        """Open a slide or a file of work, or say why not."""
        try:
            self._viewer.open(str(path), plugin="napari-mil")
        except NapariMilError as error:
            show_error(str(error))
        except Exception as error:  # whatever napari wraps a reader's error into
            notification_manager.receive_error(type(error), error, error.__traceback__)
