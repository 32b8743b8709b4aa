"""What goes on in a window with slides in it, panel or not: tiles come as they are decoded, one knows where one is."""

from __future__ import annotations

import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QDockWidget, QLabel

from .bag_opener import BagOpener
from .bags import fit_width
from .keys import (
    FIT_KEY,
    FLIP_KEY,
    GALLERY_KEY,
    HIDE_KEY,
    NEXT_KEY,
    PREVIOUS_KEY,
    REDO_KEY,
    SAVE_KEY,
    UNDO_KEY,
    ZOOM_KEYS,
    Key,
    bind_held_key,
    bind_keys,
)
from .layers import fit_slide, mpp_of, slide_layer_data, slide_of
from .magnification import PRESETS, view_words
from .navigation import (
    Neighbour,
    SlideSwitch,
    belongings,
    find_neighbour,
    front_slide,
    layer_of_slide,
    magnify,
    owner_of,
    slide_layers,
)
from .outline_layers import fit_outlines
from .overlay import front_overlay, overlay_of
from .streaming import Stream, stream_of
from .tags import TagBook
from .viewers import camera
from .widgets.help_page import HelpPage
from .widgets.overview import Overview
from .widgets.slide_details import SlideDetails
from .work_file import WorkKeeper, remember
from .worker import Job, JobSlot

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.layers import Layer
    from qtpy.QtWidgets import QMainWindow, QWidget

OVERVIEW = "Overview"
DETAILS = "Slide details"
HELP = "Help"


class Session(QObject):
    """Attends to the slides of one viewer; see `attach`.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    window : QMainWindow
        Its window, which the session ends with.
    """

    leaving = Signal()
    flip_wanted = Signal()
    """Another slide is about to take the place of the one in front."""

    def __init__(self, viewer: napari.Viewer, window: QMainWindow) -> None:
        super().__init__(window)
        # neither keeps the viewer: it is to go with its window
        self._viewer_ref = weakref.ref(viewer)
        self._told: Any = None
        self._streams: dict[int, Stream] = {}
        self._fresh: list[Layer] = []
        self._switch = SlideSwitch(viewer)
        self._stepping = JobSlot()
        self.bags = BagOpener(viewer, window.centralWidget())
        self.tags = TagBook()
        self.work = WorkKeeper(self)
        self.overview = Overview()
        self.details: SlideDetails | None = None
        self.help: HelpPage | None = None
        self._dock(self.overview, OVERVIEW, "left")
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
        self.overview.magnified.connect(self._magnify)
        self.overview.chosen.connect(self._bring_forward)
        self.overview.stepped.connect(self.step)
        self.overview.details.connect(self.show_details)
        actions: dict[Key, Callable[[], None]] = {
            key: partial(self._magnify, preset) for key, preset in zip(ZOOM_KEYS, PRESETS, strict=True)
        }
        actions[FIT_KEY] = partial(self._magnify, 0.0)
        actions[NEXT_KEY], actions[PREVIOUS_KEY] = partial(self.step, 1), partial(self.step, -1)
        actions[UNDO_KEY], actions[REDO_KEY] = partial(self._change_map, "undo"), partial(self._change_map, "redo")
        actions[GALLERY_KEY] = self._show_gallery
        actions[FLIP_KEY] = self.flip_wanted.emit
        actions[SAVE_KEY] = self.work.pick_and_save
        bind_keys(viewer, actions)
        bind_held_key(viewer, HIDE_KEY, self._hide_maps)

    def step(self, step: int) -> None:
        """Open the next slide in the folder (1) or the one before (-1), found and opened in a thread.

        The present one goes once the other is open; with maps or outlines made from it, it stays in the list. Asked
        again meanwhile, the session forgets what it was asked before.
        """
        old = front_slide(self._viewer)
        slide = slide_of(old)
        if old is None or slide is None:
            return
        self._stepping.abandon()
        self._stepping.job = Job(
            find_neighbour(slide, step),
            "Next slide" if step > 0 else "Previous slide",
            on_progress=lambda _: None,
            on_done=partial(self._replace, old, step),
            on_failed=lambda error: show_error(str(error)),
            on_cancelled=lambda: None,
        )

    def _replace(self, old: Layer, step: int, beside: Neighbour) -> None:
        """Show the slide that was found in place of the one before."""
        if beside.passed_over:
            names = ", ".join(name for name, _ in beside.passed_over)
            show_warning(f"Passed over, since it cannot be opened: {names}. {beside.passed_over[0][1]}")
        found = beside.slide
        if found is None:
            name = slide_of(old).name  # type: ignore[union-attr]
            show_info(f"There is no slide {'after' if step > 0 else 'before'} {name} in its folder.")
            return
        known = [layer for layer in slide_layers(self._viewer) if slide_of(layer).path == found.path]  # type: ignore[union-attr]
        if known:
            found.close()
            self._bring_forward(known[0])
        else:
            from napari.layers import Layer

            self._viewer.add_layer(Layer.create(*slide_layer_data(found)))
        if old in self._viewer.layers and not belongings(self._viewer, old):
            self._viewer.layers.remove(old)

    def show_overview(self) -> None:
        """Show the overview, also when its dock was hidden or closed."""
        self._dock(self.overview, OVERVIEW, "left").show()

    def show_details(self) -> None:
        """Show all that is known of the slide in front, beside the window."""
        self._told = None
        if self.details is None:
            self.details = SlideDetails()
        fresh = not _docked(self.details)
        dock = self._dock(self.details, DETAILS, "right")
        if fresh:
            dock.setFloating(True)
            dock.resize(560, 600)
        dock.show()
        self._tell()

    def show_help(self, title: str = "") -> None:
        """Show the help beside the window, at the page of a panel where one is named."""
        if self.help is None:
            self.help = HelpPage()
        fresh = not _docked(self.help)
        dock = self._dock(self.help, HELP, "right")
        if fresh:
            dock.setFloating(True)
            dock.resize(560, 600)
        dock.show()
        dock.raise_()
        self.help.show_page(title)

    def _dock(self, widget: QWidget, name: str, area: str) -> QDockWidget:
        """Return a widget's dock; closing one by its cross, napari destroys it and lets the widget go."""
        if not _docked(widget):
            self._viewer.window.add_dock_widget(widget, name=name, area=area)
            widget.show()
        dock: QDockWidget = widget.parent()
        return dock

    def bring_forward(self, layer: Layer) -> None:
        """Show a slide in place of the one in front."""
        self._bring_forward(layer)

    def _bring_forward(self, layer: Layer) -> None:
        """Show a slide; those put aside for it hold neither file nor memory until they are shown again."""
        if any(other is not layer and other.visible for other in slide_layers(self._viewer)):
            self.leaving.emit()
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
            self._dock(self.overview, OVERVIEW, "left")
            for event in (layer.events.visible, layer.events.name, layer.events.scale):
                event.connect(self._later)
            self._bring_forward(layer)
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
                self._bring_forward(left[-1])
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
        view, scale = camera(self._viewer), np.asarray(layer.scale[-2:], float)
        corner = np.asarray(layer.translate[-2:], float) - scale / 2
        extent = np.asarray(slide_of(layer).shape) * scale  # type: ignore[union-attr]
        for one in self._viewer.layers:
            fit_width(one, float(view.zoom))
            fit_outlines(one, float(view.zoom))
        size = np.array(self._canvas_px()) / view.zoom
        top, left = (np.asarray(view.center[-2:]) - size / 2 - corner) / extent
        self.overview.show_view(top, left, *(size / extent))
        mouse = np.asarray(self._viewer.cursor.position[-2:]) - corner
        inside = self._viewer.mouse_over_canvas and bool((mouse >= 0).all() and (mouse < extent).all())
        place = (float(mouse[0]), float(mouse[1])) if inside else None
        words = view_words(float(view.zoom), place, scaled=mpp_of(layer) is not None)
        overlay = front_overlay(self._viewer) if inside else None
        patch = overlay.words_at(np.asarray(self._viewer.cursor.position[-2:])) if overlay is not None else ""
        self.where.setText(f"{words}  |  {patch}" if patch else words)

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

    def _change_map(self, how: str) -> None:
        overlay = front_overlay(self._viewer)
        if overlay is not None:
            getattr(overlay, how)()

    def _hide_maps(self) -> Callable[[], None]:
        """Hide the maps that are seen; return what shows them again."""
        shown = [layer for layer in self._viewer.layers if layer.visible and overlay_of(layer) is not None]
        for layer in shown:
            layer.visible = False

        def show() -> None:
            for layer in shown:
                layer.visible = True

        return show

    def _show_gallery(self) -> None:
        from .launch import show_gallery  # which attaches sessions

        show_gallery(self._viewer)

    def _magnify(self, magnification: float) -> None:
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


def _docked(widget: QWidget) -> bool:
    return isinstance(widget.parent(), QDockWidget)


def _stop(streams: dict[int, Stream]) -> None:
    for stream in streams.values():
        stream.stop()
    streams.clear()
