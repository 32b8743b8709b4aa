"""Where the plugin's docks are, to be kept with the work on a slide and restored with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRect, Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QDockWidget, QMainWindow, QTabWidget, QWidget

from ..work import DockPlace
from .widgets.dock_panel import DockPanel, dock_of
from .widgets.help_page import HelpPage
from .widgets.overview import Overview
from .widgets.slide_details import SlideDetails

if TYPE_CHECKING:
    from .session import Session

_AREAS = {
    "left": Qt.DockWidgetArea.LeftDockWidgetArea,
    "right": Qt.DockWidgetArea.RightDockWidgetArea,
    "top": Qt.DockWidgetArea.TopDockWidgetArea,
    "bottom": Qt.DockWidgetArea.BottomDockWidgetArea,
}
_NAMES: dict[Any, Any] = {area: name for name, area in _AREAS.items()}


def dock_places(window: QMainWindow) -> list[DockPlace]:
    """Return where the plugin's docks are that are open.

    Parameters
    ----------
    window : QMainWindow
        napari's.

    Returns
    -------
    list of DockPlace
        One each.
    """
    return [_place(window, panel, dock) for panel, dock in _docks(window).values() if not dock.isHidden()]


def restore_docks(session: Session, places: Sequence[DockPlace] | None) -> None:
    """Open the plugin's docks that were open, where they were, and hide the others.

    One that floats comes onto a screen that there is. A panel at work stays open: its work is cancelled nowhere else.

    Parameters
    ----------
    session : Session
        Whose window.
    places : sequence of DockPlace or None
        From `dock_places`; None leaves all as they are.
    """
    if places is None:
        return
    window = session.parent()
    wanted = {place.name: place for place in places}
    for name, (panel, dock) in _docks(window).items():
        if name not in wanted and not getattr(panel, "running", False):
            dock.hide()
    for name, show in _openers(session).items():
        if name in wanted:
            show()
    found = _docks(window)
    shown = [(wanted[name], *found[name]) for name in wanted if name in found]
    for place, panel, dock in shown:
        _restore(window, place, panel, dock)
    for place, panel, dock in shown:
        if place.front and not place.floating:
            dock.raise_()
        tabs = getattr(panel, "tabs", None)
        if isinstance(tabs, QTabWidget):
            titles = [tabs.tabText(index) for index in range(tabs.count())]
            tabs.setCurrentIndex(titles.index(place.tab) if place.tab in titles else tabs.currentIndex())


def on_screen(geometry: QRect) -> QRect:
    """Return a rectangle moved, and cut where need be, so that it lies whole on a screen that there is."""
    screen = QGuiApplication.screenAt(geometry.center()) or QGuiApplication.primaryScreen()
    room = screen.availableGeometry()
    size = geometry.size().boundedTo(room.size())
    left = min(max(geometry.left(), room.left()), room.left() + room.width() - size.width())
    top = min(max(geometry.top(), room.top()), room.top() + room.height() - size.height())
    return QRect(left, top, size.width(), size.height())


def _openers(session: Session) -> dict[str, Callable[[], Any]]:
    from .launch import TRAIN, show_gallery, show_panel, show_plugin_dock

    return {
        "Overview": session.show_overview,
        "MILPanel": partial(show_panel, session.viewer),
        "TrainPanel": partial(show_plugin_dock, session.viewer, TRAIN),
        "Gallery": partial(show_gallery, session.viewer),
        "SlideDetails": session.show_details,
        "HelpPage": session.show_help,
    }


def _docks(window: QMainWindow) -> dict[str, tuple[QWidget, QDockWidget]]:
    """Return the plugin's panels in a window by name, each with its dock."""
    found = {}
    for kind in (DockPanel, Overview, SlideDetails, HelpPage):
        for panel in window.findChildren(kind):
            dock = dock_of(panel)
            if dock is not None:
                found[type(panel).__name__] = (panel, dock)
    return found


def _place(window: QMainWindow, panel: QWidget, dock: QDockWidget) -> DockPlace:
    box, tabs = dock.geometry(), getattr(panel, "tabs", None)
    return DockPlace(
        type(panel).__name__,
        _NAMES.get(window.dockWidgetArea(dock), "right"),
        bool(dock.isFloating()),
        (box.left(), box.top(), box.width(), box.height()),
        not dock.visibleRegion().isEmpty(),
        tabs.tabText(tabs.currentIndex()) if isinstance(tabs, QTabWidget) else "",
    )


def _restore(window: QMainWindow, place: DockPlace, panel: QWidget, dock: QDockWidget) -> None:
    area = _AREAS[place.area]
    if window.dockWidgetArea(dock) != area:
        dock.setFloating(False)
        window.addDockWidget(area, dock)
        if isinstance(panel, DockPanel):
            panel.share_place(window)
    dock.setFloating(place.floating)
    dock.show()
    if place.floating:
        dock.setGeometry(on_screen(QRect(*place.geometry)))
        return
    across = place.area in ("left", "right")
    size = place.geometry[2] if across else place.geometry[3]
    window.resizeDocks([dock], [size], Qt.Orientation.Horizontal if across else Qt.Orientation.Vertical)
