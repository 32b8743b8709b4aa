"""What goes on in a window with slides in it, panel or not: their tiles come as they are decoded."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from .streaming import Stream, stream_of

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer
    from qtpy.QtWidgets import QWidget


class Session(QObject):
    """Attends to the slides of one viewer; see `attach`.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    window : QWidget
        Its window, which the session ends with.
    """

    def __init__(self, viewer: napari.Viewer, window: QWidget) -> None:
        super().__init__(window)
        self._streams: dict[int, Stream] = {}
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.layers.events.removed.connect(self._removed)
        for layer in viewer.layers:
            self._start(layer)
        # a function of the streams alone: by then there is no session any more
        window.destroyed.connect(partial(_stop, self._streams))

    def _inserted(self, event: Any) -> None:
        self._start(event.value)

    def _start(self, layer: Layer) -> None:
        stream = stream_of(layer)
        if stream is not None:
            self._streams[id(layer)] = stream
            stream.start(layer)
            layer.events.data.connect(self._data_changed)

    def _data_changed(self, event: Any) -> None:
        """Follow a layer that shows its slide in other colours now."""
        layer = event.source
        old, new = self._streams.get(id(layer)), stream_of(layer)
        if old is not new:
            self._drop(layer)
            if new is not None:
                self._streams[id(layer)] = new
                new.start(layer)

    def _removed(self, event: Any) -> None:
        layer = event.value
        if id(layer) in self._streams:
            layer.events.data.disconnect(self._data_changed)
            self._drop(layer)

    def _drop(self, layer: Layer) -> None:
        stream = self._streams.pop(id(layer), None)
        if stream is not None:
            stream.stop()


def attach(viewer: napari.Viewer) -> None:
    """Attend to a viewer's slides, once however often called.

    Parameters
    ----------
    viewer : napari.Viewer
        A viewer with a window; one without needs no attention.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    window = getattr(getattr(viewer, "window", None), "_qt_window", None)
    if window is not None and window.findChild(Session) is None:
        Session(viewer, window)


def _stop(streams: dict[int, Stream]) -> None:
    for stream in streams.values():
        stream.stop()
    streams.clear()
