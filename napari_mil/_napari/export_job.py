"""What of a map is written to files from the window: as shown, with what was said of patches."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ..export import EXPORT_KINDS, Display, ExportKind, ExportOptions, iter_export_file, iter_export_files
from ..slides import open_slide, slide_name

if TYPE_CHECKING:
    from ..maps import AttentionMap, PatchTags
    from ..progress import Steps
    from .overlay import Overlay

Wanted: TypeAlias = ExportKind | Literal["everything"]
"""One kind of file, or all of them in a folder."""


def options_as_shown(overlay: Overlay, k: int, tags: PatchTags, max_px: int) -> ExportOptions:
    """Return what files are to look like so that they show what the window shows now.

    Parameters
    ----------
    overlay : Overlay
        Whose settings count.
    k : int
        How many top patches.
    tags : PatchTags
        What was said of the slide's patches.
    max_px : int
        Long edge of the picture of the map.

    Returns
    -------
    ExportOptions
        A copy: what is changed in the window later does not reach it.
    """
    chosen = overlay.settings
    threshold: float | None = None
    if not overlay.shows_all:
        # inverted at the scale's lower end nothing is shown, also not what lies below that end
        lowest = float(np.finfo(np.float32).min)
        threshold = lowest if overlay.hides_none else float(chosen.threshold)
    marks = tags.on_grid(overlay.map.grid)
    return ExportOptions(
        Display(
            chosen.score,
            chosen.scale,
            chosen.class_index,
            threshold,
            inverted=chosen.inverted,
            colours=chosen.colours,
            opacity=chosen.opacity,
            smooth=chosen.look == "smooth",
        ),
        top_k=k,
        max_px=max_px,
        tags={patch: mark.tags for patch, mark in marks.items()},
    )


def export_steps(amap: AttentionMap, wanted: Wanted, path: Path, options: ExportOptions) -> Steps[Path]:
    """Write one view of a map, or all, in the worker's thread.

    The slide is opened anew, so that a layer removed meanwhile does no harm.

    Parameters
    ----------
    amap : AttentionMap
        The map.
    wanted : str
        What; "patches" and "everything" get a subfolder named after slide, score and time.
    path : Path
        The file, or the folder in which the subfolder is made.
    options : ExportOptions
        From `options_as_shown`.

    Yields
    ------
    Progress
        As `iter_export_file`.

    Returns
    -------
    Path
        What was written.
    """
    stamp = datetime.now().astimezone().strftime("%Y-%m-%d %H.%M.%S")
    folder = path / f"{slide_name(amap.slide.path)} {options.display.score} {stamp}"
    with open_slide(amap.slide.path, mpp=amap.slide.mpp) as slide:
        if wanted == "everything":
            no_spots = {"hot-spots"} if options.display.threshold is None else set()
            kinds = [kind for kind in EXPORT_KINDS if kind not in no_spots]
            yield from iter_export_files(folder, slide, amap, kinds, options)
            return folder
        target = folder if wanted == "patches" else path
        return (yield from iter_export_file(wanted, target, slide, amap, options))
