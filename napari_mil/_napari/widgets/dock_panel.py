"""A panel that knows when its window or its dock is closed, and ends its work then."""

from __future__ import annotations

from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QMainWindow, QWidget

from ...errors import NapariMilError
from .legend import main_window_of


class DockPanel(QWidget):
    """A widget of napari's docks, to be given `release` and, if need be, `placed`."""

    def __init__(self) -> None:
        super().__init__()
        self._window: QMainWindow | None = None

    def release(self) -> None:
        """Stop everything and let go of the viewer; called once or more when window, dock or panel are closed."""
        raise NotImplementedError

    def placed(self, window: QMainWindow) -> None:
        """Act on having come into a window, once.

        Parameters
        ----------
        window : QMainWindow
            Whose closing ends the work.
        """

    def showEvent(self, event: QEvent) -> None:
        """Watch the window that the panel came to sit in, whose closing ends its work."""
        super().showEvent(event)
        window = main_window_of(self)
        if self._window is None and window is not None:
            self._window = window
            window.installEventFilter(self)
            self.placed(window)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """End the work when the window has closed; asked a moment later, since napari may ask and stay open."""
        if watched is self._window and event.type() == QEvent.Type.Close:
            QTimer.singleShot(0, self._release_if_closed)
        return False

    def event(self, event: QEvent) -> bool:
        """End the work when the panel is closed: napari takes it out of its dock, and tells it no more than that."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None and self._window is not None:
            self.release()
        return bool(super().event(event))

    def closeEvent(self, event: QEvent) -> None:
        """End the work when the panel itself is closed for good."""
        self.release()
        super().closeEvent(event)

    def _release_if_closed(self) -> None:
        if self._window is not None and not self._window.isVisible():
            self.release()


def notify(error: Exception) -> str:
    """Show an error as a notification and return the line for the panel.

    Parameters
    ----------
    error : Exception
        What a job failed with.

    Returns
    -------
    str
        Its own words where a user can remedy it.
    """
    if isinstance(error, NapariMilError):
        show_error(str(error))
        return str(error)
    notification_manager.receive_error(type(error), error, error.__traceback__)
    return "Something unforeseen happened; see the notification."
