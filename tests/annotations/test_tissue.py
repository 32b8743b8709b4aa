"""Tissue from outlines and back, through the files of QuPath and ASAP, and over a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely

import napari_mil as nm
from napari_mil.annotations import (
    Annotation,
    outlines_for,
    read_annotations,
    read_tissue,
    resolve_tissue,
    tissue_within,
    write_geojson,
    write_tissue,
)
from napari_mil.cohort import extract_slides
from napari_mil.errors import AnnotationError, FeaturesError, TilingError
from napari_mil.progress import finish
from napari_mil.slides import Slide
from napari_mil.tiling import TissueMask, find_tissue


def box(left: float, top: float, right: float, bottom: float, name: str = "") -> Annotation:
    return Annotation(name, "Region", shapely.box(left, top, right, bottom), None)


@pytest.fixture
def slide(small_slide: Path):
    with nm.open_slide(small_slide) as opened:
        yield opened


@pytest.mark.parametrize("name", ["tissue.geojson", "tissue.geojson.gz"])
def test_a_mask_goes_through_a_file_unchanged(slide: Slide, tmp_path: Path, name: str) -> None:
    found = find_tissue(slide)
    again = read_tissue(write_tissue(tmp_path / name, found), slide)
    assert np.array_equal(again.mask, found.mask)
    assert again.origin == f"read from {name}"
    assert {a.class_name for a in read_annotations(tmp_path / name)} == {"Tissue"}


def test_files_count_from_the_scanned_corner(slide: Slide, tmp_path: Path, monkeypatch) -> None:
    """As in MIRAX: the whole picture is larger than what was scanned, and QuPath shows the latter."""
    monkeypatch.setattr(Slide, "bounds_origin_xy", (400.0, 80.0))
    write_geojson(tmp_path / "a.geojson", [box(0, 0, 320, 160)])
    mask = read_tissue(tmp_path / "a.geojson", slide)
    rows, cols = np.nonzero(mask.mask)
    assert (rows.min() * mask.l0_per_px[0], cols.min() * mask.l0_per_px[1]) == pytest.approx((80, 400), abs=1)
    assert mask.mask.sum() * np.prod(mask.l0_per_px) == pytest.approx(320 * 160, rel=0.02)


def test_within_keeps_tissue_inside_and_nothing_else(slide: Slide) -> None:
    found = find_tissue(slide)
    height, width = slide.shape
    left = tissue_within(found, [box(0, 0, width / 2, height)])
    right = tissue_within(found, [box(width / 2, 0, width, height)])
    assert np.array_equal(left.mask | right.mask, found.mask)
    assert not (left.mask & right.mask).any()


def test_what_cannot_be_meant_is_said(slide: Slide, tmp_path: Path) -> None:
    found = find_tissue(slide)
    with pytest.raises(AnnotationError, match="no outline in annotations that encloses an area"):
        tissue_within(found, [Annotation("", "", shapely.LineString([(0, 0), (9, 9)]), None)])
    with pytest.raises(AnnotationError, match="mostly beside the slide of 1600 x 1200"):
        tissue_within(found, [box(5000, 5000, 9000, 9000)])
    blank = TissueMask.from_labels(np.tri(12, 16, -8, dtype=bool), slide.shape, slide.mpp)
    with pytest.raises(AnnotationError, match="No tissue lies within"):
        tissue_within(blank, [box(1400, 0, 1600, 100)])
    other = TissueMask(np.ones((9, 9), bool), (10.0, 10.0), (0.5, 0.5))
    with pytest.raises(TilingError, match="mask spans 90 x 90 pixels, the slide 1600 x 1200"):
        resolve_tissue(slide, other)
    with pytest.raises(AnnotationError, match="no annotation file"):
        resolve_tissue(slide, tmp_path / "none.geojson")


def test_tissue_and_outlines_together(slide: Slide, tmp_path: Path) -> None:
    tissue = write_geojson(tmp_path / "tissue.geojson", [box(0, 0, 800, 1200)])
    inside = write_geojson(tmp_path / "inside.geojson", [box(400, 0, 1600, 1200)])
    mask = resolve_tissue(slide, tissue, inside)
    cols = np.flatnonzero(mask.mask.any(axis=0)) * mask.l0_per_px[1]
    assert (cols.min(), cols.max() + mask.l0_per_px[1]) == pytest.approx((400, 800), abs=mask.l0_per_px[1])
    assert mask.origin == "read from tissue.geojson, within inside.geojson"
    assert np.array_equal(resolve_tissue(slide).mask, find_tissue(slide).mask)


def test_one_file_a_slide(tmp_path: Path) -> None:
    for name in ("a.geojson", "b.xml", "c.geojson.gz"):
        (tmp_path / name).write_text("{}")
    assert [f.name for f in outlines_for(tmp_path, ["b", "c", "a"])] == ["b.xml", "c.geojson.gz", "a.geojson"]
    assert outlines_for(tmp_path / "a.geojson", ["x"]) == [tmp_path / "a.geojson"]
    assert outlines_for("grandqc", ["x", "y"]) == [Path("grandqc")] * 2
    with pytest.raises(AnnotationError, match="one file for 2 slides"):
        outlines_for(tmp_path / "a.geojson", ["x", "y"])
    with pytest.raises(AnnotationError, match="no outlines for d"):
        outlines_for(tmp_path, ["a", "d"])


def test_a_run_keeps_to_the_mask_and_leaves_it(small_slide: Path, untrained_model: Path, tmp_path: Path) -> None:
    inside = write_geojson(tmp_path / "in.geojson", [box(0, 0, 800, 1200)])
    whole = nm.run(small_slide, model=untrained_model, out=tmp_path / "whole", device="cpu", top_k=1)
    half = nm.run(small_slide, model=untrained_model, out=tmp_path / "half", within=inside, device="cpu", top_k=1)
    grid = half.map.grid
    assert 0 < len(grid) < len(whole.map.grid)
    assert (grid.l0_rc[:, 1] + grid.tile_l0 * 0.25 <= 800 + 16).all()
    with nm.open_slide(small_slide) as slide:
        assert np.array_equal(read_tissue(tmp_path / "half" / "tissue.geojson", slide).mask, half.mask.mask)
    said = json.loads((tmp_path / "half" / "run.json").read_text())
    assert said["tissue_origin"] == "found automatically, within in.geojson"
    drawn = nm.run(small_slide, model=untrained_model, out=tmp_path / "d", tissue=half.mask, device="cpu", top_k=1)
    np.testing.assert_array_equal(drawn.features.values, half.features.values)


def test_features_of_another_mask_are_not_mixed_up(
    small_slide: Path, untrained_model: Path, own_folders: Path, tmp_path: Path
) -> None:
    inside = write_geojson(tmp_path / "in.geojson", [box(0, 0, 800, 1200)])
    whole = nm.run(small_slide, model=untrained_model, device="cpu")
    half = nm.run(small_slide, model=untrained_model, within=inside, device="cpu")
    same = nm.run(small_slide, model=untrained_model, tissue=whole.mask, device="cpu")
    assert len(half.features) < len(whole.features)
    assert same.files == whole.files
    assert half.files != whole.files
    out = tmp_path / "features"
    finish(extract_slides([small_slide], out, encoder="colour-texture", device="cpu"))
    with pytest.raises(FeaturesError, match="patches of another tissue mask"):
        finish(extract_slides([small_slide], out, encoder="colour-texture", device="cpu", within=inside))
    kept = nm.read_features(out / f"{small_slide.stem}.h5")
    assert len(kept) == len(whole.features)
    [done] = finish(
        extract_slides([small_slide], out, encoder="colour-texture", device="cpu", within=inside, overwrite=True)
    )
    assert done.patches == len(half.features)


def test_the_command_line_takes_tissue_and_outlines(small_slide: Path, untrained_model: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from napari_mil.cli import app

    tissue = write_geojson(tmp_path / "t.geojson", [box(0, 0, 800, 1200)])
    runner, common = CliRunner(), ["--device", "cpu", "--json"]
    ran = runner.invoke(
        app,
        [
            *("run", str(small_slide), "--model", str(untrained_model), "--out", str(tmp_path / "run"), *common),
            *("--tissue", str(tissue), "--within", str(tissue)),
        ],
    )
    said = json.loads(ran.stdout)
    assert said["tissue_origin"] == "read from t.geojson, within t.geojson"
    extracted = runner.invoke(
        app, ["extract", str(small_slide), "--out", str(tmp_path / "f"), "--tissue", str(tissue), *common]
    )
    assert json.loads(extracted.stdout)["files"][0]["patches"] == said["patches"]
    wrong = runner.invoke(
        app, ["extract", str(small_slide), "--out", str(tmp_path / "g"), "--within", str(small_slide), *common]
    )
    assert wrong.exit_code == 1
    assert "is not a text file" in wrong.output
