"""The slides that fine-tuning looks at: found by their names in the table, each opened once before hours are spent."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..counting import agreed, counted
from ..errors import CohortError
from ..progress import Progress, Steps
from ..slides import SLIDE_EXTENSIONS, open_slide, slide_name
from ._leaks import check_duplicates

if TYPE_CHECKING:
    from ._cohort import Cohort

STAGE = "Reading patches"
_SHOWN = 5


def find_slides(cohort: Cohort, folder: str | os.PathLike[str]) -> list[Path]:
    """Find the files of a cohort's slides.

    Parameters
    ----------
    cohort : Cohort
        The table; a slide is named by its path, its file's name in the folder, or that without its ending.
    folder : path
        Where the slides lie.

    Returns
    -------
    list of Path
        In the cohort's order.

    Raises
    ------
    CohortError
        If there is no such folder, or slides are not in it, or two files have the name of one.
    """
    place = Path(folder)
    if not place.is_dir():
        raise CohortError(f"There is no folder of slides {place}. Check the path.")
    named: dict[str, list[Path]] = {}
    for path in sorted(place.iterdir()):
        if path.suffix.lower() in SLIDE_EXTENSIONS or path.is_dir():
            named.setdefault(slide_name(path), []).append(path)
    found = {slide: _candidates(slide, place, named) for slide in cohort.slides}
    missing = [slide for slide, paths in found.items() if not paths]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
        raise CohortError(
            f"{len(missing)} of {counted(len(found), 'slide')} {agreed(len(missing), 'is', 'are')} not in {place}: "
            f"{shown}. Put {agreed(len(missing), 'it', 'them')} there, or remove the rows."
        )
    for slide, paths in found.items():
        if len(paths) > 1:
            raise CohortError(
                f"{paths[0].name} and {paths[1].name} in {place} could both be slide {slide}. "
                "Name the file with its ending in the table."
            )
    return [paths[0] for paths in found.values()]


def _candidates(slide: str, place: Path, named: dict[str, list[Path]]) -> list[Path]:
    exact = place / slide  # an absolute path stays what it is
    return [exact] if exact.exists() else named.get(slide_name(slide), [])


def iter_quickhashes(cohort: Cohort, paths: Sequence[Path], slide_mpp: float | None) -> Steps[dict[str, str]]:
    """Open every slide once: what cannot be opened is said now, not after hours.

    Parameters
    ----------
    cohort : Cohort
        The table.
    paths : sequence of Path
        Its slides.
    slide_mpp : float or None
        Microns per level-0 pixel of slides that do not state it.

    Yields
    ------
    Progress
        In slides.

    Returns
    -------
    dict of str to str
        Hash of each slide's file, by slide.

    Raises
    ------
    SlideError
        Where a slide cannot be opened.
    CohortError
        Where one slide is listed under two names.
    """
    hashes = {}
    for slide, path in zip(cohort.slides, paths, strict=True):
        yield Progress(STAGE, 0, len(paths), message=f"opening {path.name}", unit="slides")
        with open_slide(path, mpp=slide_mpp) as opened:
            hashes[slide] = opened.ref.quickhash
    check_duplicates(hashes)
    return hashes
