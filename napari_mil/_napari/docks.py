"""The docks that a session has of its own: the overview, and on request what is known of a slide, and the help."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDockWidget

from .widgets.help_page import HelpPage
from .widgets.overview import Overview
from .widgets.slide_details import SlideDetails

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

OVERVIEW = "Overview"
DETAILS = "Slide details"
HELP = "Help"
_FLOATING_PX = (560, 600)


class SessionDocks:
    """Shows them, also after their docks were closed.

    Parameters
    ----------
    viewer : napari.Viewer
        In whose window they lie.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer_ref = weakref.ref(viewer)
        self.overview = Overview()
        self.details: SlideDetails | None = None
        self.help: HelpPage | None = None

    def show_overview(self) -> None:
        """Show the overview."""
        self._dock(self.overview, OVERVIEW, "left").show()

    def keep_overview(self) -> None:
        """Give the overview a dock where it has none; one that is hidden stays so."""
        self._dock(self.overview, OVERVIEW, "left")

    def show_details(self) -> SlideDetails:
        """Show what is known of a slide, at first beside the window."""
        if self.details is None:
            self.details = SlideDetails()
        self._beside(self.details, DETAILS)
        return self.details

    def show_help(self, title: str = "") -> None:
        """Show the help, at first beside the window, at the page of a panel where one is named."""
        if self.help is None:
            self.help = HelpPage()
        self._beside(self.help, HELP).raise_()
        self.help.show_page(title)

    def _beside(self, widget: QWidget, name: str) -> QDockWidget:
        fresh = not _docked(widget)
        dock = self._dock(widget, name, "right")
        if fresh:
            dock.setFloating(True)
            dock.resize(*_FLOATING_PX)
        dock.show()
        return dock

    def _dock(self, widget: QWidget, name: str, area: str) -> QDockWidget:
        """Return a widget's dock; closing one by its cross, napari destroys it and lets the widget go."""
        viewer = self._viewer_ref()
        if viewer is None:
            raise RuntimeError("the viewer has been closed")
        if not _docked(widget):
            viewer.window.add_dock_widget(widget, name=name, area=area)
            widget.show()
        dock: QDockWidget = widget.parent()
        return dock


def _docked(widget: QWidget) -> bool:
    return isinstance(widget.parent(), QDockWidget)
