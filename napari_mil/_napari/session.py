"""What goes on in a window with slides in it, panel or not: tiles come as they are decoded, one knows where one is."""

from __future__ import annotations

import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QLabel

from .bag_opener import BagOpener
from .bags import fit_width
from .docks import SessionDocks
from .layers import fit_slide, mpp_of, slide_of
from .navigation import (
    SlideSwitch,
    belongings,
    front_slide,
    layer_of_slide,
    magnify,
    owner_of,
    slide_layers,
)
from .outline_layers import fit_outlines
from .overlay import overlay_of
from .session_keys import bind_session_keys
from .stepping import Stepping
from .streaming import Stream, stream_of
from .tags import TagBook
from .viewers import camera
from .whereabouts import seen_part, words_here
from .work_file import WorkKeeper, remember
from .world_units import WorldUnits

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer
    from qtpy.QtWidgets import QMainWindow

    from .widgets.help_page import HelpPage
    from .widgets.overview import Overview
    from .widgets.slide_details import SlideDetails


class Session(QObject):
    """Attends to the slides of one viewer; see `attach`.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    window : QMainWindow
        Its window, which the session ends with.
    """

    settle = Signal()
    """Maps are to be shown by their own settings: another slide is about to come, or the work to be saved or opened."""
    flip_wanted = Signal()
    """Of two maps compared the other is to be shown."""

    def __init__(self, viewer: napari.Viewer, window: QMainWindow) -> None:
        super().__init__(window)
        # neither keeps the viewer: it is to go with its window
        self._viewer_ref = weakref.ref(viewer)
        self._told: Any = None
        self._streams: dict[int, Stream] = {}
        self._fresh: list[Layer] = []
        self._switch = SlideSwitch(viewer)
        self._units = WorldUnits(viewer)
        self._stepping = Stepping(viewer, self.bring_forward)
        self.bags = BagOpener(viewer, window.centralWidget())
        self.tags = TagBook()
        self.work = WorkKeeper(self)
        self._docks = SessionDocks(viewer)
        self._docks.keep_overview()
        self.where = QLabel(window)
        self.where.setContentsMargins(8, 0, 8, 0)
        window.statusBar().addPermanentWidget(self.where)
        # napari tells of every change of camera and mouse by itself: once per turn of the loop is enough
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(30)
        self._soon.timeout.connect(self._tell)
        self._connect(viewer)
        for layer in viewer.layers:
            self._start(layer)
        # functions of the streams and the job alone: by then there is no session any more
        window.destroyed.connect(partial(_stop, self._streams))
        window.destroyed.connect(self._stepping.abandon)
        window.destroyed.connect(self.bags.abandon)
        window.destroyed.connect(self.work.jobs.abandon)

    @property
    def viewer(self) -> napari.Viewer:
        """The viewer whose slides it attends to."""
        return self._viewer

    @property
    def _viewer(self) -> napari.Viewer:
        viewer = self._viewer_ref()
        if viewer is None:
            raise RuntimeError("the viewer has been closed")
        return viewer

    @property
    def overview(self) -> Overview:
        """The slide in front as a whole, what is seen of it, and the slides that are open."""
        return self._docks.overview

    @property
    def details(self) -> SlideDetails | None:
        """What is known of the slide in front; None until somebody asks."""
        return self._docks.details

    @property
    def help(self) -> HelpPage | None:
        """The help; None until somebody asks."""
        return self._docks.help

    def _canvas_px(self) -> tuple[int, int]:
        canvas = self.parent().centralWidget().size()
        return canvas.height(), canvas.width()

    def _connect(self, viewer: napari.Viewer) -> None:
        layers = viewer.layers
        layers.events.inserted.connect(self._inserted)
        layers.events.removed.connect(self._removed)
        layers.selection.events.active.connect(self._later)
        viewer.events.reset_view.connect(self._fit)
        self._mouse = viewer.cursor.events.position
        for event in (camera(viewer).events.zoom, camera(viewer).events.center, self._mouse):
            event.connect(self._later)
        self.overview.moved_to.connect(self._go)
        self.overview.magnified.connect(self.magnify)
        self.overview.chosen.connect(self.bring_forward)
        self.overview.stepped.connect(self.step)
        self.overview.details.connect(self.show_details)
        bind_session_keys(self)

    def step(self, step: int) -> None:
        """Go to the next slide in the folder (1) or the one before (-1), see `Stepping`."""
        self._stepping.step(step)

    def show_overview(self) -> None:
        """Show the overview, also when its dock was hidden or closed."""
        self._docks.show_overview()

    def show_details(self) -> None:
        """Show all that is known of the slide in front, beside the window."""
        self._told = None
        self._docks.show_details()
        self._tell()

    def show_help(self, title: str = "") -> None:
        """Show the help beside the window, at the page of a panel where one is named."""
        self._docks.show_help(title)

    def bring_forward(self, layer: Layer) -> None:
        """Show a slide in place of the one in front; those put aside hold neither file nor memory until shown again."""
        if any(other is not layer and other.visible for other in slide_layers(self._viewer)):
            self.settle.emit()
        front = slide_of(layer)
        for aside in self._switch.bring_forward(layer):
            self.overview.leave(aside)
            slide = slide_of(aside)
            if slide is not None and slide is not front:  # a duplicated layer shares its slide
                slide.rest()

    def _inserted(self, event: Any) -> None:
        self._start(event.value)
        self._hide_foreign(event.value)

    def _hide_foreign(self, layer: Layer) -> None:
        """Keep a map or outline off a slide that it was not made from."""
        front, owner = front_slide(self._viewer), owner_of(layer)
        if front is None or owner is None or not layer.visible or owner == slide_of(front).quickhash:  # type: ignore[union-attr]
            return
        self._switch.hide_foreign(front)
        overlay = overlay_of(layer)
        if overlay is not None and layer_of_slide(self._viewer, owner) is None:
            name = Path(overlay.map.slide.path).name
            show_warning(f"This map is of another slide, {name}, which is not open. Open it to see the map on it.")

    def _start(self, layer: Layer) -> None:
        stream = stream_of(layer)
        if stream is not None:
            self._streams[id(layer)] = stream
            stream.start(layer)
            layer.events.data.connect(self._data_changed)
        slide = slide_of(layer)
        if slide is not None:
            remember(slide.path)
            self._fresh.append(layer)
            self._docks.keep_overview()
            for event in (layer.events.visible, layer.events.name, layer.events.scale):
                event.connect(self._later)
            self.bring_forward(layer)
            self._fit()
        self._later()

    def _data_changed(self, event: Any) -> None:
        """Follow a layer that shows its slide in other colours now."""
        layer = event.source
        old, new = self._streams.get(id(layer)), stream_of(layer)
        if old is not new:
            self._drop(layer)
            if new is not None:
                self._streams[id(layer)] = new
                new.start(layer)
            self.overview.renew(layer)

    def _removed(self, event: Any) -> None:
        layer = event.value
        self._switch.forget(layer)
        self.overview.leave(layer)
        if id(layer) in self._streams:
            layer.events.data.disconnect(self._data_changed)
            self._drop(layer)
        if slide_of(layer) is not None:
            for emitter in (layer.events.visible, layer.events.name, layer.events.scale):
                emitter.disconnect(self._later)
            left = slide_layers(self._viewer)
            if left and front_slide(self._viewer) is None:
                self.bring_forward(left[-1])
        self._later()

    def _drop(self, layer: Layer) -> None:
        stream = self._streams.pop(id(layer), None)
        if stream is not None:
            stream.stop()

    def _later(self, _: Any = None) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def _lay_below(self) -> None:
        """Lay slides that were opened after their maps and outlines below these, which they would cover."""
        layers = self._viewer.layers
        fresh, self._fresh = self._fresh, []
        for slide in fresh:
            own = [layers.index(one) for one in belongings(self._viewer, slide)] if slide in layers else []
            if own and min(own) < layers.index(slide):
                layers.move(layers.index(slide), min(own))

    def _tell(self) -> None:
        """Bring the status line, the overview and the details up to what is seen."""
        self._lay_below()
        layer = front_slide(self._viewer)
        layers = slide_layers(self._viewer)
        names = [one.name for one in layers]
        state = (names, layer, layer is not None and mpp_of(layer))
        if state != self._told:
            self._told = state
            self.overview.show_slides(layers, layer)
            if self.details is not None:
                self.details.show_slide(slide_of(layer), mpp_of(layer) if layer is not None else None)
        if layer is None:
            self.where.clear()
            return
        view = camera(self._viewer)
        for one in self._viewer.layers:
            fit_width(one, float(view.zoom))
            fit_outlines(one, float(view.zoom))
        self.overview.show_view(*seen_part(self._viewer, layer, self._canvas_px()))
        self.where.setText(words_here(self._viewer, layer))

    def _go(self, row: float, col: float) -> None:
        layer = front_slide(self._viewer)
        slide = slide_of(layer)
        if layer is None or slide is None:
            return
        scale = np.asarray(layer.scale[-2:], float)
        at = np.asarray(layer.translate[-2:], float) + (np.array([row, col]) * slide.shape - 0.5) * scale
        camera(self._viewer).center = (0.0, *at)

    def _fit(self, _: Any = None) -> None:
        """Show the slide in front whole; of several, napari would show what all of them cover."""
        layer = front_slide(self._viewer)
        if layer is not None:
            fit_slide(self._viewer, layer, self._canvas_px())

    def magnify(self, magnification: float) -> None:
        """Show the slide in front at a magnification, 20 for 20x; at 0 the whole of it."""
        if magnification == 0:
            self._fit()
        elif not magnify(self._viewer, magnification) and front_slide(self._viewer) is not None:
            show_info("Magnification needs the slide's scale, which its file does not state. Set it in the Run tab.")


def attach(viewer: napari.Viewer) -> Session | None:
    """Attend to a viewer's slides, once however often called.

    Parameters
    ----------
    viewer : napari.Viewer
        A viewer with a window; one without needs no attention.

    Returns
    -------
    Session or None
        What attends to it; None without a window.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    window = getattr(getattr(viewer, "window", None), "_qt_window", None)
    if window is None:
        return None
    return window.findChild(Session) or Session(viewer, window)


def _stop(streams: dict[int, Stream]) -> None:
    for stream in streams.values():
        stream.stop()
    streams.clear()
