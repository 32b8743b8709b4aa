"""Small differences between napari releases, and what this plugin sets on a viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import napari


def canvas_overlay(viewer: napari.Viewer, name: str) -> Any:
    """Return a canvas overlay ("scale_bar", "text"); napari 0.9 moved them from the viewer to its canvas.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    name : str
        The overlay's name on ``viewer.canvas.overlays``.

    Returns
    -------
    Overlay
        napari's evented overlay model.
    """
    canvas = getattr(viewer, "canvas", None)
    if canvas is not None and hasattr(canvas, "overlays"):
        return getattr(canvas.overlays, name)
    return getattr(viewer, {"text": "text_overlay"}.get(name, name))


def camera(viewer: napari.Viewer) -> Any:
    """Return the viewer's camera; napari 0.9 moved it to the scene.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Returns
    -------
    Camera
        napari's evented camera model.
    """
    scene = getattr(viewer, "scene", None)
    return scene.camera if scene is not None and hasattr(scene, "camera") else viewer.camera


def show_scale_bar(viewer: napari.Viewer | None) -> None:
    """Switch the scale bar on, readable over pink tissue and white glass alike.

    Parameters
    ----------
    viewer : napari.Viewer or None
        The viewer; None does nothing (a reader may run without a window).
    """
    if viewer is None:
        return
    bar = canvas_overlay(viewer, "scale_bar")
    bar.font_size = 12
    bar.box = True
    bar.visible = True
