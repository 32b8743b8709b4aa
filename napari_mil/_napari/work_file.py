"""Saving the work on the slide in front to a file and opening it again, beside the window."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog

from ..errors import NapariMilError, SlideMovedError, WorkError
from ..preferences import keep_recent
from ..progress import Progress
from ..work_file import ENDING, Outlined, Work, open_work_slide, read_work, write_work
from .layers import slide_of
from .navigation import front_slide
from .widgets.save_dialog import FileKind, ask_where
from .work_layers import Drawn, gather, show_work
from .worker import Job, JobSlot

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

    from ..progress import Steps
    from ..slides import Slide
    from .session import Session

WORK = FileKind("Work on a slide", (ENDING,))


class WorkKeeper:
    """Saves and opens work for one window.

    Parameters
    ----------
    session : Session
        Whose viewer, tags and docks it keeps.
    """

    def __init__(self, session: Session) -> None:
        self._session_ref = weakref.ref(session)
        self._files: dict[str, Path] = {}
        self.jobs = JobSlot()

    @property
    def busy(self) -> bool:
        """Whether a file is being read or written."""
        return self.jobs.job is not None

    def pick_and_save(self) -> None:
        """Ask where to save the work on the slide in front, and save it."""
        viewer, window = self._window()
        layer = front_slide(viewer)
        slide = slide_of(layer)
        if slide is None:
            show_info("Open a slide first: there is no work to save yet.")
            return
        usual = self._files.get(slide.quickhash, slide.path.parent / f"{slide.name}{ENDING}")
        path = ask_where(window, "Save the work on this slide", usual, (WORK,))
        if path is not None:
            self.save(path)

    def pick_and_open(self) -> None:
        """Ask for a file of work, and open it."""
        _, window = self._window()
        name, _ = QFileDialog.getOpenFileName(window, "Open the work on a slide", "", WORK.filter)
        if name:
            self.open(Path(name))

    def save(self, path: Path) -> None:
        """Save the work on the slide in front, beside the window.

        Parameters
        ----------
        path : Path
            Where.
        """
        session = self._session_ref()
        viewer, _ = self._window()
        layer = front_slide(viewer)
        if session is None or layer is None or self.busy:
            return
        work, drawn = gather(viewer, layer, session)
        self._start(_write_steps(path, work, drawn), path.name, partial(self._saved, work.slide.quickhash))

    def open(self, path: Path, slide: Path | None = None) -> None:
        """Show the work in a file, beside the window; a slide that has moved is asked for.

        Parameters
        ----------
        path : Path
            A file that `write_work` wrote.
        slide : Path or None
            Where its slide is now, if it is known.
        """
        if not self.busy:
            self._start(_read_steps(path, slide), path.name, partial(self._read, path), partial(self._moved, path))

    def _window(self) -> tuple[napari.Viewer, QWidget]:
        session = self._session_ref()
        if session is None:
            raise RuntimeError("the window has been closed")
        return session.viewer, session.parent()

    def _start(
        self,
        steps: Steps[Any],
        title: str,
        done: Callable[[Any], None],
        moved: Callable[[SlideMovedError], None] | None = None,
    ) -> None:
        def ended(report: Callable[[Any], None], result: Any) -> None:
            self.jobs.job = None
            report(result)

        def failed(error: Exception) -> None:
            if moved is not None and isinstance(error, SlideMovedError):
                moved(error)
            elif isinstance(error, NapariMilError):
                show_error(str(error))
            else:
                raise error

        self.jobs.job = Job(
            steps,
            title,
            on_progress=lambda _: None,
            on_done=partial(ended, done),
            on_failed=partial(ended, failed),
            on_cancelled=lambda: setattr(self.jobs, "job", None),
        )

    def _saved(self, quickhash: str, path: Path) -> None:
        self._files[quickhash] = path
        remember(path)
        show_info(f"The work on this slide is saved in {path}")

    def _read(self, path: Path, found: tuple[Work, Slide]) -> None:
        session = self._session_ref()
        if session is None:
            return
        work, slide = found
        self._files[slide.quickhash] = path
        remember(path)
        show_work(session, work, slide)

    def _moved(self, path: Path, error: SlideMovedError) -> None:
        show_info(str(error))
        _, window = self._window()
        name, _ = QFileDialog.getOpenFileName(window, f"Where is the slide of {path.name}?", str(path.parent))
        if name:
            self.open(path, Path(name))


def remember(path: Path) -> None:
    """Put a file on the list of recent ones; where the disk refuses, the list stays as it was."""
    try:
        keep_recent(path)
    except NapariMilError as error:
        show_info(str(error))


def _write_steps(path: Path, work: Work, drawn: Sequence[Drawn]) -> Steps[Path]:
    yield Progress("Saving the work")
    outlined = [Outlined(one.make(), one.name, one.roles, one.visible) for one in drawn]
    return write_work(path, replace(work, annotations=outlined))


def _read_steps(path: Path, slide: Path | None) -> Steps[tuple[Work, Slide]]:
    yield Progress("Reading the work")
    work = read_work(path)
    yield Progress("Opening the slide")
    return work, open_work_slide(path, work, slide)


def save_work() -> None:
    """Save the work on the slide in front (menu entry)."""
    keeper = _keeper()
    if keeper is not None:
        keeper.pick_and_save()


def open_work() -> None:
    """Open the work on a slide (menu entry)."""
    keeper = _keeper()
    if keeper is not None:
        keeper.pick_and_open()


def keeper_of(viewer: napari.Viewer | None, path: Path) -> WorkKeeper:
    """Return what opens work in a viewer's window; without a window, say so."""
    from .session import attach

    session = attach(viewer) if viewer is not None else None
    if session is None:
        raise WorkError(f"{path.name} holds work on a slide, no picture. Open it in napari's window.")
    return session.work


def _keeper() -> WorkKeeper | None:
    import napari

    from .session import attach

    viewer = napari.current_viewer()
    session = attach(viewer) if viewer is not None else None
    return session.work if session is not None else None
