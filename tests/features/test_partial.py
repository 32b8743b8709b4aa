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
from napari_mil.features import Features, write_features
from napari_mil.features._partial import Partial, claim, partial_path, sweep

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


KILLED_WRITING = """
import os, pathlib, signal, sys
from napari_mil.features import read_features, write_features
from napari_mil.features._partial import claim
path = pathlib.Path(sys.argv[1])
bag = read_features(sys.argv[2])
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)  # all is written, nothing in its place yet
with claim(path):
    write_features(path, bag)
"""


def test_what_a_kill_in_the_final_write_leaves_goes_with_the_next_claim(tmp_path: Path, bag: Features) -> None:
    whole, path = tmp_path / "whole.h5", tmp_path / "f [1].h5"
    write_features(whole, bag)
    done = subprocess.run([sys.executable, "-c", KILLED_WRITING, str(path), str(whole)], check=False)
    assert done.returncode == -9
    (left,) = tmp_path.glob("*.tmp")
    assert left.stat().st_size >= bag.values.nbytes
    others = [tmp_path / name for name in ("f [1].h5.tmp", "f [1].h5.a.tmp", "g.h5.1.tmp", "f 1.h5.1.tmp")]
    for other in others:
        other.touch()
    with claim(path):
        assert not left.exists()
    assert set(tmp_path.iterdir()) == {whole, *others}


def left_behind(path: Path, header: dict[str, object]) -> None:
    """Leave beside a whole file what a kill between its taking place and the removal of its rows leaves."""
    path.write_bytes(b"whole")
    with Partial(partial_path(path), header, 3) as partial:
        partial.append(ORDER[:7], ROWS[:7])
    path.with_name("f.h5.4242.tmp").write_bytes(b"copy")


@pytest.mark.parametrize("said", [HEADER, {**HEADER, "precision": "bf16"}])
def test_what_is_left_beside_a_whole_file_is_swept(tmp_path: Path, said: dict[str, object]) -> None:
    path = tmp_path / "f.h5"
    left_behind(path, said)
    sweep(path, {**HEADER, "grid": (1, 2.5)})
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("f.h5", b"whole")]


@pytest.mark.parametrize("said", [{"slide": "b", "grid": [1, 2.5]}, {"slide": "a"}])
def test_rows_of_other_settings_are_never_swept(tmp_path: Path, said: dict[str, object]) -> None:
    path = tmp_path / "f.h5"
    left_behind(path, said)
    before = partial_path(path).read_bytes()
    sweep(path, HEADER)
    assert partial_path(path).read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["f.h5", "f.h5.partial"]


@pytest.mark.parametrize(("content", "goes"), [(b"", True), (b'{"gri', True), (b"hello", False), (b"[1]\n", False)])
def test_rows_that_were_never_begun_are_swept(tmp_path: Path, content: bytes, goes: bool) -> None:
    rows = partial_path(tmp_path / "f.h5")
    rows.write_bytes(content)
    sweep(tmp_path / "f.h5", HEADER)
    assert rows.exists() != goes


def test_nothing_is_swept_from_a_file_that_another_process_holds(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    left_behind(path, HEADER)
    path.with_name("f.h5.lock").write_text("4242\nelsewhere\n")
    before = sorted(tmp_path.iterdir())
    sweep(path, HEADER)
    assert sorted(tmp_path.iterdir()) == before


def test_where_nothing_is_left_nothing_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    path.write_bytes(b"whole")
    before = tmp_path.stat().st_mtime_ns
    sweep(path, HEADER)
    sweep(tmp_path / "no such folder" / "f.h5", HEADER)
    assert tmp_path.stat().st_mtime_ns == before
    assert [file.name for file in tmp_path.iterdir()] == ["f.h5"]


def test_claim_from_another_computer_holds(tmp_path: Path) -> None:
    path = tmp_path / "f.h5"
    path.with_name("f.h5.lock").write_text("4242\nelsewhere\n")
    with pytest.raises(FeaturesError, match=r"process 4242 on elsewhere.*delete"), claim(path):
        pass


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FeaturesError, match="Choose another folder"), claim(tmp_path / "file" / "f.h5"):
        pass
