from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest

from napari_mil.export import Display, export_patches, write_patch_table
from napari_mil.progress import finish


def rows_of(path):
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_every_patch_by_hand(scene, tmp_path, name):
    display = Display("contribution", class_index=1, threshold=0.0)
    rows = rows_of(write_patch_table(tmp_path / name, scene.amap, display=display, tags={4: ("mitosis", "odd")}))
    assert [int(row["patch"]) for row in rows] == [0, 1, 2, 3, 4]
    assert [(int(row["y"]), int(row["x"])) for row in rows] == [tuple(rc) for rc in scene.amap.grid.l0_rc.tolist()]
    assert [float(row["y_um"]) for row in rows] == [rc[0] * 0.5 for rc in scene.amap.grid.l0_rc.tolist()]
    np.testing.assert_array_equal([np.float32(row["attention"]) for row in rows], scene.amap.scores["attention"].raw)
    assert [float(row["contribution: tumour"]) for row in rows] == [-2, -1, 0, 1, 2]
    assert [float(row["contribution: normal"]) for row in rows] == [0] * 5
    assert [float(row["score_shown"]) for row in rows] == [-2, -1, 0, 1, 2]
    assert [int(row["rank"]) for row in rows] == [5, 4, 3, 2, 1]
    assert [float(row["percentile"]) for row in rows] == [20, 40, 60, 80, 100]
    assert [int(row["shown"]) for row in rows] == [0, 0, 1, 1, 1]
    assert [row["tags"] for row in rows] == ["", "", "", "", "mitosis; odd"]
    assert {float(row["width"]) for row in rows} == {100.5}


def test_inverted_and_unknown(scene, map_of, tmp_path):
    amap = map_of(scene.slide, [(0, 0), (200, 0), (400, 0)], loo=([np.nan, 1, 2], "leave_one_out"))
    rows = rows_of(write_patch_table(tmp_path / "t.csv", amap, display=Display(threshold=2, inverted=True)))
    assert [row["shown"] for row in rows] == ["0", "1", "0"]
    assert [row["rank"] for row in rows] == ["", "2", "1"]
    assert (rows[0]["loo"], rows[0]["score_shown"], rows[0]["percentile"]) == ("", "", "")


def test_equal_scores_share_the_best_place(scene, map_of, tmp_path):
    amap = map_of(scene.slide, [(0, 0), (200, 0), (400, 0)], attention=([0.4, 0.4, 0.2], "attention"))
    assert [row["rank"] for row in rows_of(write_patch_table(tmp_path / "t.csv", amap))] == ["1", "1", "3"]


def test_both_tables_agree(scene, tmp_path):
    whole = rows_of(write_patch_table(tmp_path / "t.csv", scene.amap))
    done = finish(export_patches(scene.slide, scene.amap, tmp_path / "p", k=2))
    with done.table.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            [same] = [one for one in whole if (one["x"], one["y"]) == (row["x"], row["y"])]
            for name in ("width", "x_um", "y_um", "rank", "score_shown", "percentile", "tissue_fraction"):
                assert same[name] == row[name]
            assert same["attention"] == row["score"]
