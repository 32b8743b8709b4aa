"""Saving the ticked patches, beside the window."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info
from qtpy.QtCore import QObject, Signal

from ...export import export_patches
from ...slides import open_slide, slide_name
from ..worker import Job, JobSlot
from .dock_panel import notify
from .run_request import progress_line

if TYPE_CHECKING:
    from ...maps import PatchTags
    from ...progress import Steps
    from ..overlay import Overlay


class TickedSaver(QObject):
    """Saves ticked patches, one time after the other.

    Signals: ``said`` (how far it is), ``ended`` (what came of it), each with a line for a person.

    Parameters
    ----------
    parent : QObject
        Who asks.
    """

    said = Signal(str)
    ended = Signal(str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._jobs = JobSlot()
        # Qt may delete the panel without closing it; its job must not outlive it
        self.destroyed.connect(self._jobs.abandon)

    @property
    def busy(self) -> bool:
        """Whether patches are being saved."""
        return self._jobs.job is not None

    def start(self, overlay: Overlay, tags: PatchTags, slide_path: Path, folder: Path) -> None:
        """Save in the background; parameters as in `save_steps`."""
        self._jobs.job = Job(
            save_steps(overlay, tags, slide_path, folder),
            "Ticked patches",
            on_progress=lambda step: self.said.emit(progress_line(step)),
            on_done=self._saved,
            on_failed=lambda error: self._end(notify(error)),
            on_cancelled=lambda: self._end("Cancelled: nothing was saved."),
        )

    def cancel(self) -> None:
        """Stop saving; nothing of it stays."""
        if self._jobs.job is not None:
            self._jobs.job.cancel()

    def release(self) -> None:
        """Stop, and tell nobody."""
        self._jobs.abandon()

    def _saved(self, folder: Path) -> None:
        self._end(f"Saved in {folder}")
        show_info(f"Ticked patches saved in {folder}")

    def _end(self, line: str) -> None:
        self._jobs.job = None
        self.ended.emit(line)


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
