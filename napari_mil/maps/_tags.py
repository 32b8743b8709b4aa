"""What people say of patches: ticks and tags, kept by place on the slide so that all maps of it share them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from ..tiling import TileGrid

LONGEST_TAG = 60
"""Characters."""


@dataclass(frozen=True, slots=True)
class PatchPlace:
    """Where a patch lies on its slide.

    Parameters
    ----------
    l0_row, l0_col : int
        Top-left corner, level-0 pixels.
    tile_l0 : float
        Edge, level-0 pixels, to a thousandth.
    """

    l0_row: int
    l0_col: int
    tile_l0: float

    @classmethod
    def of(cls, grid: TileGrid, patch: int) -> Self:
        """Return the place of one patch of a grid."""
        row, col = (int(value) for value in grid.l0_rc[patch])
        return cls(row, col, round(grid.tile_l0, 3))


@dataclass(frozen=True, slots=True)
class PatchMark:
    """What was said of one patch.

    Parameters
    ----------
    ticked : bool
        Whether it is to be taken away.
    tags : tuple of str
        What it shows, in the order given.
    """

    ticked: bool = False
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PatchTags:
    """What was said of the patches of one slide.

    Parameters
    ----------
    marks : mapping of PatchPlace to PatchMark
        Only of patches of which something was said.
    """

    marks: Mapping[PatchPlace, PatchMark] = field(default_factory=dict)

    def at(self, place: PatchPlace) -> PatchMark:
        """Return what was said of a patch; an empty mark where nothing was."""
        return self.marks.get(place, PatchMark())

    def ticked(self, places: Iterable[PatchPlace], on: bool) -> Self:
        """Return the same with some patches ticked, or not."""
        return self._changed({place: replace(self.at(place), ticked=on) for place in places})

    def tagged(self, places: Iterable[PatchPlace], tag: str, on: bool = True) -> Self:
        """Return the same with a tag on some patches, or taken from them; of an empty tag nothing comes."""
        name = clean_tag(tag)
        changed = {}
        for place in places if name else ():
            mark = self.at(place)
            others = tuple(other for other in mark.tags if other != name)
            # as it was given first, where it is there
            tags = (mark.tags if name in mark.tags else (*others, name)) if on else others
            changed[place] = replace(mark, tags=tags)
        return self._changed(changed)

    def names(self) -> list[str]:
        """Return every tag in use, the most frequent first."""
        counts: dict[str, int] = {}
        for mark in self.marks.values():
            for tag in mark.tags:
                counts[tag] = counts.get(tag, 0) + 1
        return sorted(counts, key=lambda tag: (-counts[tag], tag))

    def on_grid(self, grid: TileGrid) -> dict[int, PatchMark]:
        """Return what was said of the patches of a grid, by position in it, in its order."""
        edge = round(grid.tile_l0, 3)
        mine = {(p.l0_row, p.l0_col): mark for p, mark in self.marks.items() if p.tile_l0 == edge}
        if not mine:
            return {}
        wanted = np.array(list(mine), np.int64)
        found = np.flatnonzero(np.isin(_keys(grid.l0_rc), _keys(wanted)))
        return {int(patch): mine[int(grid.l0_rc[patch, 0]), int(grid.l0_rc[patch, 1])] for patch in found}

    def to_record(self) -> list[dict[str, Any]]:
        """Return everything as JSON-able values, places as in ``patches.csv``: x, y, width in level-0 pixels."""
        return [
            {"x": p.l0_col, "y": p.l0_row, "width": p.tile_l0, "ticked": mark.ticked, "tags": list(mark.tags)}
            for p, mark in self.marks.items()
        ]

    def _changed(self, changed: Mapping[PatchPlace, PatchMark]) -> Self:
        marks = {**self.marks, **changed}
        return replace(self, marks={place: mark for place, mark in marks.items() if mark != PatchMark()})


def read_tags(record: Any) -> PatchTags:
    """Return what `PatchTags.to_record` gave; from a file, so what cannot be understood is left out.

    Parameters
    ----------
    record : list of dict
        Anything else gives no tags.

    Returns
    -------
    PatchTags
        What was said.
    """
    marks: dict[PatchPlace, PatchMark] = {}
    for row in record if isinstance(record, list) else ():
        if not isinstance(row, dict):
            continue
        numbers = [row.get(name) for name in ("x", "y", "width")]
        if not all(isinstance(n, int | float) and not isinstance(n, bool) and np.isfinite(n) for n in numbers):
            continue
        x, y, width = (float(n) for n in numbers)  # type: ignore[arg-type]
        tags = row.get("tags")
        known = [clean_tag(tag) for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
        mark = PatchMark(row.get("ticked") is True, tuple(dict.fromkeys(tag for tag in known if tag)))
        if mark != PatchMark():
            marks[PatchPlace(int(y), int(x), round(width, 3))] = mark
    return PatchTags(marks)


def clean_tag(tag: str) -> str:
    """Return a tag as it is kept: one line without semicolons, which part tags in tables; empty where nothing is left.

    Parameters
    ----------
    tag : str
        As typed.

    Returns
    -------
    str
        At most 60 characters.
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in tag.replace(";", ","))
    return " ".join(printable.split())[:LONGEST_TAG].strip()


def _keys(l0_rc: Any) -> Any:
    """Return one number per corner; slides are far smaller than 2^31 pixels."""
    return l0_rc[:, 0] * (1 << 32) + l0_rc[:, 1]
