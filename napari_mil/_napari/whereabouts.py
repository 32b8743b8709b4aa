"""Where on a slide one is: what of it is seen, and what there is to say of the place under the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .layers import mpp_of, slide_of
from .magnification import view_words
from .overlay import front_overlay
from .viewers import camera

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer
    from numpy.typing import NDArray


def seen_part(viewer: napari.Viewer, layer: Layer, canvas_px: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return top, left, height and width of what is seen of a slide, as shares of its height and width.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    layer : napari layer
        The slide's.
    canvas_px : (int, int)
        Height and width of the canvas.
    """
    view, (corner, extent) = camera(viewer), _place(layer)
    size = np.array(canvas_px) / view.zoom
    top, left = (np.asarray(view.center[-2:]) - size / 2 - corner) / extent
    height, width = size / extent
    return float(top), float(left), float(height), float(width)


def words_here(viewer: napari.Viewer, layer: Layer) -> str:
    """Say the magnification, and of the place under the mouse where it is and what the map says of it.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    layer : napari layer
        The slide's.
    """
    corner, extent = _place(layer)
    mouse = np.asarray(viewer.cursor.position[-2:]) - corner
    inside = viewer.mouse_over_canvas and bool((mouse >= 0).all() and (mouse < extent).all())
    place = (float(mouse[0]), float(mouse[1])) if inside else None
    words = view_words(float(camera(viewer).zoom), place, scaled=mpp_of(layer) is not None)
    overlay = front_overlay(viewer) if inside else None
    patch = overlay.words_at(np.asarray(viewer.cursor.position[-2:])) if overlay is not None else ""
    return f"{words}  |  {patch}" if patch else words


def _place(layer: Layer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a slide's top left corner, and its height and width, in napari's world."""
    scale = np.asarray(layer.scale[-2:], float)
    return np.asarray(layer.translate[-2:], float) - scale / 2, np.asarray(slide_of(layer).shape) * scale  # type: ignore[union-attr]
