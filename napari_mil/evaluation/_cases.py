"""Which map is held against which file of outlines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..counting import counted
from ..errors import AnnotationError, EvaluationError, MapError


@dataclass(frozen=True, slots=True)
class AgreementCase:
    """A map with the outlines of its slide.

    Parameters
    ----------
    map_path : Path
        An attention map's file.
    annotation : Path or None
        Outlines; None for a slide without any target, which counts towards false positives.
    """

    map_path: Path
    annotation: Path | None


def check_cases(cases: Sequence[AgreementCase]) -> None:
    """Refuse cases whose files are not there, before any is read.

    Parameters
    ----------
    cases : sequence of AgreementCase
        Maps and outlines.

    Raises
    ------
    MapError, AnnotationError
        Naming the first that is missing.
    """
    for case in cases:
        if not case.map_path.is_file():
            raise MapError(
                f"There is no attention map {case.map_path}. Check the name, or run the model on the slide first."
            )
        if case.annotation is not None and not case.annotation.exists():
            raise AnnotationError(f"There is no annotation file {case.annotation}. Check the name.")


def pair_cases(maps: Sequence[Path], annotations: Sequence[Path]) -> list[AgreementCase]:
    """Pair maps with outlines: one file of outlines for all maps, or one each in the same order.

    Parameters
    ----------
    maps, annotations : sequence of Path
        Files.

    Returns
    -------
    list of AgreementCase
        One per map.

    Raises
    ------
    EvaluationError
        If their numbers do not go together.
    """
    if len(annotations) == 1:
        return [AgreementCase(one, annotations[0]) for one in maps]
    if len(annotations) != len(maps):
        outlines = counted(len(annotations), "file of annotations", "files of annotations")
        raise EvaluationError(
            f"{counted(len(maps), 'map')} and {outlines} do not go together. "
            "Give one file of annotations for all maps of one slide, or one for each map in the same order."
        )
    return [AgreementCase(one, other) for one, other in zip(maps, annotations, strict=True)]


def read_cases(table: str | os.PathLike[str]) -> list[AgreementCase]:
    """Read a table of maps and outlines.

    Parameters
    ----------
    table : path
        CSV, separated by commas or semicolons, with the columns ``map`` and ``annotation``; an empty annotation stands
        for a slide without target. Paths count from the table's folder.

    Returns
    -------
    list of AgreementCase
        A case per row.

    Raises
    ------
    EvaluationError
        If the table cannot be read or lacks a column.
    """
    path = Path(table)
    try:
        rows = pd.read_csv(path, sep=None, engine="python", dtype=str, keep_default_na=False)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise EvaluationError(f"{path} cannot be read as a table ({error}). Save it as CSV.") from error
    if missing := [name for name in ("map", "annotation") if name not in rows]:
        raise EvaluationError(
            f"{path} has no column {missing[0]}. It has: {', '.join(map(str, rows))}. "
            "Name the columns map and annotation."
        )
    cases = []
    for number, (amap, annotation) in enumerate(zip(rows["map"], rows["annotation"], strict=True), start=2):
        if not amap.strip():
            raise EvaluationError(f"{path}: line {number} names no map. Fill it in or delete the line.")
        outlines = path.parent / annotation.strip() if annotation.strip() else None
        cases.append(AgreementCase(path.parent / amap.strip(), outlines))
    if not cases:
        raise EvaluationError(f"{path} has no rows. List a map a line.")
    return cases
