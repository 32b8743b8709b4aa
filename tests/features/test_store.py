"""The feature file: exact round trips, TRIDENT's layout, and faults told in a sentence."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_mil.errors import FeaturesError
from napari_mil.features import EncoderInfo, Features, read_features, write_features
from napari_mil.slides import SlideRef
from napari_mil.tiling import TileGrid


def same(a: Features, b: Features) -> bool:
    grids = [
        np.array_equal(a.grid.l0_rc, b.grid.l0_rc),
        np.array_equal(a.grid.tissue_fraction, b.grid.tissue_fraction, equal_nan=True),
        all(getattr(a.grid, n) == getattr(b.grid, n) for n in ("tile_l0", "stride_l0", "tile_px", "mpp")),
    ]
    return all(grids) and np.array_equal(a.values, b.values) and (a.encoder, a.slide) == (b.encoder, b.slide)


positive = st.floats(1e-3, 1e6, allow_subnormal=False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(0, 5),
    dim=st.integers(1, 4),
    tile_l0=positive,
    stride_l0=positive,
    mpp=positive,
    slide_mpp=st.none() | st.tuples(positive, positive),
    name=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
)
def test_round_trip_is_exact(
    tmp_path: Path,
    n: int,
    dim: int,
    tile_l0: float,
    stride_l0: float,
    mpp: float,
    slide_mpp: tuple[float, float] | None,
    name: str,
) -> None:
    rng = np.random.default_rng(n)
    fraction = np.where(rng.random(n) < 0.3, np.nan, rng.random(n)).astype(np.float32)
    grid = TileGrid(rng.integers(0, 2**40, (n, 2)), tile_l0, stride_l0, 224, mpp, fraction)
    info = EncoderInfo(name, "1.2", "00ff", dim, 224, mpp)
    values = rng.standard_normal((n, dim)).astype(np.float32)
    features = Features(values, grid, info, SlideRef(f"/a/{name}.svs", "q", slide_mpp, (2**33, 7)))
    write_features(tmp_path / "f.h5", features)
    assert same(read_features(tmp_path / "f.h5"), features)
    assert [p.name for p in tmp_path.iterdir()] == ["f.h5"]


def test_layout_is_tridents(tmp_path: Path, bag: Features) -> None:
    path = tmp_path / "new" / "f.h5"
    write_features(path, bag)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["coords"][()], bag.grid.l0_rc[:, ::-1])
        assert file["coords"].dtype == np.int64
        assert file["features"].dtype == np.float32
        attributes = dict(file["coords"].attrs)
        assert attributes == {
            "patch_size": 32,
            "patch_size_level0": 34,
            "level0_magnification": 20,
            "target_magnification": 19,
            "overlap": 0,
            "name": "ß x",
            "savetodir": str(path.parent),
            "level0_width": 1600,
            "level0_height": 1200,
        }
        assert dict(file["features"].attrs) == {"name": "ß x", "savetodir": str(path.parent), "encoder": "quarters"}
        record = json.loads(file.attrs["napari_mil"])
    assert record["format"] == 1
    assert record["grid"]["tile_l0"] == bag.grid.tile_l0
    assert record["slide"]["mpp"] == [0.5, 0.49999999999999994]
    assert record["versions"]["torch"]


@pytest.mark.parametrize("height", ["None", np.inf])
def test_file_of_trident(tmp_path: Path, height: object) -> None:
    path = tmp_path / "slide1.h5"
    with h5py.File(path, "w") as file:
        file["features"] = np.arange(6, dtype=np.float16).reshape(2, 3)
        file["features"].attrs["encoder"] = "uni_v1"
        file["coords"] = np.array([[100, 200], [612, 200]])
        file["coords"].attrs.update(
            patch_size=256, patch_size_level0=512, level0_magnification=40, target_magnification=20, overlap=64
        )
        file["coords"].attrs.update(name="slide1", level0_width=5000, level0_height=height)
    features = read_features(path)
    np.testing.assert_array_equal(features.values, np.arange(6, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(features.grid.l0_rc, [[200, 100], [200, 612]])
    grid = features.grid
    assert (grid.tile_l0, grid.stride_l0, grid.tile_px, grid.mpp) == (512, 384, 256, 0.5)
    assert np.isnan(grid.tissue_fraction).all()
    assert features.encoder == EncoderInfo("uni_v1", "", "", 3, 256, 0.5)
    assert features.slide == SlideRef("slide1", "", None, (712, 5000))


def edit(path: Path, change: str) -> None:
    with h5py.File(path, "r+") as file:
        if change == "coords":
            del file["coords"]
        elif change == "features":
            del file["features"]
        elif change == "foreign":
            del file.attrs["napari_mil"], file["coords"].attrs["patch_size_level0"]
        elif change == "fewer":
            del file["coords"]
            file["coords"] = np.zeros((1, 2), np.int64)
        elif change == "json":
            file.attrs["napari_mil"] = "{"
        elif change == "newer":
            file.attrs["napari_mil"] = json.dumps({"format": 99})
        elif change == "lacking":
            file.attrs["napari_mil"] = json.dumps({"format": 1})
        elif change == "fraction":
            del file["tissue_fraction"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("coords", "has no dataset 'coords'"),
        ("features", "has no dataset 'features'"),
        ("foreign", "does not say how large its patches are"),
        ("fewer", "cannot be matched"),
        ("json", "contradicts itself"),
        ("newer", "Update napari-mil"),
        ("lacking", "lacks something"),
        ("fraction", "lacks something"),
    ],
)
def test_faulty_contents(tmp_path: Path, bag: Features, change: str, message: str) -> None:
    path = tmp_path / "f.h5"
    write_features(path, bag)
    edit(path, change)
    with pytest.raises(FeaturesError, match=message) as caught:
        read_features(path)
    assert "\n" not in str(caught.value)


def test_faulty_files(tmp_path: Path, bag: Features) -> None:
    path = tmp_path / "f.h5"
    with pytest.raises(FeaturesError, match="There is no feature file"):
        read_features(path)
    write_features(path, bag)
    whole = path.read_bytes()
    for part in (b"", b"hello", whole[: len(whole) // 2]):
        path.write_bytes(part)
        with pytest.raises(FeaturesError, match="damaged or cut short"):
            read_features(path)


def test_failed_write_leaves_what_was_there(tmp_path: Path, bag: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.h5"
    write_features(path, bag)

    def full(self: object, *args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(FeaturesError, match=r"No space left.*Free some space"):
        write_features(path, dataclasses.replace(bag, values=bag.values * 0))
    assert [p.name for p in tmp_path.iterdir()] == ["f.h5"]
    assert same(read_features(path), bag)


def test_folder_in_the_way(tmp_path: Path, bag: Features) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FeaturesError, match="cannot be written"):
        write_features(tmp_path / "file" / "f.h5", bag)


def test_a_dicom_folder_keeps_its_whole_name(tmp_path: Path, bag: Features) -> None:
    folder = tmp_path / "1.2.840.10008.1"
    folder.mkdir()
    write_features(tmp_path / "f.h5", dataclasses.replace(bag, slide=dataclasses.replace(bag.slide, path=str(folder))))
    with h5py.File(tmp_path / "f.h5") as file:
        assert file["coords"].attrs["name"] == file["features"].attrs["name"] == "1.2.840.10008.1"


def test_a_disk_that_cannot_reserve_is_asked_for_its_room(
    tmp_path: Path, bag: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    write_features(tmp_path / "f.h5", bag)
    assert same(read_features(tmp_path / "f.h5"), bag)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(FeaturesError, match="No space left"):
        write_features(tmp_path / "g.h5", bag)
    assert [p.name for p in tmp_path.iterdir()] == ["f.h5"]
