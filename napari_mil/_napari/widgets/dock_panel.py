"""What the plugin's panels have in common: one place in the window, and an end of their work with window or dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.settings import get_settings
from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from ...errors import NapariMilError
from .legend import main_window_of

if TYPE_CHECKING:
    import napari


class DockPanel(QWidget):
    """A widget of napari's docks, to be given `release` and, if need be, `placed`."""

    def __init__(self) -> None:
        super().__init__()
        self._window: QMainWindow | None = None
        # napari first puts a dock below those that are there: it must not make the window higher before it shares
        self.setMinimumHeight(1)

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

    def come_forward(self) -> None:
        """Show the panel's dock in front of those that it shares its place with."""
        dock = dock_of(self)
        if dock is not None:
            dock.show()
            dock.raise_()

    def showEvent(self, event: QEvent) -> None:
        """Watch the window that the panel came to sit in, whose closing ends its work."""
        super().showEvent(event)
        window = main_window_of(self)
        if self._window is None and window is not None:
            self._window = window
            window.installEventFilter(self)
            self.share_place(window)
            QTimer.singleShot(0, self._free_height)
            self.placed(window)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """End the work when the window has closed; asked a moment later, since napari may ask and stay open."""
        # the kind first: Python may have emptied the panel by the time Qt takes the window apart
        if event.type() == QEvent.Type.Close and watched is self._window:
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

    def share_place(self, window: QMainWindow) -> None:
        """Lie behind or before the plugin's other panels: on a screen of 768 lines none fits above another.

        Parameters
        ----------
        window : QMainWindow
            In which the panel has come to lie.
        """
        own = dock_of(self)
        if own is None or own.isFloating():
            return
        for dock in window.findChildren(QDockWidget):
            same_area = window.dockWidgetArea(dock) == window.dockWidgetArea(own)
            if dock is not own and same_area and not dock.isFloating() and dock.findChild(DockPanel) is not None:
                window.tabifyDockWidget(dock, own)
                own.raise_()

    def _free_height(self) -> None:
        self.setMinimumHeight(0)

    def _release_if_closed(self) -> None:
        if self._window is not None and not self._window.isVisible():
            self.release()


def dock_of(widget: QWidget) -> QDockWidget | None:
    """Return the dock that a widget lies in, or None."""
    above: QWidget | None = widget
    while above is not None and not isinstance(above, QDockWidget):
        above = above.parentWidget()
    return above


def prefer_bottom(viewer: napari.Viewer, name: str) -> None:
    """Have napari dock a panel below the canvas unless a person has moved it, and only there.

    Panels and layer list, left and right, need the whole height of a small screen.

    Parameters
    ----------
    viewer : napari.Viewer
        In whose window.
    name : str
        By which napari knows the panel.
    """
    window = getattr(viewer, "__wrapped__", viewer).window._qt_window
    window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
    window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
    get_settings().application.plugin_widget_positions.setdefault(name, "bottom")


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
