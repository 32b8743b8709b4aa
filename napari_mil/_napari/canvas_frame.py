"""Going to a place of the slide, and the line around it, drawn by the canvas itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from vispy.scene.visuals import Line

from .viewers import camera

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari
    from numpy.typing import NDArray

# dark within light: to be told from the outline of what is shown, and seen on glass, tissue and every colour of a map
_STROKES = (((1.0, 1.0, 1.0, 1.0), 5.0), ((0.05, 0.05, 0.05, 1.0), 2.0))
_ABOVE_ALL = 10_000
_LEAST, _MOST = 0.25, 0.6
"""Of the canvas's shorter edge, what a patch takes at least and at most."""


class CanvasFrame:
    """A line around what is looked at, above all layers, or none.

    Parameters
    ----------
    viewer : napari.Viewer
        On whose canvas.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        # napari hands its viewer to widgets behind a proxy that keeps the canvas from them
        self._canvas = getattr(viewer, "__wrapped__", viewer).window._qt_window._qt_viewer.canvas
        self._lines: list[Any] = []

    @property
    def shown(self) -> bool:
        """Whether there is a line."""
        return bool(self._lines)

    @property
    def corners(self) -> NDArray[np.float64]:
        """Ends of its straight pieces, (K, 2), world (row, col)."""
        return np.asarray(self._lines[0].pos, float)[:, ::-1] if self._lines else np.empty((0, 2))

    def show(self, rings: Sequence[NDArray[np.float64]]) -> None:
        """Draw closed lines in the place of those before.

        Parameters
        ----------
        rings : sequence of (K, 2) float
            World (row, col), the first corner again at the end.
        """
        pieces = [np.stack([ring[:-1], ring[1:]], axis=1).reshape(-1, 2) for ring in rings]
        if not pieces or self._canvas is None:
            self.remove()
            return
        ends = np.ascontiguousarray(np.concatenate(pieces)[:, ::-1], np.float32)  # (x, y)
        if not self._lines:
            self._lines = [
                Line(pos=ends, color=colour, width=width, connect="segments", method="gl") for colour, width in _STROKES
            ]
            for order, line in enumerate(self._lines):
                line.order = _ABOVE_ALL + order
                line.set_gl_state("translucent", depth_test=False)
                line.parent = self._canvas.view.scene
        for line in self._lines:
            line.set_data(pos=ends)

    def release(self) -> None:
        """Draw nothing ever again, and let go of the canvas."""
        self.remove()
        self._canvas = None

    def remove(self) -> None:
        """Draw nothing any more."""
        for line in self._lines:
            line.parent = None
        self._lines = []


def box_ring(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the closed ring around a box, (5, 2), from its top left and bottom right corner."""
    (top, left), (bottom, right) = low, high
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left), (top, left)], float)


def fly_to(
    viewer: napari.Viewer, low: NDArray[np.float64], high: NDArray[np.float64], *, zoom: float | None = None
) -> None:
    """Show a box of the world in the middle of the canvas.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose camera is set.
    low, high : (2,) float
        Its top left and bottom right corner, world (row, col).
    zoom : float or None
        Screen pixels per world unit wanted; kept to where the box takes between a quarter and three fifths of the
        canvas. None makes it as large as that allows.
    """
    canvas = getattr(viewer, "__wrapped__", viewer).window._qt_window.centralWidget().size()
    size_px = np.array([canvas.height(), canvas.width()], float)
    extent = np.maximum(high - low, 1e-9)
    most = _MOST * float((size_px / extent).min())
    least = _LEAST * float(size_px.min() / extent.max())
    view = camera(viewer)
    view.center = (0.0, *((low + high) / 2))
    view.zoom = most if zoom is None else min(max(zoom, least), most)
