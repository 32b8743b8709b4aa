"""Several slides in one window: which one is in front, what belongs to it, and what lies beside it in its folder."""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SlideError
from ..progress import Progress
from .layers import made_from, mpp_of, slide_of
from .magnification import zoom_for
from .outline_layers import annotated_slide
from .reader import ONLY_SLIDES
from .viewers import camera

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from ..progress import Steps
    from ..slides import Slide

_View = tuple[tuple[float, ...], float]


def slide_layers(viewer: napari.Viewer) -> list[Layer]:
    """Return the layers that show slides, in the viewer's order."""
    return [layer for layer in viewer.layers if slide_of(layer) is not None]


def front_slide(viewer: napari.Viewer) -> Layer | None:
    """Return the layer of the slide that is seen: the active one, else the topmost visible, else None."""
    layers = slide_layers(viewer)
    active = viewer.layers.selection.active
    if active in layers and active.visible:
        return active
    return next((layer for layer in reversed(layers) if layer.visible), None)


def belongings(viewer: napari.Viewer, layer: Layer) -> list[Layer]:
    """Return the maps and outlines that were made from a slide's layer, and its annotations."""
    slide = slide_of(layer)
    return [] if slide is None else [other for other in viewer.layers if owner_of(other) == slide.quickhash]


def owner_of(layer: Layer) -> str | None:
    """Return the quickhash of the slide that a map, outline or annotation belongs to; None where it is of none."""
    origin = made_from(layer)
    return origin[0] if origin is not None else annotated_slide(layer)


def layer_of_slide(viewer: napari.Viewer, quickhash: str) -> Layer | None:
    """Return the layer of a slide, the one in front where several show it, or None where it is not open."""
    layers = [layer for layer in slide_layers(viewer) if slide_of(layer).quickhash == quickhash]  # type: ignore[union-attr]
    front = front_slide(viewer)
    return front if front in layers else next(iter(layers), None)


class SlideSwitch:
    """Shows one slide of several at a time, with what belongs to it; each keeps the view it was left with.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer_ref = weakref.ref(viewer)
        self._views: dict[int, _View] = {}
        self._shown: dict[int, list[int]] = {}
        """For each slide put aside, which of its belongings were visible."""
        self._orphans: set[int] = set()
        """What was hidden since its slide is not in front."""

    def bring_forward(self, layer: Layer) -> list[Layer]:
        """Show a slide and hide the others; nothing is removed.

        Parameters
        ----------
        layer : napari layer
            A slide's.

        Returns
        -------
        list of napari layer
            Those of the slides that were put aside.
        """
        viewer = self._viewer_ref()
        if viewer is None:
            return []
        aside = []
        view = camera(viewer)
        for other in slide_layers(viewer):
            if other is not layer and other.visible:
                aside.append(other)
                own = belongings(viewer, other)
                self._views[id(other)] = (tuple(view.center), float(view.zoom))
                self._shown[id(other)] = [id(one) for one in own if one.visible]
                for one in (other, *own):
                    one.visible = False
        if not layer.visible:
            layer.visible = True
            shown = self._shown.pop(id(layer), [])
            for one in belongings(viewer, layer):
                one.visible = id(one) in shown
        self.hide_foreign(layer)
        viewer.layers.selection.active = layer
        if id(layer) in self._views:
            view.center, view.zoom = self._views.pop(id(layer))
        return aside

    def hide_foreign(self, layer: Layer) -> None:
        """Hide what belongs to other slides than the one in front: over that it would say what is not so.

        It is shown again with its own slide.

        Parameters
        ----------
        layer : napari layer
            The slide in front.
        """
        viewer, slide = self._viewer_ref(), slide_of(layer)
        if viewer is None or slide is None:
            return
        for one in viewer.layers:
            owner = owner_of(one)
            if owner is None:
                continue
            if owner == slide.quickhash and id(one) in self._orphans:
                self._orphans.discard(id(one))
                one.visible = True
            elif owner != slide.quickhash and one.visible:
                self._orphans.add(id(one))
                one.visible = False

    def forget(self, layer: Layer) -> None:
        """Drop what is remembered of a layer that was removed."""
        self._orphans.discard(id(layer))
        self._views.pop(id(layer), None)
        self._shown.pop(id(layer), None)


def magnify(viewer: napari.Viewer, magnification: float) -> bool:
    """Show the slide in front at a magnification, about the middle of the present view.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    magnification : float
        20 for 20x.

    Returns
    -------
    bool
        False where there is no slide of known scale, and nothing was done.
    """
    layer = front_slide(viewer)
    if layer is None or mpp_of(layer) is None:
        return False
    camera(viewer).zoom = zoom_for(magnification)
    return True


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What lies beside a slide in its folder.

    Parameters
    ----------
    slide : Slide or None
        Open; None where there is no other in that direction.
    passed_over : tuple of (str, str)
        Names of the slides on the way that cannot be opened, and why.
    """

    slide: Slide | None
    passed_over: tuple[tuple[str, str], ...]


def find_neighbour(slide: Slide, step: int) -> Steps[Neighbour]:
    """Open the next slide in a folder; for a thread, since a drive may take long to answer, or never do.

    Parameters
    ----------
    slide : Slide
        The present one.
    step : int
        1 for the next in natural order ("slide 9" before "slide 10"), -1 for the one before.

    Yields
    ------
    Progress
        Before each file that is looked at.

    Returns
    -------
    Neighbour
        The slide, and what was passed over on the way to it.

    Raises
    ------
    SlideError
        If the folder can no longer be listed.
    """
    from ..slides import can_open, open_slide

    passed_over: list[tuple[str, str]] = []
    for candidate in _beside(slide.path, step):
        yield Progress(f"Looking at {candidate.name}")
        if not can_open(candidate) and candidate.suffix.lower() not in ONLY_SLIDES:
            continue
        try:
            found = open_slide(candidate)
            same = found.quickhash == slide.quickhash
        except (SlideError, OSError) as error:
            passed_over.append((candidate.name, str(error)))
            continue
        if not (same and found.vendor == "dicom"):  # one slide of many files; a copy of another kind is its own
            return Neighbour(found, tuple(passed_over))
        found.close()
    return Neighbour(None, tuple(passed_over))


def _beside(path: Path, step: int) -> Iterator[Path]:
    try:
        entries = sorted(path.parent.iterdir(), key=lambda entry: natural_key(entry.name))
    except OSError as error:
        raise SlideError(
            f"{path.parent} can no longer be listed ({error.strerror}). Check that its drive is connected."
        ) from error
    names = [entry.name for entry in entries]
    if path.name not in names:
        return iter(())
    at = names.index(path.name)
    return iter(entries[at + 1 :] if step > 0 else entries[:at][::-1])


def natural_key(name: str) -> list[tuple[int, Any]]:
    """Return a sorting key by which numbers in names count as numbers.

    Parameters
    ----------
    name : str
        A file's name.

    Returns
    -------
    list
        For ``sorted``.
    """
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]
