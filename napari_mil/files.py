"""Writing a file so that a reader never sees half of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
