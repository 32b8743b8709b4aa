"""What every command shares: a progress bar for people, JSON for machines, and one line for a mistake."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import Any, TypeVar

from .errors import NapariMilError
from .progress import Progress, Steps

T = TypeVar("T")


class Console:
    """Where a command speaks: results to standard output, progress and mistakes to standard error.

    Parameters
    ----------
    json_output : bool
        Print the result as one JSON line and nothing else.
    """

    def __init__(self, json_output: bool) -> None:
        self.json_output = json_output

    def drive(self, steps: Steps[T]) -> T:
        """Run a generator of Progress to its end behind a progress bar.

        Parameters
        ----------
        steps : generator of Progress
            The work; it is closed when the user presses Ctrl+C.

        Returns
        -------
        T
            What the generator returns.
        """
        with contextlib.closing(steps), self._bar() as show:
            while True:
                try:
                    show(next(steps))
                except StopIteration as end:
                    result: T = end.value
                    return result

    def result(self, record: dict[str, Any], text: str) -> None:
        """Print a command's result, as JSON or as text.

        Parameters
        ----------
        record : dict
            JSON-able result.
        text : str
            The same for people.
        """
        print(json.dumps(record, default=str, allow_nan=False) if self.json_output else text, flush=True)

    def fail(self, message: str, code: int) -> int:
        """Print a mistake in one line and return the exit status."""
        line = " ".join(message.split())
        if self.json_output:
            print(json.dumps({"error": line}))
        print(f"napari-mil: {line}", file=sys.stderr)
        return code

    @contextlib.contextmanager
    def _bar(self) -> Iterator[Any]:
        if self.json_output or not sys.stderr.isatty():
            yield _ignore
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=RichConsole(stderr=True), transient=True) as bar:
            task = bar.add_task("Starting", total=None, rate="")

            def show(step: Progress) -> None:
                label = f"{step.stage}: {step.message}" if step.message else step.stage
                rate = f"{step.rate:,.{1 if step.rate < 10 else 0}f} {step.unit}/s" if step.rate else ""
                bar.update(task, description=label, completed=step.done, total=step.total or None, rate=rate)

            yield show


def _ignore(_: Progress) -> None:
    """Show nothing: the output is read by a machine or a log."""


def guarded(work: Any, json_output: bool) -> int:
    """Run a command and turn a user's mistake into one line and an exit status.

    Parameters
    ----------
    work : callable
        The command; takes nothing.
    json_output : bool
        Whether the result is read by a machine.

    Returns
    -------
    int
        0 on success, 1 on a mistake that has a remedy, 130 when interrupted.
    """
    console = Console(json_output)
    try:
        work()
    except NapariMilError as err:
        return console.fail(str(err), 1)
    except KeyboardInterrupt:
        kept = (
            "Features extracted so far are kept: the same command goes on from there, and a training with --resume. "
            "Nothing else is half-written."
        )
        return console.fail(f"Stopped. {kept}", 130)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as err:
        return console.fail(f"The system refused: {err}. Check paths, rights and free space.", 1)
    return 0
