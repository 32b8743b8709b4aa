"""Saving the ticked patches."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ...export import export_patches
from ...slides import open_slide, slide_name

if TYPE_CHECKING:
    from ...maps import PatchTags
    from ...progress import Steps
    from ..overlay import Overlay


def save_steps(overlay: Overlay, tags: PatchTags, slide_path: Path, folder: Path) -> Steps[Path]:
    """Write the ticked patches of a map; the slide is opened anew, so that a layer removed meanwhile does no harm.

    Parameters
    ----------
    overlay : Overlay
        Its score, class and scale as shown go into the table.
    tags : PatchTags
        What was said of the slide's patches.
    slide_path : Path
        Where the slide is now.
    folder : Path
        A subfolder named after slide and time is made in it.

    Yields
    ------
    Progress
        As `export_patches`.

    Returns
    -------
    Path
        The new folder.
    """
    amap, settings = overlay.map, overlay.settings
    marks = tags.on_grid(amap.grid)
    stamp = datetime.now().astimezone().strftime("%Y-%m-%d %H.%M.%S")
    target = folder / f"{slide_name(amap.slide.path)} ticked {stamp}"
    with open_slide(slide_path, mpp=amap.slide.mpp) as slide:
        done = yield from export_patches(
            slide,
            amap,
            target,
            patches=[patch for patch, mark in marks.items() if mark.ticked],
            tags={patch: mark.tags for patch, mark in marks.items()},
            score=settings.score,
            scale=settings.scale,
            class_index=settings.class_index,
        )
    return Path(done.folder)
