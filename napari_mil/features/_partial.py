"""The unfinished feature file: rows appended as they come, safe against a kill at any moment.

Not HDF5, because a process killed while HDF5 rewrites its tables can leave a file that nothing opens. This one is
only ever appended to: one line of JSON that says what the rows belong to, then frames of (count, CRC-32, places
in the grid, float32 values). Whatever follows the last whole frame is cut off on resuming, so at most the frame being
written is lost. The rows become an HDF5 file once all are there.
"""

from __future__ import annotations

import json
import os
import re
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import FeaturesError
from ..files import claimed

_FRAME = struct.Struct("<II")
_MAX_HEADER = 1 << 20
_SYNC_S = 1.0


def partial_path(path: Path) -> Path:
    """Return where the unfinished rows of a feature file lie: beside it, ``<name>.partial``."""
    return path.with_name(path.name + ".partial")


def temporary_path(path: Path) -> Path:
    """Return where this process lays out a feature file before it takes its place: ``<name>.<process id>.tmp``."""
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Hold a feature file for this process; others are told who holds it.

    What a process killed while it wrote the file left of it is removed: nobody else can be writing it now.

    Raises
    ------
    FeaturesError
        Where another process is writing the file, or its folder cannot be written. The claim of a process that no
        longer runs on this computer is taken over.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise FeaturesError(f"{path.parent} cannot be written ({err}). Choose another folder.") from err
    with claimed(_lock_path(path), FeaturesError, f"{path} is being written by another process", "file"):
        for left in _temporaries(path):
            with suppress(OSError):
                left.unlink()
        yield


def sweep(path: Path, header: Mapping[str, Any]) -> None:
    """Remove what a kill left beside a feature file that is whole: its unfinished rows, copies, and claim.

    Rows of anything else that was to replace the file stay. Where another process holds the file or its folder cannot
    be written, nothing is done.

    Parameters
    ----------
    path : Path
        The feature file.
    header : mapping
        What the unfinished rows say if they are the file's own, as `Partial` has it; they may say more.
    """
    rows = partial_path(path)
    if not (rows.exists() or _lock_path(path).exists() or _temporaries(path)):
        return
    with suppress(FeaturesError, OSError), claim(path):
        with rows.open("rb") as file:
            line = file.readline(_MAX_HEADER)
        if _says(line, header):
            rows.unlink()


def _says(line: bytes, header: Mapping[str, Any]) -> bool:
    """Tell whether the first line of unfinished rows says what is in a header, or was cut off, so that none follow."""
    if not line.endswith(b"\n"):
        return line[:1] in (b"", b"{")
    try:
        found = json.loads(line)
    except ValueError:
        return False
    wanted = json.loads(json.dumps(header))  # tuples become lists
    return isinstance(found, dict) and all(key in found and found[key] == wanted[key] for key in wanted)


def _temporaries(path: Path) -> list[Path]:
    """Return what there is of `temporary_path`, of any process."""
    pattern = re.compile(re.escape(path.name) + r"\.\d+\.tmp")
    with suppress(OSError):
        return [path.with_name(entry.name) for entry in os.scandir(path.parent) if pattern.fullmatch(entry.name)]
    return []


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


class Partial:
    """The rows of a feature file so far, on the disk; use it as a context manager.

    Parameters
    ----------
    path : Path
        The file of unfinished rows. One that is there is resumed where its header equals ``header``.
    header : mapping
        What the rows belong to; JSON-able.
    dim : int
        Numbers a row.

    Attributes
    ----------
    done : int
        Rows that are safe.
    replaced : bool
        Whether a file was there that belongs to something else, and is begun anew.

    Raises
    ------
    FeaturesError
        Where the file cannot be written.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], dim: int) -> None:
        self._path, self._dim = path, dim
        self._head = json.dumps(header, sort_keys=True).encode() + b"\n"
        self._synced = time.monotonic()
        self.done = 0
        self.replaced = False
        self._file: BinaryIO
        try:
            self._open()
        except OSError as err:
            raise _no_room(path, err) from err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def restore(self, values: NDArray[np.float32], read: NDArray[np.bool_]) -> None:
        """Put the rows on the disk into ``values`` (N, dim) and mark them in ``read`` (N,); cut off what is broken."""
        self._file.seek(len(self._head))
        good = self._file.tell()
        for tiles, rows in self._frames(len(values)):
            values[tiles] = rows
            read[tiles] = True
            self.done += len(rows)
            good = self._file.tell()
        self._file.truncate(good)
        self._file.seek(good)

    def append(self, tiles: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Add rows (n, dim) float32 and their places in the grid (n,) int64.

        They are on the disk's way at once, and forced onto it every second.

        Raises
        ------
        FeaturesError
            Where there is no room; the file then holds what it held before.
        """
        data = tiles.astype("<i8").tobytes() + rows.astype("<f4").tobytes()
        start = self._file.tell()
        try:
            self._write(_FRAME.pack(len(rows), zlib.crc32(data)) + data)
            if time.monotonic() - self._synced > _SYNC_S:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as err:
            self._file.truncate(start)
            self._file.seek(start)
            raise _no_room(self._path, err) from err
        self.done += len(rows)

    def delete(self) -> None:
        """Remove the file, once its rows are safe elsewhere."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _open(self) -> None:
        if self._path.exists():
            self._file = self._path.open("r+b", buffering=0)
            if self._file.read(_MAX_HEADER).split(b"\n", 1)[0] + b"\n" == self._head:
                return
            self._file.close()
            self.replaced = True
        self._file = self._path.open("w+b", buffering=0)
        try:
            self._write(self._head)
        except OSError:
            self._file.close()
            raise

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:  # an unbuffered file may take less than it is given
            view = view[self._file.write(view) :]

    def _frames(self, most: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield the whole frames from here on, at most so many rows."""
        while len(head := self._file.read(_FRAME.size)) == _FRAME.size:
            count, check = _FRAME.unpack(head)
            size = count * (8 + 4 * self._dim)
            if not 0 < count <= most:
                return
            data = self._file.read(size)
            if len(data) != size or zlib.crc32(data) != check:
                return
            most -= count
            tiles = np.frombuffer(data, "<i8", count)
            yield tiles, np.frombuffer(data, "<f4", offset=tiles.nbytes).reshape(count, self._dim)


def _no_room(path: Path, err: OSError) -> FeaturesError:
    return FeaturesError(
        f"{path} cannot be written ({err.strerror or err}). Free some space or choose another folder, then run again; "
        "what is done so far is kept."
    )
