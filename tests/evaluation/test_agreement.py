"""Maps held against files of outlines, through the command, one slide and a cohort."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from napari_mil.annotations import Annotation, write_geojson
from napari_mil.features import EncoderInfo
from napari_mil.maps import AttentionMap, MapScore, Prediction, Provenance
from napari_mil.models import ModelCard
from napari_mil.slides import SlideRef
from napari_mil.tiling import TileGrid

SIDE = 8


def map_of(name: str, hot: set[tuple[int, int]]) -> AttentionMap:
    """Return a map of 8 x 8 patches of 1000 px at 0.243 um, with high attention where said."""
    rc = np.stack(np.divmod(np.arange(SIDE**2), SIDE), 1)
    raw = np.array([5.0 if (r, c) in hot else 0.5 + 0.001 * r for r, c in rc.tolist()])
    grid = TileGrid(rc.astype(np.int64) * 1000, 1000.0, 1000.0, 243, 1.0, np.ones(SIDE**2, np.float32))
    signed = np.stack([-raw + 1, raw - 1]).astype(np.float32)
    return AttentionMap(
        {
            "attention": MapScore((raw / raw.sum()).astype(np.float32), "attention"),
            "contribution": MapScore(signed, "contribution"),
            "attention_spread": MapScore(np.ones(SIDE**2, np.float32), "spread", "attention"),
        },
        grid,
        Prediction(("normal", "tumour"), np.zeros(2, np.float32), np.full(2, 0.5, np.float32)),
        SlideRef(f"/nowhere/{name}.tif", name, (0.243, 0.243), (8000, 8000)),
        EncoderInfo("colour-texture", "1", "", 96, 243, 1.0),
        ModelCard("attention", 96, {}, ("normal", "tumour"), title="Made by hand"),
        "attention",
        Provenance("0", "0", "3", "cpu", 0, "2026-01-01T00:00:00+00:00"),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides with a lesion of four patches, one without; both halves of one found, half of the other."""
    out = tmp_path_factory.mktemp("agreement")
    block = {(2, 2), (2, 3), (3, 2), (3, 3)}
    map_of("a", block).save(out / "a.h5")
    map_of("b", {(2, 2), (2, 3), (6, 6)}).save(out / "b.h5")
    map_of("c", set()).save(out / "c.h5")
    lesion = Annotation("L", "Tumor", shapely.box(2000, 2000, 4000, 4000), None)
    write_geojson(out / "lesion.geojson", [lesion])
    write_geojson(out / "beside.geojson", [replace(lesion, geometry=shapely.box(90_000, 0, 99_000, 9000))])
    (out / "maps.csv").write_text("map;annotation\na.h5;lesion.geojson\nb.h5;lesion.geojson\nc.h5;\n")
    (out / "other.csv").write_text("map,outlines\na.h5,lesion.geojson\n")
    return out


def test_one_map(folder: Path, tmp_path: Path, command_line) -> None:
    done = command_line(
        "evaluate", "--map", folder / "a.h5", "--annotation", folder / "lesion.geojson", "--out", tmp_path
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "agreement.csv").set_index("score")
    assert table.index.tolist() == ["attention", "contribution"]  # a spread is not judged
    for score in table.index:
        row = table.loc[score]
        assert (row.target_patches, row.patches, row.auroc, row.average_precision, row.dice) == (4, 64, 1, 1, 1)
        assert (row.pixel_dice, row.pointing_game, row.hit_rate_top_10) == (1, 1, 0.4)
    assert table.loc["attention", "mass_inside"] == pytest.approx(
        20 / (20 + 0.5 * 60 + 0.001 * (8 * 28 - 2 * 2 - 2 * 3)), 1e-4
    )
    assert table.loc["contribution", "class"] == "tumour"
    assert {path.name for path in tmp_path.iterdir()} == {
        "agreement.csv",
        "agreement.json",
        "agreement.md",
        "overlap.csv",
        "overlap_001_a.png",
    }
    assert "at least 50% of its area is. Target: Tumor." in (tmp_path / "agreement.md").read_text()
    assert (tmp_path / "overlap_001_a.png").read_bytes()[:4] == b"\x89PNG"
    curves = pd.read_csv(tmp_path / "overlap.csv")
    assert curves.groupby("score").dice.max().tolist() == [1, 1]


def test_a_cohort(folder: Path, tmp_path: Path, command_line) -> None:
    done = command_line("evaluate", "--maps", folder / "maps.csv", "--score", "attention", "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [one["dice"] for one in record["maps"]] == [1, pytest.approx(4 / 7), None]
    assert record["maps"][2]["notes"][0].startswith("Nothing is outlined")
    (cohort,) = record["cohorts"]
    # detections: both lesions, one false alarm of the same height over three slides; above every threshold together
    assert (cohort["slides"], cohort["slides_with_target"], cohort["lesions"]) == (3, 2, 2)
    attention = map_of("a", {(2, 2), (2, 3), (3, 2), (3, 3)}).view("attention", "ratio").values.max()
    assert attention < map_of("b", {(2, 2), (2, 3), (6, 6)}).view("attention", "ratio").values.max()
    assert [cohort[f"sensitivity_at_{level}_fp"] for level in ("0.25", "0.5", "8")] == [0, 1, 1]
    assert cohort["froc"] == pytest.approx(5 / 6)
    assert [cohort[f"ap_iou_{level}"] for level in ("0.1", "0.5")] == [pytest.approx((1 + 2 / 3) / 2)] * 2
    assert "at or above 2 on the scale" in cohort["detection"]
    assert (tmp_path / "froc.png").is_file()


def test_the_class_of_the_model_and_of_the_outlines_and_the_share_can_be_named(folder: Path, command_line) -> None:
    call = ("evaluate", "--map", folder / "a.h5", "--annotation", folder / "lesion.geojson", "--json", "--top-k", 4)
    done = command_line(
        *call, "--class", "normal", "--score", "contribution", "--target", "tumor", "--min-overlap", 0.9
    )
    (row,) = json.loads(done.stdout)["maps"]
    assert (row["class"], row["auroc"], row["hit_rate_top_4"]) == ("normal", 0, 0)
    assert row["rule"].startswith("A patch is target where at least 90%")
    done = command_line(*call, "--score", "attention", "--cut", 100)
    assert json.loads(done.stdout)["maps"][0]["patches_above"] == 0


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (["--map", "a.h5"], 1, "--map needs --annotation"),
        (["--annotation", "lesion.geojson"], 2, "need --map"),
        (["--map", "a.h5", "--annotation", "beside.geojson"], 1, "belong to another slide"),
        (["--map", "a.h5", "--annotation", "none.geojson"], 1, "no annotation file"),
        (["--map", "none.h5", "--annotation", "lesion.geojson"], 1, "no attention map"),
        (["--map", "a.h5", "--annotation", "lesion.geojson", "--target", "Gland"], 1, "No outline has the class Gland"),
        (["--map", "a.h5", "--annotation", "lesion.geojson", "--score", "beauty"], 1, 'no score "beauty"'),
        (["--map", "a.h5", "--annotation", "lesion.geojson", "--class", "beauty"], 1, 'no class "beauty"'),
        (["--map", "a.h5", "--annotation", "lesion.geojson", "--cut", "3"], 1, "share no threshold"),
        (
            ["--map", "a.h5", "--map", "b.h5", "--map", "c.h5"] + ["--annotation", "lesion.geojson"] * 2,
            1,
            "go together",
        ),
        (["--maps", "maps.csv", "--annotation", "lesion.geojson"], 1, "names maps and annotations itself"),
        (["--maps", "other.csv"], 1, "has no column annotation"),
        (["--maps", "lesion.geojson"], 1, "cannot be read as a table"),
        (["--maps", "none.csv"], 1, "cannot be read as a table"),
        (["--map", "a.h5", "--annotation", "lesion.geojson", "--faithfulness"], 2, "maps go alone"),
        ([], 2, "name folders of 'train'"),
    ],
)
def test_mistakes_are_said_in_words(folder: Path, command_line, given, code, says) -> None:
    files = {path.name for path in folder.iterdir()} | {"none.h5", "none.csv", "none.geojson"}
    done = command_line("evaluate", *(folder / word if word in files else word for word in given))
    assert done.returncode == code
    assert says in " ".join(done.stderr.replace("│", " ").split())
