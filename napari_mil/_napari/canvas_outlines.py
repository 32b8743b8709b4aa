"""Lines of very many outlines, drawn by the canvas itself: of those in view that are large enough to be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer
from vispy.scene.visuals import Line

from .layers import KEY
from .outline_layers import lines_of
from .outline_picture import seen_px
from .viewers import camera

if TYPE_CHECKING:
    import napari
    from napari.layers import Image

_SETTLED_MS = 60
_WIDTH_PX = 1.5


class CanvasOutlines:
    """Draws the outlines of one layer, as many as the view shows; the layer's picture stands for the others.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose canvas draws them.
    layer : napari.layers.Image
        Made from `still_layer_data`.
    """

    def __init__(self, viewer: napari.Viewer, layer: Image) -> None:
        # napari hands its viewer to widgets behind a proxy that keeps the canvas from them
        self._viewer = getattr(viewer, "__wrapped__", viewer)
        self._window = self._viewer.window._qt_window
        self._layer = layer
        self._line: Any = None
        self._complete = False
        self._soon = QTimer()
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SETTLED_MS)
        self._soon.timeout.connect(self._draw)
        self._events = (camera(self._viewer).events.zoom, camera(self._viewer).events.center, layer.events.scale)
        for event in self._events:
            event.connect(self._later)
        self._later()  # napari may not have drawn the layer's picture yet

    @property
    def pieces(self) -> int:
        """How many straight pieces are drawn."""
        return len(self._line.pos) // 2 if self._line is not None else 0

    def remove(self) -> None:
        """Draw nothing any more."""
        for event in self._events:
            event.disconnect(self._later)
        self._soon.stop()
        if self._line is not None:
            self._line.parent = None
            self._line = None

    def _later(self, *_: Any) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def _draw(self) -> None:
        lines, visual = lines_of(self._layer), self._window._qt_viewer.canvas.layer_to_visual.get(self._layer)
        if lines is None or visual is None:
            return
        view, size = camera(self._viewer), self._window.centralWidget().size()
        half = np.array([size.height(), size.width()]) / view.zoom / 2
        picture = self._layer.metadata[KEY]["picture"]
        l0_per_px = self._l0_per_px(picture)
        um_per_px = np.asarray(self._layer.scale[-2:]) / l0_per_px
        corner = np.asarray(self._layer.translate[-2:]) - np.asarray(self._layer.scale[-2:]) / 2
        low, high = ((np.asarray(view.center[-2:]) + sign * half - corner) / um_per_px for sign in (-1, 1))
        box = (float(low[1]), float(low[0]), float(high[1]), float(high[0]))
        rings, complete = lines.within(box, seen_px(float(view.zoom), float(um_per_px.min())))
        self._show_picture(not complete)
        if not len(rings):
            if self._line is not None:
                self._line.visible = False
            return
        ends, colours = lines.segments(rings)
        # in the picture's pixels, whose own transform puts them in place
        ends /= l0_per_px[::-1].astype(np.float32)
        if self._line is None:
            self._line = Line(pos=ends, color=colours, width=_WIDTH_PX, connect="segments", method="gl")
            self._line.order = 1
            self._line.set_gl_state("translucent", depth_test=False)
            self._line.parent = visual.node
        self._line.visible = True
        self._line.set_data(pos=ends, color=colours)

    def _l0_per_px(self, picture: Any) -> np.ndarray[Any, Any]:
        """Return the level-0 pixels to a pixel of the picture, (rows, cols)."""
        return np.asarray(self._layer.metadata[KEY]["slide_shape"], float) / picture.shape[:2]

    def _show_picture(self, shown: bool) -> None:
        """Show the areas, or, where every outline in view has its line, only those."""
        if shown is not self._complete:
            return
        self._complete = not shown
        self._layer.data[...] = self._layer.metadata[KEY]["picture"] if shown else 0
        self._layer.refresh(extent=False, highlight=False, thumbnail=False)
