"""The map in front and its slide, for panels that follow both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from .layers import slide_of
from .navigation import front_slide, slide_layers
from .overlay import Overlay, front_overlay, overlay_of
from .streaming import coarsest_level

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from ..slides import Slide

_SOON_MS = 80


class FrontMap(QObject):
    """Follows a viewer: which map is in front, the slide that it was made from, and how both are shown.

    Signals: ``changed`` (another map, slide or its colours), ``setting`` (name of a setting of the map that is another
    now), ``slide_gone`` (the slide's layer was removed, at once).

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    parent : QObject
        Who asks.
    """

    changed = Signal()
    setting = Signal(str)
    slide_gone = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        # a widget's own is a proxy that gives out proxies of layers, another at every look
        viewer = getattr(viewer, "__wrapped__", viewer)
        self._viewer: napari.Viewer | None = viewer
        self.overlay: Overlay | None = None
        self._layer: Layer | None = None
        self._srgb = False
        # layers change many times in a row
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._soon.timeout.connect(self.refresh)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._layers_changed)
        viewer.layers.selection.events.active.connect(self._later)
        for layer in viewer.layers:
            self._watch(layer, True)

    @property
    def slide(self) -> Slide | None:
        """The open slide that the map was made from, or None where that is not open."""
        return slide_of(self._layer)

    @property
    def srgb(self) -> bool:
        """Whether the slide is shown in the colours that its profile gives."""
        return self._srgb

    @property
    def waiting(self) -> bool:
        """Whether the window has changed and nobody has been told yet."""
        return bool(self._soon.isActive())

    def refresh(self) -> None:
        """Look again, and tell where something is another than before."""
        if self._viewer is None:
            return
        self._soon.stop()
        overlay = self._front()
        layer = None if overlay is None else self._layer_of(overlay)
        slide = slide_of(layer)
        srgb = slide is not None and slide.corrects_colours and coarsest_level(layer) is slide.levels()[-1]
        if (overlay, layer, srgb) == (self.overlay, self._layer, self._srgb):
            return
        if overlay is not self.overlay:
            self._let_go()
            self.overlay = overlay
            if overlay is not None:
                overlay.settings.events.connect(self._setting_changed)
        self._layer, self._srgb = layer, srgb
        self.changed.emit()

    def release(self) -> None:
        """Follow nothing any more."""
        viewer, self._viewer = self._viewer, None
        if viewer is None:
            return
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.disconnect(self._layers_changed)
        viewer.layers.selection.events.active.disconnect(self._later)
        for layer in viewer.layers:
            self._watch(layer, False)
        self._soon.stop()
        self._let_go()
        self._layer = None

    def _front(self) -> Overlay | None:
        """Return the map in front; the one before while it is only hidden, as with the key held that hides it."""
        viewer = self._viewer
        if viewer is None:
            return None
        front = front_overlay(viewer)
        if front is not None or self.overlay is None or self.overlay.layer not in viewer.layers:
            return front
        slide = slide_of(front_slide(viewer))
        same = slide is None or slide.quickhash == self.overlay.map.slide.quickhash
        return self.overlay if same else None

    def _layer_of(self, overlay: Overlay) -> Layer | None:
        """Return the layer of a map's slide."""
        if self._viewer is None:
            return None
        wanted, front = overlay.map.slide.quickhash, front_slide(self._viewer)
        layers = [layer for layer in slide_layers(self._viewer) if _quickhash(layer) == wanted]
        return front if front in layers else next(iter(layers), None)

    def _let_go(self) -> None:
        if self.overlay is not None:
            self.overlay.settings.events.disconnect(self._setting_changed)
            self.overlay = None

    def _watch(self, layer: Layer, on: bool) -> None:
        if slide_of(layer) is None and overlay_of(layer) is None:
            return
        for event in (layer.events.visible, layer.events.data):
            (event.connect if on else event.disconnect)(self._later)

    def _layers_changed(self, event: Any) -> None:
        if event.type in ("inserted", "removed"):
            self._watch(event.value, event.type == "inserted")
        if event.type == "removed" and event.value is self._layer:
            self.slide_gone.emit()
        self._later()

    def _later(self, _: Any = None) -> None:
        if self._viewer is not None and not self._soon.isActive():
            self._soon.start()

    def _setting_changed(self, info: Any) -> None:
        self.setting.emit(info.signal.name)


def _quickhash(layer: Layer) -> str:
    slide = slide_of(layer)
    return "" if slide is None else slide.quickhash
