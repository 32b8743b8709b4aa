"""The work on a slide: maps, how they are looked at, annotations, tags, tissue, view and docks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .annotations import Annotation
from .maps import AttentionMap, PatchTags
from .slides import SlideRef
from .tiling import TissueMask

_SAME_PX = 0.02
"""Level-0 pixels by which corners that were written and read again may differ."""


@dataclass(frozen=True, slots=True, eq=False)
class ShownMap:
    """A map and how it is looked at.

    Parameters
    ----------
    map : AttentionMap
        With its raw scores.
    name : str
        What its layer is called.
    settings : mapping
        As `HeatmapSettings.to_record` gives it.
    visible : bool
        Whether it is seen.
    """

    map: AttentionMap
    name: str
    settings: Mapping[str, Any]
    visible: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Outlined:
    """One layer of annotations.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines; kept to a hundredth of a pixel.
    name : str
        What the layer is called.
    roles : mapping of str to str
        "target", "exclude" or "neither" of each class that a person gave one.
    visible : bool
        Whether it is seen.
    """

    annotations: Sequence[Annotation]
    name: str
    roles: Mapping[str, str] = field(default_factory=dict)
    visible: bool = True


@dataclass(frozen=True, slots=True)
class View:
    """What of a slide is seen.

    Parameters
    ----------
    l0_center : (float, float)
        Level-0 (row, col) in the middle, 0 being the slide's corner.
    zoom : float
        Screen pixels per level-0 pixel.
    """

    l0_center: tuple[float, float]
    zoom: float


@dataclass(frozen=True, slots=True)
class DockPlace:
    """Where a dock of the window was.

    Parameters
    ----------
    name : str
        Of its panel.
    area : str
        "left", "right", "top" or "bottom": where it lies, or would lie if it did not float.
    floating : bool
        Whether it lay beside the window.
    geometry : (int, int, int, int)
        Left, top, width and height; on the screen where it floats. Of one in the window only its size counts.
    front : bool
        Whether it was to be seen, not behind another in the same place.
    tab : str
        The tab in front, where the panel has tabs.
    """

    name: str
    area: Literal["left", "right", "top", "bottom"]
    floating: bool
    geometry: tuple[int, int, int, int]
    front: bool = True
    tab: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """The work on one slide.

    Parameters
    ----------
    slide : SlideRef
        Which slide, where it lay, at which scale it is shown.
    maps : sequence of ShownMap
        Bottom first.
    annotations : sequence of Outlined
        Bottom first.
    tags : PatchTags
        Ticks and tags of patches.
    tissue : TissueMask or None
        As painted.
    view : View or None
        Where one was.
    docks : sequence of DockPlace or None
        The plugin's docks that were open; None where that was not kept.
    """

    slide: SlideRef
    maps: Sequence[ShownMap] = ()
    annotations: Sequence[Outlined] = ()
    tags: PatchTags = field(default_factory=PatchTags)
    tissue: TissueMask | None = None
    view: View | None = None
    docks: Sequence[DockPlace] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What of some work is in other work, too.

    Parameters
    ----------
    maps, annotations : tuple of (int or None)
        For each of the other's maps and layers of annotations, which of this work's is the same; None where none is.
    tissue : bool
        Whether both have the same tissue.
    lost : tuple of str
        What of this work is not in the other, in words; empty where all of it is.
    """

    maps: tuple[int | None, ...]
    annotations: tuple[int | None, ...]
    tissue: bool
    lost: tuple[str, ...]


def held_by(other: Work, this: Work) -> Held:
    """Tell what of the work on a slide is in other work on it; how maps are looked at does not count, nor the view.

    Parameters
    ----------
    other : Work
        What may hold it.
    this : Work
        What is to be held.

    Returns
    -------
    Held
        Pairs of the same name first, where several are the same.
    """
    maps = _paired(other.maps, this.maps, lambda a, b: _same_map(a.map, b.map))
    drawn = _paired(other.annotations, this.annotations, _same_outlines)
    tissue = other.tissue is not None and this.tissue is not None and _same_tissue(other.tissue, this.tissue)
    lost = [_said(len(this.maps) - sum(one is not None for one in maps), "map")]
    free = [one for n, one in enumerate(this.annotations) if n not in drawn and one.annotations]
    lost.append(_said(len(free), "layer of annotations", "layers of annotations"))
    lost.append("the tissue as painted" if this.tissue is not None and not tissue else "")
    lost.append("ticks and tags" if set(this.tags.marks.items()) - set(other.tags.marks.items()) else "")
    return Held(maps, drawn, tissue, tuple(words for words in lost if words))


def _paired(wanted: Sequence[Any], there: Sequence[Any], same: Callable[[Any, Any], bool]) -> tuple[int | None, ...]:
    """Return for each of the first which of the second is the same, each of these once."""
    free = dict(enumerate(there))
    found: list[int | None] = []
    for one in wanted:
        fitting = [number for number, other in free.items() if same(one, other)]
        best = min(fitting, key=lambda number: free[number].name != one.name, default=None)
        found.append(best)
        free.pop(best, None)  # type: ignore[arg-type]
    return tuple(found)


def _same_map(first: AttentionMap, second: AttentionMap) -> bool:
    if first is second:
        return True
    kinds = [(m.slide.quickhash, m.slide.mpp, m.model.title, m.model.pooling, list(m.scores)) for m in (first, second)]
    arrays = [(m.grid.l0_rc, m.prediction.logits, *(score.raw for score in m.scores.values())) for m in (first, second)]
    return kinds[0] == kinds[1] and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*arrays, strict=True))


def _same_outlines(first: Outlined, second: Outlined) -> bool:
    """Tell whether two layers hold the same outlines; their corners are kept to a hundredth of a pixel."""
    import shapely

    pairs = list(zip(first.annotations, second.annotations, strict=False))
    if len(first.annotations) != len(second.annotations) or not all(
        (a.name, a.class_name) == (b.name, b.class_name) and (a.color == b.color or None in (a.color, b.color))
        for a, b in pairs
    ):
        return False
    areas = [np.array([pair[k].geometry for pair in pairs], dtype=object) for k in range(2)]
    return bool(shapely.equals_exact(*areas, tolerance=_SAME_PX, normalize=True).all())


def _same_tissue(first: TissueMask, second: TissueMask) -> bool:
    return np.array_equal(first.mask, second.mask)


def _said(count: int, one: str, several: str = "") -> str:
    return "" if not count else f"{count} {one if count == 1 else several or one + 's'}"
