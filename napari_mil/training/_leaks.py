"""Whether folds share what they must not: a patient, or a slide under two names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..errors import CohortError

if TYPE_CHECKING:
    from ._cohort import Cohort
    from ._folds import Fold
_SHOWN = 5
K = TypeVar("K")


def check_duplicates(quickhashes: Mapping[str, str]) -> None:
    """Refuse a cohort that lists one scan under two names.

    Parameters
    ----------
    quickhashes : mapping of str to str
        Hash of the file of each slide; empty where it is not known.

    Raises
    ------
    CohortError
        If two have the same.
    """
    twins = [names for names in _by(quickhashes.items()).values() if len(names) > 1]
    if twins:
        raise CohortError(
            f"The same slide is listed under several names (their files have the same hash): {_list(twins)}. "
            "Keep one row of each."
        )


def check_leaks(cohort: Cohort, folds: Sequence[Fold], quickhashes: Mapping[str, str]) -> None:
    """Refuse folds in which a patient or a slide is in two parts.

    Parameters
    ----------
    cohort : Cohort
        The table.
    folds : sequence of Fold
        As they will be used.
    quickhashes : mapping of str to str
        Hash of the file of each slide that is known.

    Raises
    ------
    CohortError
        If a patient, or a slide by name or hash, is in two parts of one fold; the message names the slides.
    """
    hashes = [quickhashes.get(slide, "") for slide in cohort.slides]
    for kind, keys in (("patient", cohort.patients), ("slide", cohort.slides), ("slide (by its hash)", hashes)):
        for fold in folds:
            leaks = _in_two_parts(keys, fold)
            if leaks:
                shown = _list([[cohort.slides[row] for row in rows] for rows in leaks])
                raise CohortError(
                    f"The same {kind} is in more than one of train, validation and test: {shown}. "
                    "Keep them in one part, else the test measures memory."
                )


def _in_two_parts(keys: Sequence[str], fold: Fold) -> list[list[int]]:
    part_of = {int(row): part for part in ("train", "val", "test") for row in getattr(fold, part)}
    groups = _by((row, keys[row]) for row in part_of).values()
    return [rows for rows in groups if len({part_of[row] for row in rows}) > 1]


def _by(pairs: Iterable[tuple[K, str]]) -> dict[str, list[K]]:
    """Gather first items by their second; those whose second is empty are left out."""
    groups: dict[str, list[K]] = {}
    for first, second in pairs:
        if second:
            groups.setdefault(second, []).append(first)
    return groups


def _list(groups: Sequence[Sequence[str]]) -> str:
    shown = "; ".join(" and ".join(group) for group in groups[:_SHOWN])
    return shown + (f"; and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else "")
