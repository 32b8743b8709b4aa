"""Saving the work on the slide in front to a file and opening it again, beside the window."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog

from ..errors import NapariMilError, SlideMovedError, WorkError
from ..preferences import keep_recent
from ..progress import Progress
from ..work import Held, Work, held_by
from ..work_file import ENDING, open_work_slide, read_work, write_work
from .layers import slide_layer_data, slide_of
from .navigation import front_slide, layer_of_slide
from .widgets.save_dialog import FileKind, ask_where
from .work_layers import Gathered, claim, gather, show_work
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
        self._files: dict[str, tuple[Path, Work]] = {}
        """For each slide the file that its work was saved in or opened from last, and what that holds."""
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
        known = self._files.get(slide.quickhash)
        usual = slide.path.parent / f"{slide.name}{ENDING}" if known is None else known[0]
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
        session.settle.emit()
        gathered = gather(viewer, layer, session)
        self._start(_write_steps(path, gathered), path.name, partial(self._saved, gathered))

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

    def _saved(self, gathered: Gathered, done: tuple[Path, Work]) -> None:
        path, work = done
        claim(gathered)
        self._files[work.slide.quickhash] = path, work
        remember(path)
        show_info(f"The work on this slide is saved in {path}")

    def _read(self, path: Path, found: tuple[Work, Slide]) -> None:
        """Show the work that was read, once it is known what would be lost of what there is of its slide.

        That can be maps and ticks also where the slide itself was closed.
        """
        session = self._session_ref()
        if session is None:
            return
        work, slide = found
        layer = layer_of_slide(session.viewer, slide.quickhash)
        fresh = layer is None
        if layer is None:
            layer = session.viewer.add_layer(Layer.create(*slide_layer_data(slide)))
        else:
            slide.close()
        self._compare(path, work, layer, fresh=fresh)

    def _compare(self, path: Path, work: Work, layer: Layer, *, fresh: bool) -> None:
        session = self._session_ref()
        if session is None or layer not in session.viewer.layers:
            return
        session.bring_forward(layer)
        session.settle.emit()
        there = gather(session.viewer, layer, session, marked_only=fresh)
        known = self._files.get(there.shown.slide.quickhash)
        self._start(
            _compare_steps(path, work, there, known),
            path.name,
            partial(self._compared, path, work, layer, there, fresh),
        )

    def _compared(
        self, path: Path, work: Work, layer: Layer, there: Gathered, fresh: bool, found: tuple[Held, Path | None]
    ) -> None:
        session = self._session_ref()
        if session is None or layer not in session.viewer.layers:
            return
        held, kept = found
        if not there.still(session):  # somebody drew meanwhile
            self._compare(path, work, layer, fresh=fresh)
            return
        show_work(session, layer, work, there, held)
        self._opened(path, work)
        if kept is not None:
            show_info(
                f"Set aside: {', '.join(held.lost)}, kept in {kept}. The slide is as in {path.name} again, which does "
                "not hold that."
            )

    def _opened(self, path: Path, work: Work) -> None:
        self._files[work.slide.quickhash] = path, work
        remember(path)

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


def _write_steps(path: Path, gathered: Gathered) -> Steps[tuple[Path, Work]]:
    yield Progress("Saving the work")
    work = gathered.work()
    return write_work(path, work), work


def _compare_steps(
    path: Path, work: Work, there: Gathered, known: tuple[Path, Work] | None
) -> Steps[tuple[Held, Path | None]]:
    """Hold what a slide shows against what is to be shown; set aside what would be lost.

    Returns which of it stays, and the file that holds what goes: None where nothing would be lost.
    """
    yield Progress("Comparing with what is open")
    now = there.work()
    held = held_by(work, now)
    if not held.lost:
        return held, None
    if known is not None and known[0] != path and known[0].is_file() and not held_by(known[1], now).lost:
        return held, known[0]
    yield Progress("Setting aside what is open")
    stamp = datetime.now().astimezone().strftime("%Y-%m-%d %H.%M.%S")
    try:
        return held, write_work(path.with_name(f"{path.name.removesuffix(ENDING)} before {stamp}{ENDING}"), now)
    except WorkError as error:
        raise WorkError(
            f"{path.name} was not opened: on the slide there is what it does not hold ({', '.join(held.lost)}), and "
            f"that cannot be set aside. {error} Or save the work first, Alt+S."
        ) from error


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
