from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict

import h5py
import numpy as np
import pytest

from napari_mil.errors import MapError
from napari_mil.maps import read_map


@pytest.fixture
def amap(make_map, lattice):
    rng = np.random.default_rng(0)
    cells = [(r, c) for r in range(6) for c in range(5)]
    grid = lattice(cells, 197.785, tissue=rng.random(30))
    return make_map(
        grid,
        attention=(rng.dirichlet(np.ones(30)), "attention"),
        contribution=(rng.standard_normal((2, 30)), "contribution"),
        leave_one_out=(np.full((2, 30), np.nan), "leave_one_out"),
    )


@pytest.fixture
def saved(amap, tmp_path):
    path = tmp_path / "attention.h5"
    amap.save(path)
    return path


def test_round_trip_is_exact(amap, saved):
    back = read_map(saved)
    assert list(back.scores) == list(amap.scores)
    for name, score in amap.scores.items():
        np.testing.assert_array_equal(back.scores[name].raw, score.raw)
        assert back.scores[name].kind == score.kind
        assert back.scores[name].raw.dtype == np.float32
    np.testing.assert_array_equal(back.grid.l0_rc, amap.grid.l0_rc)
    np.testing.assert_array_equal(back.grid.tissue_fraction, amap.grid.tissue_fraction)
    for name in ("tile_l0", "stride_l0", "tile_px", "mpp"):
        assert getattr(back.grid, name) == getattr(amap.grid, name)
    np.testing.assert_array_equal(back.prediction.logits, amap.prediction.logits)
    np.testing.assert_array_equal(back.prediction.probabilities, amap.prediction.probabilities)
    for name in ("slide", "encoder", "model", "provenance"):
        assert getattr(back, name) == getattr(amap, name)
    assert back.default_score == amap.default_score
    assert back.prediction.class_names == amap.prediction.class_names


def test_a_slide_without_scale_comes_back_without_one(make_map, tmp_path):
    from dataclasses import replace

    amap = make_map(attention=([0.5, 0.5], "attention"))
    amap = replace(amap, slide=replace(amap.slide, mpp=None))
    amap.save(tmp_path / "m.h5")
    assert read_map(tmp_path / "m.h5").slide == amap.slide


def test_other_tools_find_coords_as_xy_and_one_json_attribute(amap, saved):
    with h5py.File(saved) as file:
        np.testing.assert_array_equal(file["coords"][:], amap.grid.l0_rc[:, ::-1])
        assert file["coords"].dtype == np.int64
        assert list(file.attrs) == ["napari_mil"]
        record = json.loads(file.attrs["napari_mil"])
    assert record["model"]["title"] == "Demo: tumour"
    assert record["provenance"] == asdict(amap.provenance)


def test_saving_again_replaces_and_leaves_nothing_beside(amap, saved):
    amap.save(saved)
    assert [p.name for p in saved.parent.iterdir()] == ["attention.h5"]
    assert len(read_map(saved)) == 30
    umask = os.umask(0)
    os.umask(umask)
    assert saved.stat().st_mode & 0o777 == 0o666 & ~umask


def test_no_folder_is_said_in_words(amap, tmp_path):
    with pytest.raises(MapError, match=r"Cannot write .*No such file"):
        amap.save(tmp_path / "nowhere" / "m.h5")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
@pytest.mark.parametrize("room", [0, 1000, 5000])
def test_a_full_disk_is_said_in_words_and_leaves_the_old_file(saved, room):
    """In a process of its own, which must end by itself: on a full disk HDF5 is known to take it down."""
    code = (
        "import resource, signal, sys; from napari_mil.errors import MapError; from napari_mil.maps import read_map\n"
        "amap = read_map(sys.argv[1])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try: amap.save(sys.argv[1])\n"
        "except MapError as err: print(err)\n"
    )
    before = saved.read_bytes()
    assert len(before) > room
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved), str(room)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"Cannot write .*choose another folder", done.stdout)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["attention.h5"]


def test_missing_file(tmp_path):
    with pytest.raises(MapError, match="no attention map"):
        read_map(tmp_path / "m.h5")


@pytest.mark.parametrize("content", [b"", b"not hdf5 at all"])
def test_another_kind_of_file(tmp_path, content):
    path = tmp_path / "m.h5"
    path.write_bytes(content)
    with pytest.raises(MapError, match="damaged or of another kind"):
        read_map(path)


def test_truncated_file(saved):
    data = saved.read_bytes()
    saved.write_bytes(data[: len(data) // 2])
    with pytest.raises(MapError):
        read_map(saved)


def test_foreign_hdf5(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["coords"] = np.zeros((3, 2))
    with pytest.raises(MapError, match="not an attention map"):
        read_map(tmp_path / "m.h5")


def edited(saved, tmp_path, edit):
    path = tmp_path / "edited.h5"
    shutil.copy(saved, path)
    with h5py.File(path, "a") as file:
        record = json.loads(file.attrs["napari_mil"])
        edit(file, record)
        file.attrs["napari_mil"] = json.dumps(record)
    return path


def drop_coords(file, record):
    del file["coords"]


def drop_score(file, record):
    del file["scores/attention"]


def shorten_score(file, record):
    del file["scores/attention"]
    file["scores/attention"] = np.ones(7, np.float32)


def drop_model(file, record):
    del record["model"]


def other_kind(file, record):
    record["kinds"]["attention"] = "magic"


def no_default(file, record):
    record["default_score"] = "gone"


@pytest.mark.parametrize("fault", [drop_coords, drop_score, shorten_score, drop_model, other_kind, no_default])
def test_faults_are_said_in_words(saved, tmp_path, fault):
    with pytest.raises(MapError, match=r"incomplete.*Run the model on the slide again"):
        read_map(edited(saved, tmp_path, fault))


def test_a_newer_version_asks_for_an_update(saved, tmp_path):
    def newer(file, record):
        record["format_version"] = 99

    with pytest.raises(MapError, match="newer napari-mil"):
        read_map(edited(saved, tmp_path, newer))
