"""Given patches instead of the top ones, and what people said of them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from napari_mil.errors import ExportError
from napari_mil.export import export_patches
from napari_mil.progress import finish


def rows_of(table):
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_given_patches_highest_first_once_each_with_their_tags(scene, tmp_path):
    tags = {1: ("mitosis", "höchst, sicher"), 4: ()}
    got = finish(export_patches(scene.slide, scene.amap, tmp_path / "p", k=1, patches=[3, 1, 4, 1], tags=tags))
    rows = rows_of(got.table)
    assert [(int(row["y"]), int(row["x"])) for row in rows] == [tuple(scene.amap.grid.l0_rc[i]) for i in (1, 3, 4)]
    assert [int(row["rank"]) for row in rows] == [1, 2, 3]
    assert [row["tags"] for row in rows] == ["mitosis; höchst, sicher", "", ""]
    assert [float(row["percentile"]) for row in rows] == [80.0, 40.0, 20.0]
    for file, patch in zip(got.files, (1, 3, 4), strict=True):
        row, col = scene.amap.grid.l0_rc[patch]
        expected = scene.slide.read_patch(int(row), int(col), scene.amap.grid.tile_l0, scene.amap.grid.tile_px)
        assert np.array_equal(np.asarray(Image.open(file)), expected)


def test_no_patches_and_patches_that_are_not_there_are_refused(scene, tmp_path):
    with pytest.raises(ExportError, match="Tick those to save"):
        finish(export_patches(scene.slide, scene.amap, tmp_path / "p", patches=[]))
    for wrong in ([-1], [0, 5]):
        with pytest.raises(ValueError, match="patches must be 0 to 4"):
            finish(export_patches(scene.slide, scene.amap, tmp_path / "p", patches=wrong))
    assert not (tmp_path / "p").exists()
