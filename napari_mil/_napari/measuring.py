"""Holding the map in front against annotations beside the window: only what has changed is computed again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..annotations import Annotation, Roles, class_counts, label_patches, outlines_on_slide, suggest_roles
from ..errors import AnnotationError

if TYPE_CHECKING:
    from ..annotations import PatchLabels
    from ..evaluation import Localisation
    from ..maps import MapView
    from ..tiling import TileGrid

TARGET, EXCLUDED, IGNORED = "target", "exclude", "neither"
ROLES = (TARGET, EXCLUDED, IGNORED)


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be measured.

    Parameters
    ----------
    annotations : callable
        Makes them, as they were when this was asked.
    revision : object
        Equal where the annotations are.
    slide_shape : (int, int)
        Level-0 (height, width) in pixels.
    source : str
        Name of the annotations, for the sentences.
    chosen : mapping of str to str
        Role of each class that a person gave one; the others get what is suggested.
    min_overlap : float
        Least share of a patch's area that is target.
    grid : TileGrid or None
        The map's patches; None where there is no map of this slide.
    view : MapView or None
        What is shown of the map.
    """

    annotations: Callable[[], list[Annotation]]
    revision: object
    slide_shape: tuple[int, int]
    source: str
    chosen: Mapping[str, str]
    min_overlap: float
    grid: TileGrid | None
    view: MapView | None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was found.

    Parameters
    ----------
    counts : mapping of str to int
        Outlines of each class.
    roles : Roles
        What each class counts as.
    notes : tuple of str
        What to know of the outlines.
    problem : str
        Why nothing can be measured; empty where it can.
    found : Localisation or None
        The measures; None without a map.
    """

    counts: Mapping[str, int]
    roles: Roles
    notes: tuple[str, ...]
    problem: str
    found: Localisation | None


class Measuring:
    """Answers questions one after the other, in one thread at a time; keeps what the next can go on from."""

    def __init__(self) -> None:
        self._drawn: tuple[object, list[Annotation], tuple[str, ...]] | None = None
        self._labels: tuple[object, PatchLabels] | None = None

    def answer(self, question: Question) -> Answer:
        """Return what a question asks for; an answer in words where the outlines do not belong to the slide."""
        try:
            annotations, notes = self._annotations(question)
        except AnnotationError as error:
            return Answer({}, Roles(frozenset()), (), str(error), None)
        roles = chosen_roles(annotations, question.chosen)
        counts = class_counts(annotations)
        if question.grid is None or question.view is None:
            return Answer(counts, roles, notes, "", None)
        from ..evaluation import localise

        key = (question.revision, roles, question.min_overlap, id(question.grid))
        if self._labels is None or self._labels[0] != key:
            labels = label_patches(annotations, question.grid, roles, min_overlap=question.min_overlap)
            self._labels = key, labels
        return Answer(counts, roles, notes, "", localise(question.view, self._labels[1]))

    def _annotations(self, question: Question) -> tuple[list[Annotation], tuple[str, ...]]:
        if self._drawn is None or self._drawn[0] != question.revision:
            self._drawn = None
            made = question.annotations()
            notes = tuple(outlines_on_slide(made, question.slide_shape, question.source))
            self._drawn = question.revision, made, notes
        return self._drawn[1], self._drawn[2]


def chosen_roles(annotations: Sequence[Annotation], chosen: Mapping[str, str]) -> Roles:
    """Return the roles of classes: those that a person gave, and for the others what their names suggest.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines.
    chosen : mapping of str to str
        "target", "exclude" or "neither", by class.

    Returns
    -------
    Roles
        Of the classes that there are.
    """
    suggested = suggest_roles(annotations)
    role = {name: role_in(suggested, name) for name in {one.class_name for one in annotations}}
    role |= {name: given for name, given in chosen.items() if name in role and given in ROLES}
    return Roles(*(frozenset(name for name, one in role.items() if one == wanted) for wanted in (TARGET, EXCLUDED)))


def role_in(roles: Roles, class_name: str) -> str:
    """Return what a class counts as."""
    return TARGET if class_name in roles.target else EXCLUDED if class_name in roles.exclude else IGNORED
