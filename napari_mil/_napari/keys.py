"""Keys of the window. napari ignores those in a plugin's manifest, so they are bound to the viewer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .magnification import PRESETS

if TYPE_CHECKING:
    import napari


@dataclass(frozen=True, slots=True)
class Key:
    """One key and what it does.

    Parameters
    ----------
    combination : str
        As napari writes it.
    does : str
        In words, for the docs and for tooltips.
    """

    combination: str
    does: str


ZOOM_KEYS = tuple(Key(f"Alt-{number}", f"Magnify {preset:g}x") for number, preset in enumerate(PRESETS, start=1))
FIT_KEY = Key("Alt-0", "Show the whole slide")
NEXT_KEY = Key("Alt-.", "Open the next slide in the folder")
PREVIOUS_KEY = Key("Alt-,", "Open the previous slide in the folder")
HIDE_KEY = Key("H", "Hide the maps while it is held")
UNDO_KEY = Key("Alt-Z", "Undo the last change to how the map is shown")
REDO_KEY = Key("Alt-Shift-Z", "Redo it")
SAVE_KEY = Key("Alt-S", "Save the work on this slide")
GALLERY_KEY = Key("Alt-G", "Show the gallery of patches")
FLIP_KEY = Key("Alt-X", "Show the other of the two maps compared")
KEYS = (*ZOOM_KEYS, FIT_KEY, NEXT_KEY, PREVIOUS_KEY, HIDE_KEY, UNDO_KEY, REDO_KEY, SAVE_KEY, GALLERY_KEY, FLIP_KEY)


def bind_keys(viewer: napari.Viewer, actions: Mapping[Key, Callable[[], None]]) -> None:
    """Bind keys to a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    actions : mapping of Key to callable
        What to call for each key.
    """
    for key, action in actions.items():
        viewer.bind_key(key.combination, _for_napari(action, key.does), overwrite=True)


def bind_held_key(viewer: napari.Viewer, key: Key, pressed: Callable[[], Callable[[], None]]) -> None:
    """Bind a key that does something while it is held.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    key : Key
        Which.
    pressed : callable
        Called when the key goes down; what it returns is called when the key comes up.
    """

    def held(_: Any) -> Iterator[None]:
        released = pressed()
        yield
        released()

    held.__doc__ = key.does
    viewer.bind_key(key.combination, held, overwrite=True)


def _for_napari(action: Callable[[], None], does: str) -> Callable[[Any], None]:
    def pressed(_: Any) -> None:
        action()

    pressed.__doc__ = does  # napari lists it with its own keys
    return pressed
