"""Which classes of outlines are the target, and which are taken out of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import shapely

from ..errors import AnnotationError
from ._annotation import Annotation
from ._geometry import union

# CAMELYON16's groups _0, _1 and Tumor are lesions and _2 or Exclusion is what is no tumour within them; CAMELYON17's
# are metastases and normal. Compared without case and at the start of the name: QuPath's "Tumor: Positive" counts.
_TARGETS = ("_0", "_1", "tumor", "tumour", "metasta", "lesion", "cancer", "carcinoma", "malignan", "invasive")
_EXCLUDED = ("_2", "exclu", "normal", "hole", "no tumo", "non-tumo", "nontumo", "benign")
_NEITHER = ("ignore", "tissue", "region", "other", "background")


@dataclass(frozen=True, slots=True)
class Roles:
    """Which classes count as the target, and which are taken out of it; the others count as neither.

    Parameters
    ----------
    target : frozenset of str
        Names of classes, as in `Annotation.class_name`; the empty name stands for outlines without a class.
    exclude : frozenset of str
        Classes whose area is no target even within an outline of the target.
    """

    target: frozenset[str]
    exclude: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if both := self.target & self.exclude:
            raise ValueError(f"target and excluded at once: {sorted(both)}")

    @property
    def sentence(self) -> str:
        """The roles in words."""
        excluded = f", without {_listed(self.exclude)}" if self.exclude else ""
        return f"Target: {_listed(self.target)}{excluded}."


def suggest_roles(annotations: Iterable[Annotation]) -> Roles:
    """Suggest which classes are the target, by their names.

    The groups of CAMELYON16 and 17 and QuPath's usual classes are known. Where no class is a known target, all are
    that are neither known to be excluded nor known to be something else (tissue, QuPath's Region and Ignore).

    Parameters
    ----------
    annotations : iterable of Annotation
        Outlines.

    Returns
    -------
    Roles
        To be confirmed or changed by a person.
    """
    names = {annotation.class_name for annotation in annotations}
    excluded = frozenset(name for name in names if _known(name, _EXCLUDED))
    target = frozenset(name for name in names if _known(name, _TARGETS))
    if not target:
        target = frozenset(name for name in names - excluded if not _known(name, _NEITHER))
    return Roles(target, excluded)


def roles_of(annotations: Sequence[Annotation], target: Iterable[str] = (), exclude: Iterable[str] = ()) -> Roles:
    """Return the roles that a person named, or those suggested where nothing was named.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines.
    target, exclude : iterable of str
        Names of classes, without regard to case.

    Returns
    -------
    Roles
        With the classes as they are spelt in the outlines.

    Raises
    ------
    AnnotationError
        If a target was named that no outline has, or a class is named twice.
    """
    suggested = suggest_roles(annotations)
    if not target and not exclude:
        return suggested
    spelt = {annotation.class_name.casefold(): annotation.class_name for annotation in annotations}
    chosen = frozenset(spelt.get(name.casefold(), name) for name in target)
    left_out = frozenset(spelt.get(name.casefold(), name) for name in exclude)
    if both := chosen & left_out:
        raise AnnotationError(f"{_listed(both)} cannot be target and excluded at once. Name it once.")
    if chosen and spelt and not chosen & set(spelt.values()):
        raise AnnotationError(
            f"No outline has the class {_listed(chosen)}. There are: {_listed(spelt.values())}. Name one of these."
        )
    return Roles(chosen or suggested.target - left_out, left_out or suggested.exclude - chosen)


def target_area(annotations: Sequence[Annotation], roles: Roles) -> Any:
    """Return the area of the target: the outlines of its classes, overlaps once, without what is excluded.

    Parameters
    ----------
    annotations : sequence of Annotation
        Outlines; those that enclose no area count nothing.
    roles : Roles
        What their classes mean.

    Returns
    -------
    shapely geometry
        (x, y), level-0 pixels; empty where nothing is the target.
    """
    areas, excluded = (
        union(a.geometry for a in annotations if a.class_name in names) for names in (roles.target, roles.exclude)
    )
    return areas if excluded.is_empty else shapely.difference(areas, excluded)


def _known(name: str, beginnings: tuple[str, ...]) -> bool:
    return name.casefold().startswith(beginnings)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name or "no class" for name in sorted(names)) or "none"
