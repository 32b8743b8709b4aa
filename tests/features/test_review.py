"""Faults that once got through: stale bags, damaged regions, full disks, malformed files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

import napari_mil as nm
from napari_mil.errors import FeaturesError, SlideError
from napari_mil.features._partial import partial_path
from napari_mil.progress import finish
from napari_mil.slides import Slide, best_level
from napari_mil.tiling import TileGrid


def bag(slide: Slide, out: Path, **tiling: object) -> object:
    encoder = nm.load_encoder("colour-texture")
    grid = nm.tile(slide, nm.find_tissue(slide), tile_px=64, mpp=1.0, **tiling)
    return nm.extract(slide, grid, encoder, device="cpu", out=out)


def test_another_grid_is_never_answered_with_the_old_bag(small_slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.h5"
    with nm.open_slide(small_slide) as slide:
        first = bag(slide, out)
        fewer = bag(slide, out, min_tissue=0.9)
        denser = bag(slide, out, stride_px=48)
    assert len(fewer) < len(first) < len(denser)
    assert nm.read_features(out).grid.stride_l0 == denser.grid.stride_l0


def test_what_lies_before_a_damaged_place_is_kept(
    small_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "f.h5"
    read = Slide.read

    def damaged(self: Slide, level: int, row: int, col: int, height: int, *rest: object) -> np.ndarray:
        if (row + height) * self.level_downsamples[level] > 700:
            raise SlideError("cannot be read there")
        return read(self, level, row, col, height, *rest)

    with nm.open_slide(small_slide) as slide:
        encoder = nm.load_encoder("colour-texture")
        grid = nm.tile(slide, nm.find_tissue(slide), tile_px=64, mpp=1.0)
        monkeypatch.setattr(Slide, "read", damaged)
        with pytest.raises(SlideError, match="cannot be read there"):
            nm.extract(slide, grid, encoder, device="cpu", out=out, block_px=64, batch_size=4, threads=1)
        assert partial_path(out).is_file()
        monkeypatch.undo()
        steps = nm.iter_extract(slide, grid, encoder, device="cpu", out=out, block_px=64)
        first = next(steps)
        steps.close()
    sound = int((grid.l0_rc[:, 0] + 128 <= 600).sum())
    assert sound > 0
    assert first.done >= sound  # batches before the one that fails


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
@pytest.mark.parametrize("room", [4096, 40_000, 200_000])
def test_no_room_for_the_finished_file_is_said_and_the_process_lives(
    small_slide: Path, tmp_path: Path, room: int
) -> None:
    out = tmp_path / "f.h5"
    with nm.open_slide(small_slide) as slide:
        bag(slide, out)
    code = (
        "import resource, sys, napari_mil as nm; from napari_mil.errors import FeaturesError\n"
        "features = nm.read_features(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"
        "try: nm.write_features(sys.argv[1], features)\n"
        "except FeaturesError as err: print(err)\n"
    )
    before = out.read_bytes()
    command = [sys.executable, "-c", code, str(out), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stdout
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["f.h5"]


def test_malformed_files_are_said_in_words(small_slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.h5"
    with nm.open_slide(small_slide) as slide:
        bag(slide, out)
    with h5py.File(out, "r+") as file:
        record = json.loads(file.attrs["napari_mil"])
        file.attrs["napari_mil"] = json.dumps({**record, "slide": {**record["slide"], "mpp": []}})
    with pytest.raises(FeaturesError, match="contradicts itself"):
        nm.read_features(out)
    with h5py.File(out, "r+") as file:
        coords = file["coords"][:, 0]
        del file["coords"]
        file["coords"] = coords
    with pytest.raises(FeaturesError, match="contradicts itself"):
        nm.read_features(out)


def damaged_copy(slide: Path, path: Path, level: int, pieces: list[int]) -> Path:
    """Copy a slide with some tiles of a level overwritten."""
    path.write_bytes(slide.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[level]
        places = [(page.dataoffsets[i], page.databytecounts[i]) for i in pieces]
    with path.open("r+b") as file:
        for offset, size in places:
            file.seek(offset)
            file.write(b"\xff" * size)
    return path


def grid_of(slide: Slide) -> tuple[TileGrid, int]:
    """Return tiles that suit the encoder, and the level that they are read from."""
    grid = nm.tile(slide, nm.find_tissue(slide), tile_px=64, mpp=1.0)
    return grid, best_level(slide, grid.tile_l0 / grid.tile_px)


def test_patches_of_a_damaged_place_are_left_out_and_counted(
    small_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mil.features._patches._LOST_AT_LEAST", 30)  # the slide is small, its tiles are not
    encoder = nm.load_encoder("colour-texture")
    with nm.open_slide(small_slide) as slide:
        grid, level = grid_of(slide)
        whole = nm.extract(slide, grid, encoder, device="cpu")
        down, (tile_h, tile_w) = slide.level_downsamples[level], slide.level_tiles[level]
        across = -(-slide.level_shapes[level][1] // tile_w)
    start = grid.l0_rc / down
    tile = np.array([tile_h, tile_w])

    def touching(place: np.ndarray, margin: int) -> np.ndarray:
        return ((start + 64 + margin > place * tile) & (start - margin < (place + 1) * tile)).all(1)

    # the stored tile that fewest patches lie on
    place = min((start // tile).astype(int), key=lambda at: touching(at, 2).sum())
    broken = damaged_copy(small_slide, tmp_path / "broken.tif", level, [place[0] * across + place[1]])
    out = tmp_path / "f.h5"
    with nm.open_slide(broken) as slide:
        messages = []
        steps = nm.iter_extract(slide, grid, encoder, device="cpu", out=out, threads=2)
        try:
            while True:
                messages.append(next(steps).message)
        except StopIteration as end:
            features = end.value
        # a patch is read with a margin of two pixels, so a neighbour may be lost, too
        kept = np.array([(rc == features.grid.l0_rc).all(1).any() for rc in grid.l0_rc])
        assert not kept[touching(place, 0)].any()
        assert kept[~touching(place, 2)].all()
        assert features.unreadable_tiles == (~kept).sum() > 0
        np.testing.assert_allclose(features.values, whole.values[kept], atol=1e-4)
        assert f"{(~kept).sum():,} of {len(grid):,} patches could not be read" in messages[-1]
        assert nm.read_features(out).unreadable_tiles == (~kept).sum()
        # asked for again, what is there is kept and only the rest is tried
        again = nm.iter_extract(slide, grid, encoder, device="cpu", out=out)
        assert next(again).done == kept.sum()
        once_more = finish(again)
        assert once_more.unreadable_tiles == (~kept).sum()
        np.testing.assert_array_equal(once_more.values, features.values)
    broken.write_bytes(small_slide.read_bytes())  # copied again, as was advised
    with nm.open_slide(broken) as slide:
        if slide.quickhash == features.slide.quickhash:
            mended = nm.extract(slide, grid, encoder, device="cpu", out=out)
            assert mended.unreadable_tiles == 0
            np.testing.assert_array_equal(mended.grid.l0_rc, grid.l0_rc)
            np.testing.assert_array_equal(mended.values[kept], features.values)
            np.testing.assert_allclose(mended.values, whole.values, atol=1e-4)


def test_a_slide_that_has_lost_too_much_is_refused(small_slide: Path, tmp_path: Path) -> None:
    with nm.open_slide(small_slide) as slide:
        grid, level = grid_of(slide)
    with tifffile.TiffFile(small_slide) as tiff:
        count = len(tiff.pages[level].dataoffsets)
    broken = damaged_copy(small_slide, tmp_path / "broken.tif", level, list(range(count)))
    with nm.open_slide(broken) as slide, pytest.raises(SlideError, match="too many to be left out"):
        nm.extract(slide, grid, nm.load_encoder("colour-texture"), device="cpu")


def test_a_slide_that_is_gone_is_not_taken_for_a_damaged_one(small_slide: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone.tif"
    gone.write_bytes(small_slide.read_bytes())
    with nm.open_slide(gone) as slide:
        grid, _ = grid_of(slide)
        slide.rest()
        gone.unlink()
        with pytest.raises(SlideError, match="Check that its drive is connected"):
            nm.extract(slide, grid, nm.load_encoder("colour-texture"), device="cpu")
