from __future__ import annotations

import csv
import errno
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_mil.errors import ExportError, MapError
from napari_mil.export import _patches, export_patches, top_tiles
from napari_mil.progress import finish
from napari_mil.slides import open_slide


def rows_of(table):
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


def test_top_tiles_by_hand_ties_in_raster_order_nan_never():
    raw = np.array([0.2, np.nan, 0.9, 0.2, 0.9], np.float32)
    assert top_tiles(raw, 3).tolist() == [2, 4, 0]
    assert top_tiles(raw, 99).tolist() == [2, 4, 0, 3]


@pytest.mark.parametrize("tile_px", [None, 40, 201])
def test_each_patch_shows_its_cross_in_the_middle(scene, tmp_path, tile_px):
    got = finish(export_patches(scene.slide, scene.amap, tmp_path / "p", tile_px=tile_px))
    assert len(got.files) == 5
    for file, (row, col), corner in zip(got.files, scene.crosses, scene.amap.grid.l0_rc, strict=True):
        image = np.asarray(Image.open(file).convert("L"), float)
        size = 67 if tile_px is None else tile_px
        assert image.shape == (size, size)
        dark = np.clip(200 - image, 0, None)
        ys, xs = np.indices(image.shape)
        l0_per_px = scene.amap.grid.tile_l0 / size
        centre = np.array([(ys * dark).sum(), (xs * dark).sum()]) / dark.sum()
        # centre of patch pixel i lies (i + 1/2) steps from the patch's edge; level-0 pixel centres are whole numbers
        l0_centre = corner + (centre + 0.5) * l0_per_px - 0.5
        assert np.abs(l0_centre - (row, col)).max() < 1


def test_table_by_hand(scene, tmp_path):
    got = finish(export_patches(scene.slide, scene.amap, tmp_path / "p", k=2))
    assert got.table == tmp_path / "p" / "patches.csv"
    first, second = rows_of(got.table)
    y, x = (int(v) for v in scene.amap.grid.l0_rc[0])
    assert first["file"] == f"001_fünf_kreuze_x{x}_y{y}_a0.4.png"
    assert (int(first["rank"]), int(first["x"]), int(first["y"])) == (1, x, y)
    assert float(first["width"]) == 100.5
    assert (float(first["x_um"]), float(first["y_um"])) == (x * 0.5, y * 0.5)
    assert float(first["score"]) == pytest.approx(0.4)
    assert float(first["score_shown"]) == 1.0
    assert float(second["percentile"]) == 80.0
    assert [float(r["contribution"]) for r in (first, second)] == [-2, -1]
    assert float(first["tissue_fraction"]) == 0.5
    assert names_in(tmp_path / "p") == sorted([first["file"], second["file"], "patches.csv"])


def test_another_score_and_class_change_the_order(scene, tmp_path):
    got = finish(export_patches(scene.slide, scene.amap, tmp_path / "p", k=1, score="contribution", class_index=1))
    (row,) = rows_of(got.table)
    assert float(row["score"]) == float(row["score_shown"]) == float(row["contribution"]) == 2
    assert (int(row["y"]), int(row["x"])) == tuple(scene.amap.grid.l0_rc[4])
    with pytest.raises(MapError, match="no score"):
        finish(export_patches(scene.slide, scene.amap, tmp_path / "q", score="gone"))
    assert not (tmp_path / "q").exists()


def test_more_than_there_are_gives_all_and_progress_counts_them(scene, tmp_path):
    progress = list(export_patches(scene.slide, scene.amap, tmp_path / "p", k=1000))
    assert (progress[-1].done, progress[-1].total, progress[-1].unit) == (5, 5, "patches")
    assert len(rows_of(tmp_path / "p" / "patches.csv")) == len(names_in(tmp_path / "p")) - 1 == 5


def test_the_table_may_lie_elsewhere(scene, tmp_path):
    got = finish(export_patches(scene.slide, scene.amap, tmp_path / "p", k=1, table=tmp_path / "patches.csv"))
    assert got.table == tmp_path / "patches.csv"
    assert names_in(tmp_path) == ["p", "patches.csv"]
    (row,) = rows_of(got.table)
    assert (tmp_path / row["file"]) == got.files[0]


def test_a_new_deep_or_an_empty_folder_is_used(scene, tmp_path):
    finish(export_patches(scene.slide, scene.amap, tmp_path / "a" / "b", k=1))
    (tmp_path / "empty").mkdir()
    finish(export_patches(scene.slide, scene.amap, tmp_path / "empty", k=1))
    assert len(names_in(tmp_path / "a" / "b")) == len(names_in(tmp_path / "empty")) == 2


def test_an_earlier_export_is_kept_unless_told_and_replaced_whole(scene, tmp_path):
    out = tmp_path / "p"
    finish(export_patches(scene.slide, scene.amap, out, k=5))
    with pytest.raises(ExportError, match=r"earlier export.*allow overwriting"):
        finish(export_patches(scene.slide, scene.amap, out, k=2))
    assert len(names_in(out)) == 6
    finish(export_patches(scene.slide, scene.amap, out, k=2, overwrite=True))
    assert len(names_in(out)) == 3
    assert names_in(tmp_path) == ["p"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_peoples_files_are_never_touched(scene, tmp_path, overwrite):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ExportError, match=r'holds other files \("letter.txt"\)'):
        finish(export_patches(scene.slide, scene.amap, tmp_path, overwrite=overwrite))
    with pytest.raises(ExportError, match="is a file"):
        finish(export_patches(scene.slide, scene.amap, tmp_path / "letter.txt", overwrite=overwrite))
    assert names_in(tmp_path) == ["letter.txt"]


def test_cancelling_leaves_nothing(scene, tmp_path):
    steps = export_patches(scene.slide, scene.amap, tmp_path / "p")
    next(steps)
    steps.close()
    assert names_in(tmp_path) == []


def test_cancelling_keeps_the_earlier_export(scene, tmp_path):
    before = finish(export_patches(scene.slide, scene.amap, tmp_path / "p", k=2))
    steps = export_patches(scene.slide, scene.amap, tmp_path / "p", overwrite=True)
    next(steps)
    steps.close()
    assert all(file.is_file() for file in before.files)
    assert names_in(tmp_path) == ["p"]


def test_a_full_disk_is_said_in_words_and_leaves_nothing(scene, tmp_path, monkeypatch):
    real = Image.Image.save
    written = []

    def save(image, path, *args, **kwargs):
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        real(image, path, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(ExportError, match=r"No space left on device\. Free some space"):
        finish(export_patches(scene.slide, scene.amap, tmp_path / "p"))
    assert names_in(tmp_path) == []


def test_a_disk_too_full_for_a_table_elsewhere_leaves_no_pictures_without_one(scene, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_patches, "_write_table", full)
    with pytest.raises(ExportError, match="No space left"):
        finish(export_patches(scene.slide, scene.amap, tmp_path / "p", k=1, table=tmp_path / "patches.csv"))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_swap_keeps_the_earlier_export(scene, tmp_path, monkeypatch):
    before = finish(export_patches(scene.slide, scene.amap, tmp_path / "p", k=2))
    real = Path.rename

    def rename(path, target):
        if path.name == "new":
            raise OSError(errno.EACCES, "Permission denied")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(ExportError, match="Permission denied"):
        finish(export_patches(scene.slide, scene.amap, tmp_path / "p", overwrite=True))
    assert all(file.is_file() for file in before.files)
    assert names_in(tmp_path) == ["p"]


def test_what_a_desktop_leaves_in_a_folder_does_not_count(scene, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / ".DS_Store").write_bytes(b"x")
    finish(export_patches(scene.slide, scene.amap, tmp_path / "p", k=1))
    assert len(names_in(tmp_path / "p")) == 2


def test_k_below_one_is_a_programmers_error(scene, tmp_path):
    with pytest.raises(ValueError, match="k must be"):
        finish(export_patches(scene.slide, scene.amap, tmp_path / "p", k=0))


def test_unknown_numbers_are_empty_cells(scene, map_of, tmp_path):
    from dataclasses import replace

    amap = map_of(scene.slide, [(0, 0), (200, 200)], attention=([0.9, 0.1], "attention"))
    grid = replace(amap.grid, tissue_fraction=np.full(2, np.nan, np.float32))
    got = finish(export_patches(scene.slide, replace(amap, grid=grid), tmp_path / "p", k=1))
    (row,) = rows_of(got.table)
    assert (row["contribution"], row["tissue_fraction"]) == ("", "")
    assert re.fullmatch(r"001_.*_a0\.9\.png", row["file"])


def test_patches_keep_stored_colours_and_carry_the_slides_profile(profiled_slide, scanner_profile, map_of, tmp_path):
    with open_slide(profiled_slide) as slide:
        amap = map_of(slide, [(300, 400)], tile=128.0, attention=([1.0], "attention"))
        finish(export_patches(slide, amap, tmp_path / "out", k=1, tile_px=128))
        (file,) = (tmp_path / "out").glob("*.png")
        with Image.open(file) as picture:
            assert picture.info["icc_profile"] == scanner_profile
            np.testing.assert_array_equal(np.asarray(picture), slide.read_patch(300, 400, 128.0, 128))


@pytest.mark.parametrize(("mpp", "context", "edge"), [(0.5, 1, 100), (1.0, 1, 50), (0.25, 1, 201), (0.5, 3, 302)])
def test_pictures_at_any_scale_keep_the_cross_in_the_middle(scene, tmp_path, mpp, context, edge):
    got = finish(export_patches(scene.slide, scene.amap, tmp_path / "p", mpp=mpp, context=context))
    for file, row, (y, x) in zip(got.files, rows_of(got.table), scene.crosses, strict=True):
        image = np.asarray(Image.open(file).convert("L"), float)
        assert image.shape == (edge, edge)
        assert float(row["picture_mpp"]) == pytest.approx(mpp, rel=0.01)
        assert float(row["context"]) == context
        step = 100.5 * context / edge
        margin = edge // 2 - 12
        dark = np.clip(200 - image, 0, None)
        dark[:margin], dark[-margin:], dark[:, :margin], dark[:, -margin:] = 0, 0, 0, 0  # other crosses
        ys, xs = np.indices(image.shape)
        centre = np.array([(ys * dark).sum(), (xs * dark).sum()]) / dark.sum()
        top_left = np.array([int(row["y"]), int(row["x"])]) - 100.5 * (context - 1) / 2
        assert np.abs(top_left + (centre + 0.5) * step - 0.5 - (y, x)).max() < 1


def test_jpeg_is_near_and_replaced_by_a_later_export(scene, tmp_path):
    png = finish(export_patches(scene.slide, scene.amap, tmp_path / "a", k=1))
    jpeg = finish(export_patches(scene.slide, scene.amap, tmp_path / "b", k=1, image_format="jpeg"))
    [exact, near] = (np.asarray(Image.open(done.files[0]), float) for done in (png, jpeg))
    assert jpeg.files[0].suffix == ".jpg"
    assert 0 < np.abs(exact - near).mean() < 4
    finish(export_patches(scene.slide, scene.amap, tmp_path / "b", k=1, overwrite=True))
    assert {path.suffix for path in (tmp_path / "b").iterdir()} == {".png", ".csv"}


def test_a_field_beyond_the_slides_edge_is_background(scene, map_of, tmp_path):
    amap = map_of(scene.slide, [(0, 0)], tile=100.0, attention=([1.0], "attention"))
    got = finish(export_patches(scene.slide, amap, tmp_path / "p", context=3, mpp=0.5))
    image = np.asarray(Image.open(got.files[0]))
    assert image.shape == (300, 300, 3)
    assert (image[:90] == image[0, 0]).all()
    np.testing.assert_array_equal(image[110:190, 110:190], scene.slide.read_patch(10, 10, 80, 80))


def test_wrong_sizes_are_refused(scene, tmp_path):
    with pytest.raises(ExportError, match="coarser pixels"):
        finish(export_patches(scene.slide, scene.amap, tmp_path / "p", mpp=0.001))
    for wrong in ({"mpp": 1.0, "tile_px": 5}, {"context": 0.5}, {"mpp": -1.0}):
        with pytest.raises(ValueError, match=r"mpp|context"):
            finish(export_patches(scene.slide, scene.amap, tmp_path / "p", **wrong))
    assert names_in(tmp_path) == []
