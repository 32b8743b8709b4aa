"""Writing a file so that a reader never sees half of it, and nobody else writes it meanwhile."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import NapariMilError


@contextmanager
def replacing(path: str | os.PathLike[str], error: type[NapariMilError]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it into place when the block succeeds, else remove it.

    Parameters
    ----------
    path : path
        The file wanted; an older one is replaced at the end, in one step.
    error : type
        Which error to raise, in words, when the disk refuses.

    Yields
    ------
    Path
        The name to write to; it keeps the endings of ``path``, by which some writers choose a format.

    Raises
    ------
    NapariMilError
        Of the class given: no such folder, no permission, no space.
    """
    target = Path(path)
    partial: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix=f"-{target.name}", dir=target.parent)
        os.close(handle)
        partial = Path(name)
        partial.chmod(0o666 & ~_umask())
        yield partial
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        partial.replace(target)
    except OSError as err:
        raise error(cannot_write(target, err)) from err
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


@contextmanager
def text_writer(path: Path) -> Iterator[IO[str]]:
    """Open a file for text, compressed where its name ends in .gz, with nothing in it that changes between runs.

    Parameters
    ----------
    path : Path
        Where; replaced.

    Yields
    ------
    file
        UTF-8, to be written piece by piece.
    """
    with path.open("wb") as raw:
        if path.suffix.lower() != ".gz":
            with io.TextIOWrapper(raw, encoding="utf-8") as text:
                yield text
            return
        # level 9, which is the default, takes twice as long for next to nothing
        with gzip.GzipFile("", "wb", 6, fileobj=raw, mtime=0) as packed, io.TextIOWrapper(packed, "utf-8") as text:
            yield text


@contextmanager
def claimed(lock: Path, error: type[NapariMilError], busy: str, other: str) -> Iterator[None]:
    """Hold a lock file, so that nobody else writes the same; others are told who holds it.

    Parameters
    ----------
    lock : Path
        The lock file; its folder must exist.
    error : type
        Which error to raise.
    busy : str
        What is the case where another holds it ("x.h5 is being written by another process").
    other : str
        Of what to choose another then ("file").

    Raises
    ------
    NapariMilError
        Of the class given: where it is held, or its folder cannot be written. The lock of a process that no longer
        runs on this computer is taken over.
    """
    import filelock  # brings asyncio, which not everyone who writes a file should load

    held = filelock.SoftFileLock(lock, timeout=0.5, thread_local=False)
    try:
        held.acquire()
    except filelock.Timeout as err:
        raise error(
            f"{busy} ({_holder(lock)}). Wait for it or choose another {other}; if it no longer runs, delete {lock}"
        ) from err
    except OSError as err:
        raise error(f"{lock.parent} cannot be written ({err}). Choose another folder.") from err
    try:
        yield
    finally:
        held.release()


def _holder(lock: Path) -> str:
    """Return who a lock file names: its first two lines are process id and computer."""
    try:
        lines = lock.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        lines = []
    return f"process {lines[0]} on {lines[1]}" if len(lines) > 1 else "unknown"


def cannot_write(target: Path, err: OSError) -> str:
    """Say in two sentences why a file or folder could not be written, and what to do.

    Parameters
    ----------
    target : Path
        What was to be written.
    err : OSError
        What the system said.

    Returns
    -------
    str
        For a person.
    """
    reason = err.strerror or str(err)
    return f"Cannot write {target}: {reason}. Free some space, or choose another folder that you may write to."


def _umask() -> int:
    """Return the process's umask; a temporary file is private, the finished one should not be."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
