"""Unfinished rows on the disk, and the claim on a file."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_mil.errors import FeaturesError
from napari_mil.features._partial import Partial, claim

HEADER = {"slide": "a", "grid": [1, 2.5]}
ROWS = np.arange(60, dtype=np.float32).reshape(20, 3)
ORDER = np.arange(20)[::-1].copy()


def write(path: Path, *pieces: slice) -> None:
    with Partial(path, HEADER, 3) as partial:
        partial.restore(np.empty((20, 3), np.float32), np.zeros(20, bool))
        for piece in pieces:
            partial.append(ORDER[piece], ROWS[piece])


def restored(path: Path) -> np.ndarray:
    values = np.full((20, 3), np.nan, np.float32)
    with Partial(path, HEADER, 3) as partial:
        read = np.zeros(20, bool)
        partial.restore(values, read)
        assert partial.done == read.sum()
        assert np.isnan(values[~read]).all()
        return values[ORDER][read[ORDER]]


def test_rows_come_back_and_go_on(tmp_path: Path) -> None:
    path = tmp_path / "p"
    write(path, slice(0, 7), slice(7, 8))
    np.testing.assert_array_equal(restored(path), ROWS[:8])
    write(path, slice(8, 20))
    np.testing.assert_array_equal(restored(path), ROWS)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lost=st.integers(0, 300), flipped=st.none() | st.integers(1, 200))
def test_a_torn_file_gives_whole_batches_only(tmp_path: Path, lost: int, flipped: int | None) -> None:
    path = tmp_path / "p"
    path.unlink(missing_ok=True)
    write(path, slice(0, 7), slice(7, 15), slice(15, 20))
    head = len(json.dumps(HEADER, sort_keys=True)) + 1
    data = bytearray(path.read_bytes())
    if flipped is not None:
        data[-flipped] ^= 0x10
    path.write_bytes(data[: max(head, len(data) - lost)])
    found = restored(path)
    assert len(found) in (0, 7, 15, 20)
    np.testing.assert_array_equal(found, ROWS[: len(found)])
    write(path, slice(len(found), 20))
    np.testing.assert_array_equal(restored(path), ROWS)


@pytest.mark.parametrize("content", [b"", b"hello", b"{}\n", b"\x89HDF\r\n"])
def test_what_belongs_to_something_else_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p"
    path.write_bytes(content)
    with Partial(path, HEADER, 3) as partial:
        assert partial.replaced
        partial.restore(np.empty((20, 3), np.float32), np.zeros(20, bool))
        assert partial.done == 0


def test_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p"
    write(path, slice(0, 7))
    with Partial(path, HEADER, 3) as partial:
        partial.restore(np.empty((20, 3), np.float32), np.zeros(20, bool))

        def full(data: memoryview) -> None:
            os.write(partial._file.fileno(), data[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(partial, "_write", full)
        with pytest.raises(FeaturesError, match=r"No space left on device.*what is done so far is kept"):
            partial.append(ORDER[7:], ROWS[7:])
        assert partial.done == 7
    np.testing.assert_array_equal(restored(path), ROWS[:7])


def test_file_claimed_twice(tmp_path: Path) -> None:
    path = tmp_path / "new" / "f.h5"
    with claim(path):
        me = f"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(FeaturesError, match=rf"{me}.*f\.h5\.lock"), claim(path):
            pass
    with claim(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_claim_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    code = (
        "import os, signal, pathlib; from napari_mil.features._partial import claim\n"
        f"with claim(pathlib.Path({str(path)!r})): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert path.with_name("f.h5.lock").exists()
    with claim(path):
        pass


def test_claim_from_another_computer_holds(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    path.with_name("f.h5.lock").write_text("4242\nelsewhere\n")
    with pytest.raises(FeaturesError, match=r"process 4242 on elsewhere.*delete"), claim(path):
        pass


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FeaturesError, match="Choose another folder"), claim(tmp_path / "file" / "f.h5"):
        pass
