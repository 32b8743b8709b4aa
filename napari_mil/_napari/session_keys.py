"""What the keys do in a window with slides in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

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
from .magnification import PRESETS
from .overlay import front_overlay, overlay_of

if TYPE_CHECKING:
    import napari

    from .session import Session


def bind_session_keys(session: Session) -> None:
    """Bind the plugin's keys in a session's viewer, for as long as that lasts.

    Parameters
    ----------
    session : Session
        Whose slides, maps and work they act on.
    """
    viewer = session.viewer
    actions: dict[Key, Callable[[], None]] = {
        key: partial(session.magnify, preset) for key, preset in zip(ZOOM_KEYS, PRESETS, strict=True)
    }
    actions[FIT_KEY] = partial(session.magnify, 0.0)
    actions[NEXT_KEY], actions[PREVIOUS_KEY] = partial(session.step, 1), partial(session.step, -1)
    actions[UNDO_KEY], actions[REDO_KEY] = partial(_change_map, session, "undo"), partial(_change_map, session, "redo")
    actions[GALLERY_KEY] = partial(_show_gallery, session)
    actions[FLIP_KEY] = session.flip_wanted.emit
    actions[SAVE_KEY] = session.work.pick_and_save
    bind_keys(viewer, actions)
    bind_held_key(viewer, HIDE_KEY, partial(_hide_maps, session))


def _change_map(session: Session, how: str) -> None:
    overlay = front_overlay(session.viewer)
    if overlay is not None:
        getattr(overlay, how)()


def _hide_maps(session: Session) -> Callable[[], None]:
    """Hide the maps that are seen; return what shows them again."""
    viewer: napari.Viewer = session.viewer
    shown = [layer for layer in viewer.layers if layer.visible and overlay_of(layer) is not None]
    for layer in shown:
        layer.visible = False

    def show() -> None:
        for layer in shown:
            layer.visible = True

    return show


def _show_gallery(session: Session) -> None:
    from .launch import show_gallery  # which attaches sessions

    show_gallery(session.viewer)
