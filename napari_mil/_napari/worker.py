"""The one place where a generator of Progress meets Qt: a background thread, napari's activity dock, cancel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils import progress as activity_progress
from superqt.utils import GeneratorWorker

if TYPE_CHECKING:
    from ..progress import Progress, Steps


class StepsWorker(GeneratorWorker):
    """Drive a generator of Progress in a thread; ``quit()`` closes it at the next yield, in that same thread.

    superqt's own loop leaves a cancelled generator to the garbage collector, and takes any RuntimeError (which PyTorch
    raises for everything) for a deleted window and drops it; this one does neither.

    Parameters
    ----------
    steps : generator of Progress
        The work.
    """

    def __init__(self, steps: Steps[Any]) -> None:
        super().__init__(_relay, steps)
        self._steps = steps

    def work(self) -> Any:
        """Run to the end or to the first yield after ``quit()``; the generator is closed either way."""
        try:
            while not self.abort_requested:
                try:
                    self.yielded.emit(next(self._steps))
                except StopIteration as end:
                    return end.value
            self.aborted.emit()
            return None
        finally:
            self._steps.close()


def _relay(steps: Steps[Any]) -> Steps[Any]:
    return (yield from steps)


_running: set[Job] = set()
# Qt keeps no hold on who listens to it: a job that nobody else remembers must still close its bar.


class Job:
    """One piece of background work with its bar in napari's activity dock.

    All callbacks run in the window's thread. Exactly one of ``on_done``, ``on_failed`` and ``on_cancelled`` is called,
    unless the job is `abandon`ed, after which none is.

    Parameters
    ----------
    steps : generator of Progress
        The work; nothing of it has run yet.
    title : str
        What the activity dock calls it.
    on_progress, on_done, on_failed, on_cancelled : callable
        Take a Progress, the result, the exception, nothing.
    """

    def __init__(
        self,
        steps: Steps[Any],
        title: str,
        *,
        on_progress: Callable[[Progress], None],
        on_done: Callable[[Any], None],
        on_failed: Callable[[Exception], None],
        on_cancelled: Callable[[], None],
    ) -> None:
        self._title = title
        self._on_progress, self._on_done, self._on_failed = on_progress, on_done, on_failed
        self._on_cancelled = on_cancelled
        self._report: Callable[[], None] = on_cancelled
        self._silent = self._counting = False
        self._bar = activity_progress(total=0, desc=title, leave=False)
        self._worker = StepsWorker(steps)
        self._worker.yielded.connect(self._step)
        self._worker.returned.connect(self._returned)
        self._worker.errored.connect(self._errored)
        self._worker.finished.connect(self._finished)
        _running.add(self)
        self._worker.start()

    def cancel(self) -> None:
        """Stop the work at its next step; `on_cancelled` follows.

        Before the work counts anything it holds nothing either: it is let go of at once and ends by itself, so that
        nobody waits for a library to load.
        """
        self._worker.quit()
        if not self._counting and not self._silent:
            self._silent = True
            self._on_cancelled()

    def abandon(self) -> None:
        """Stop the work and forget it: the window it reported to is closing."""
        self._silent = True
        self._worker.quit()

    def _step(self, step: Progress) -> None:
        if self._silent:
            return
        # The panel first: napari's bar lets Qt work meanwhile, and the window may be gone afterwards.
        self._counting = self._counting or step.total > 0
        self._on_progress(step)
        self._bar.total = step.total
        self._bar.set_description(self._title)
        if step.total:
            self._bar.update(step.done - self._bar.n)

    def _returned(self, result: Any) -> None:
        self._report = partial(self._on_done, result)

    def _errored(self, error: Exception) -> None:
        self._report = partial(self._on_failed, error)

    def _finished(self) -> None:
        _running.discard(self)
        self._bar.close()
        if self._silent:
            return
        self._report()


class JobSlot:
    """Room for the one job of a panel; no Qt object, so that it can answer when its panel is already gone."""

    def __init__(self) -> None:
        self.job: Job | None = None

    def abandon(self, *_: Any) -> None:
        """Stop the job, if there is one, and forget it."""
        if self.job is not None:
            self.job.abandon()
            self.job = None
