"""Folders that appear whole or not at all."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import ExportError
from ..files import cannot_write

TABLE_NAME = "patches.csv"
_DESKTOP_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_PATCH_NAME = re.compile(r"\d{3,}_.*_x\d+_y\d+_a.+\.(png|jpg)")


@contextmanager
def new_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a hidden folder beside the target; put it in the target's place when the block succeeds, else remove it."""
    check_patch_folder(target, overwrite=overwrite)
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        folder = partial / "new"
        folder.mkdir()
        yield folder
        _swap(folder, target, partial / "old")
    except OSError as err:
        raise ExportError(cannot_write(target, err)) from err
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _swap(new: Path, target: Path, old: Path) -> None:
    """Put a folder in the target's place and the target, if there is one, aside; undo the latter if that fails."""
    if not target.exists():
        new.rename(target)
        return
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise


@contextmanager
def aside(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a hidden folder within the one wanted; put what is written there in its place when the block succeeds.

    Parameters
    ----------
    folder : Path
        Made where it is not there. If the block fails, it and what folders were made for it are removed again.
    names : sequence of str
        What the block writes, and no more: all of it comes into the folder, in place of what is there, or nothing.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    ExportError
        If the disk refuses.
    """
    made = [part for part in (folder, *folder.parents) if not part.exists()]
    partial: Path | None = None
    done = False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
        yield partial
        _put_in_place(partial, folder, names)
        done = True
    except OSError as err:
        raise ExportError(cannot_write(folder, err)) from err
    except ExportError as err:
        # say where it was to be, not where it was written meanwhile
        raise ExportError(str(err).replace(str(partial), str(folder))) from err
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        for part in made if not done else ():
            if part.is_dir() and not any(part.iterdir()):
                part.rmdir()


def _put_in_place(partial: Path, folder: Path, names: Sequence[str]) -> None:
    """Move what was written into the folder; if one cannot be moved, put everything back."""
    old = partial / "old"
    old.mkdir()
    moved: list[str] = []
    kept: list[str] = []
    try:
        for name in names:
            if (folder / name).exists():
                (folder / name).rename(old / name)
                kept.append(name)
            (partial / name).rename(folder / name)
            moved.append(name)
    except OSError:
        for name in moved:
            (folder / name).rename(partial / name)
        for name in kept:
            (old / name).rename(folder / name)
        raise


def check_patch_folder(target: Path, *, overwrite: bool) -> None:
    """Raise ExportError where exporting patches would destroy or mix with files that are there.

    Parameters
    ----------
    target : Path
        The folder wanted; it need not exist.
    overwrite : bool
        Whether an earlier export may be replaced.

    Raises
    ------
    ExportError
        If it holds an earlier export without ``overwrite``, or anything else.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise ExportError(f"{target} is a file. Choose a folder for the patches.")
    names = [entry.name for entry in target.iterdir() if entry.name not in _DESKTOP_FILES]
    foreign = [name for name in names if name != TABLE_NAME and not _PATCH_NAME.fullmatch(name)]
    if foreign:
        raise ExportError(f'The folder {target} holds other files ("{foreign[0]}"). Choose an empty or a new folder.')
    if names and not overwrite:
        raise ExportError(
            f"The folder {target} holds an earlier export. "
            "Choose another folder, or allow overwriting (--overwrite on the command line)."
        )


def check_ending(path: Path, endings: tuple[str, ...], what: str) -> None:
    """Raise ExportError where a name does not end as what is written into it demands.

    Parameters
    ----------
    path : Path
        The file wanted.
    endings : tuple of str
        In small letters, with their dot.
    what : str
        What is written ("A figure").

    Raises
    ------
    ExportError
        If it has another ending.
    """
    if not path.name.lower().endswith(endings):
        raise ExportError(
            f"{what} is written as {', '.join(endings)}; the name {path.name} ends otherwise. Choose such a name."
        )
