"""Damaged files, bombs and pulled drives: what is whole is shown, the rest is said once, nothing crashes or hangs."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from benchmarks._made import bombs, made_slides
from benchmarks.faults import SURVIVED, Guard, survey
from napari_mil.errors import SlideError
from napari_mil.slides import UnreadableRegionError, open_slide

MUTATIONS = 12

EXPECTED = {
    "two billion pixels a side.tif": ("refused", "damaged or cut short"),
    "a million pixels a side.tif": ("refused", "damaged or cut short"),
    "one tile of 60000.tif": ("refused", "tiles too large"),
    "picture larger than its tile.tif": ("damaged", "more than it can hold"),
    "tile that inflates a thousandfold.tif": ("damaged", "cannot be decoded"),
    "tiles of no size.tif": ("refused", "damaged or cut short"),
    "directory that follows itself.tif": ("read", "512 x 512 px"),
    "claims of 65535 tags.tif": ("refused", "damaged, cut short"),
    "two billion pixels a side.png": ("refused", "more than can be shown"),
    "sixty thousand a side.png": ("refused", "more than its bytes can hold"),
    "sixty thousand a side.jpg": ("refused", "more than its bytes can hold"),
    "empty.svs": ("refused", "is empty (0 bytes)"),
    "300 bytes.svs": ("damaged", "cannot be decoded"),
    "text.tif": ("refused", "damaged, cut short"),
    "laughs.ome.tif": ("read", "64 x 64 px"),
    "a trillion pixels.zarr": ("refused", ""),
    "folder.svs": ("refused", "is a folder without"),
    "round.svs": ("refused", "does not exist"),
    "pipe.svs": ("refused", "is no file"),
    "not there.svs": ("refused", "does not exist"),
}


def test_bombs_and_traps_are_refused_in_a_sentence(tmp_path):
    guard = Guard()
    try:
        found = {path.name: guard.look(path) for path in bombs(tmp_path)}
    finally:
        guard.close()
    assert {name: outcome.kind for name, outcome in found.items()} == {
        name: kind for name, (kind, _) in EXPECTED.items()
    }
    for name, (kind, says) in EXPECTED.items():
        assert says in found[name].says
        assert kind == "read" or name in found[name].says  # which file it is
        assert "\n" not in found[name].says


@pytest.mark.parametrize("name", ["cmu-1-small-region.svs", "tcga-jp2k-no-mpp.svs", "cmu-1-dicom"])
def test_mutations_of_real_slides_are_survived(shared_data, name):
    found = survey(shared_data / "slides" / name, MUTATIONS)
    assert len(found) == MUTATIONS
    assert {key: outcome for key, outcome in found.items() if outcome.kind not in SURVIVED} == {}
    # some of so many must have done harm, or nothing was damaged
    assert any(outcome.kind != "read" for outcome in found.values())


def test_mutations_of_every_other_way_of_storing_are_survived(tmp_path):
    for path in made_slides(tmp_path):
        found = survey(path, MUTATIONS // 2)
        assert {key: outcome for key, outcome in found.items() if outcome.kind not in SURVIVED} == {}, path.name


class Harm:
    """What calls a function where it arrives."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


def test_the_guard_tells_a_crash_a_hang_and_a_glutton(monkeypatch):
    """What finds faults must itself be able to fail."""
    monkeypatch.setattr("benchmarks.faults.PATIENCE_S", 3.0)
    harms = Harm(os.abort), Harm(time.sleep, 60), Harm(np.ones, 2**32, np.uint8), Harm(int, "no number")
    guard = Guard()
    try:
        kinds = [guard.look(harm).kind for harm in harms]
    finally:
        guard.close()
    assert kinds == ["crash", "hang", "memory", "error"]


def test_a_slide_cut_short_shows_what_is_there(tmp_path):
    """Its directories lie before the cut."""
    pixels = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
    path = tmp_path / "cut.ome.tif"
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", compression="deflate", metadata={"axes": "YXS"})
    with tifffile.TiffFile(path) as tiff:
        middle = tiff.pages[0].dataoffsets[8]
    with path.open("r+b") as file:
        file.truncate(middle)
    with open_slide(path) as slide:
        assert slide.notes == ("the file is cut short: 8 of 16 pieces of its finest level are missing",)
        np.testing.assert_array_equal(slide.read(0, 0, 0, 512, 1024), pixels[:512])
        with pytest.raises(UnreadableRegionError, match="the file ends within piece 9"):
            slide.read(0, 700, 300, 256, 256)
        level = slide.levels()[0]
        shown = level[:, :]
        np.testing.assert_array_equal(shown[:512], pixels[:512])
        assert set(np.unique(shown[512:])) == {150, 200}  # the stripes that stand for what is missing
        assert len(level.faults) >= 1


def test_a_real_slide_cut_short_keeps_its_scale_and_what_is_there(shared_data, tmp_path):
    """OpenSlide no longer takes it for a slide: label, overview and the ends of directories are gone."""
    whole = shared_data / "slides" / "cmu-1-small-region.svs"
    path = tmp_path / "cut.svs"
    path.write_bytes(whole.read_bytes()[:1_500_000])
    with open_slide(path) as slide, open_slide(whole) as truth:
        assert slide.mpp == truth.mpp
        assert slide.shape == truth.shape
        np.testing.assert_array_equal(slide.read(0, 0, 0, *slide.shape), truth.read(0, 0, 0, *slide.shape))


@pytest.mark.parametrize("name", ["cmu-1-small-region.svs", "tcga-jp2k-no-mpp.svs"])
def test_a_damaged_place_is_striped_counted_and_logged_once(shared_data, tmp_path, name, caplog):
    path = tmp_path / name
    shutil.copy(shared_data / "slides" / name, path)
    path.chmod(0o644)
    with open_slide(shared_data / "slides" / name) as sound:
        truth = sound.levels()[0][:, :]
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        bad = [0, 1, page.dataoffsets.__len__() - 1]
        places = [(page.dataoffsets[k], page.databytecounts[k]) for k in bad]
    with path.open("r+b") as file:
        for offset, size in places:
            file.seek(offset)
            file.write(b"\x55" * size)
    with open_slide(path) as slide:
        level = slide.levels()[0]
        shown = level[:, :]
        differs = (shown != truth).any(axis=2)
        assert 0 < differs.mean() < 0.6
        assert set(np.unique(shown[differs])) <= {150, 200}
        assert len(level.faults) >= 1
        assert len([record for record in caplog.records if record.name.startswith("napari_mil")]) == 1
        again = slide.levels()[0][:, :]
        np.testing.assert_array_equal(again, shown)
        assert len([record for record in caplog.records if record.name.startswith("napari_mil")]) == 1


@pytest.mark.parametrize("kind", ["direct", "openslide"])
def test_a_drive_that_goes_away_and_comes_back(shared_data, tmp_path, monkeypatch, kind):
    """Hidden behind another name, then back: after a rest the very pixels are read again."""
    source = shared_data / "slides" / ("cmu-1-small-region.svs" if kind == "direct" else "cmu-1-dicom")
    place, away = tmp_path / source.name, tmp_path / "away"
    (shutil.copytree if source.is_dir() else shutil.copy)(source, place)
    with open_slide(place) as slide:
        assert (slide.reader == "OpenSlide") == (kind == "openslide")
        truth = slide.read(0, 500, 500, 300, 300)
        slide.rest()
        place.rename(away)
        with pytest.raises(SlideError, match="Check that its drive is connected"):
            slide.read(0, 500, 500, 300, 300)
        away.rename(place)
        np.testing.assert_array_equal(slide.read(0, 500, 500, 300, 300), truth)


def test_read_only_folder_and_permission_denied(shared_data, tmp_path, monkeypatch):
    """Nothing is written beside a slide; a file that may not be read says so. Root may do all: the refusal is made."""
    folder = tmp_path / "read only"
    folder.mkdir()
    path = folder / "slide.svs"
    shutil.copy(shared_data / "slides" / "cmu-1-small-region.svs", path)
    folder.chmod(0o555)
    before = sorted(folder.iterdir())
    with open_slide(path) as slide:
        slide.thumbnail(100)
    assert sorted(folder.iterdir()) == before
    folder.chmod(0o755)
    real = os.open

    def refuse(name, *args, **kwargs):
        if str(name) == str(path):
            raise PermissionError(13, "Permission denied", str(name))
        return real(name, *args, **kwargs)

    with open_slide(path) as slide:
        slide.rest()
        monkeypatch.setattr("os.open", refuse)
        with pytest.raises(SlideError, match="Permission denied"):
            slide.read(0, 0, 0, 10, 10)
        monkeypatch.setattr("os.open", real)
        assert slide.read(0, 0, 0, 10, 10).shape == (10, 10, 3)


@pytest.mark.parametrize("name", ["größe ☃ 切片.svs", "a" * 200 + ".svs", "percent %20 # ? & ' \" $HOME.svs"])
def test_odd_names_open(shared_data, tmp_path, name):
    deep = tmp_path
    for part in ["f" * 200] * 3:
        deep /= part
    deep.mkdir(parents=True)
    shutil.copy(shared_data / "slides" / "cmu-1-small-region.svs", deep / name)
    with open_slide(deep / name) as slide:
        assert slide.reader == "direct decoding"
        assert slide.name == Path(name).stem
        assert slide.read(0, 0, 0, 16, 16).shape == (16, 16, 3)
