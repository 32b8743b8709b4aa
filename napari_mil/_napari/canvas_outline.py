"""The outline of what a map shows, drawn by the canvas itself.

A napari layer of as many lines takes several redraws to change at 100 000 patches; the canvas' own lines take little
more than one. They belong to the map's picture, and move and hide with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from vispy.scene.visuals import Line

from ..maps import outline

if TYPE_CHECKING:
    import napari

    from .overlay import Overlay

# light within dark: to be seen on glass, on tissue and on every colour of a map
_STROKES = (((0.05, 0.05, 0.05, 1.0), 3.0), ((1.0, 1.0, 1.0, 1.0), 1.0))


class CanvasOutline:
    """Outlines what one overlay shows, while that is asked for.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose canvas draws the overlay.
    overlay : Overlay
        The overlay.
    """

    def __init__(self, viewer: napari.Viewer, overlay: Overlay) -> None:
        # napari hands its viewer to widgets behind a proxy that keeps the canvas from them
        window = getattr(viewer, "__wrapped__", viewer).window._qt_window
        self._canvas, self._overlay = window._qt_viewer.canvas, overlay
        self._lines: list[Any] = []
        overlay.settings.events.connect(self._follow)
        self._follow()

    def remove(self) -> None:
        """Draw nothing any more."""
        self._overlay.settings.events.disconnect(self._follow)
        self._clear()

    @property
    def runs(self) -> int:
        """How many straight runs are drawn."""
        return len(self._lines[0].pos) // 2 if self._lines else 0

    def _follow(self, info: Any = None) -> None:
        if info is not None and info.signal.name in ("opacity", "colours"):
            return
        visual = self._canvas.layer_to_visual.get(self._overlay.layer)
        if not self._overlay.settings.outlined or visual is None:
            self._clear()
            return
        cells, factor = self._overlay.shown_cells()
        runs = outline(cells)
        if len(runs) == 0:
            self._clear()
            return
        ends = np.ascontiguousarray(runs.reshape(-1, 2)[:, ::-1] * factor, np.float32)  # (x, y)
        if not self._lines:
            self._lines = [
                Line(pos=ends, color=colour, width=width, connect="segments", method="gl") for colour, width in _STROKES
            ]
            for order, line in enumerate(self._lines):
                line.order = 1 + order
                line.set_gl_state("translucent", depth_test=False)
        for line in self._lines:
            line.set_data(pos=ends)
            line.parent = visual.node

    def _clear(self) -> None:
        for line in self._lines:
            line.parent = None
        self._lines = []
