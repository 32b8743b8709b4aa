"""A slide of which only a part was scanned, as of MIRAX and Leica, from the file to what QuPath opens.

QuPath shows what was scanned and counts from its corner (``openslide.bounds-x`` and ``-y``); everything else counts
from the corner of the whole slide. The file is one of Leica's, which OpenSlide reads and states these bounds of.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image

import napari_mil as nm
from napari_mil.annotations import read_annotations, tile_labels
from napari_mil.results import RunResult

TOP, LEFT, WHOLE, MPP = 232, 472, (1700, 2500), 0.5

SCN = """<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
<collection name="a" uuid="urn:uuid:0" sizeX="{width}" sizeY="{height}"><barcode></barcode>
{images}</collection></scn>"""
IMAGE = """<image name="{ifd}" uuid="urn:uuid:{ifd}"><creationDate>2026-01-01T00:00:00Z</creationDate>
<device model="made for a test" version="1"/>
<pixels sizeX="{px[1]}" sizeY="{px[0]}"><dimension sizeX="{px[1]}" sizeY="{px[0]}" r="0" ifd="{ifd}"/></pixels>
<view sizeX="{nm[1]:.0f}" sizeY="{nm[0]:.0f}" offsetX="{at[1]:.0f}" offsetY="{at[0]:.0f}" spacingZ="0"/>
<scanSettings><objectiveSettings><objective>{power}</objective></objectiveSettings><illuminationSettings>
<numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource></illuminationSettings>
</scanSettings></image>"""


def write_scn(path: Path, scanned: np.ndarray) -> Path:
    """Write what was scanned as a part of a whole slide, which Leica's files hold a small picture of."""
    small = np.full((68, 100, 3), 240, np.uint8)
    whole = np.array(WHOLE) * MPP * 1000  # nanometres
    edges = np.array(scanned.shape[:2]) * MPP * 1000
    corner = np.array((TOP, LEFT)) * MPP * 1000
    images = IMAGE.format(ifd=0, px=small.shape, nm=whole, at=(0, 0), power=0.6)
    images += IMAGE.format(ifd=1, px=scanned.shape, nm=edges, at=corner, power=20)
    xml = SCN.format(width=round(whole[1]), height=round(whole[0]), images=images)
    options = {"photometric": "rgb", "compression": "deflate", "metadata": None, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        per_cm = 100 / (whole[1] / 1e7), 68 / (whole[0] / 1e7)
        tiff.write(small, tile=(64, 64), description=xml, resolution=per_cm, **options)
        tiff.write(scanned, tile=(256, 256), resolution=(1e4 / MPP, 1e4 / MPP), **options)
    return path


@pytest.fixture(scope="module")
def scanned(small_slide: Path) -> np.ndarray:
    """Return the pixels that were scanned."""
    with nm.open_slide(small_slide) as slide:
        return slide.read(0, 0, 0, *slide.shape)


@pytest.fixture(scope="module")
def scn(scanned: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scn(tmp_path_factory.mktemp("scn") / "part.scn", scanned)


@pytest.fixture(scope="module")
def done(scn: Path, untrained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    out = tmp_path_factory.mktemp("run") / "out"
    return out, nm.run(scn, model=untrained_model, out=out, device="cpu", top_k=5)


def polygons(file: Path) -> list[shapely.Geometry]:
    return [shapely.from_geojson(json.dumps(one["geometry"])) for one in json.loads(file.read_text())["features"]]


def test_the_slide_says_where_its_scan_lies(scn: Path, scanned: np.ndarray) -> None:
    with nm.open_slide(scn) as slide:
        assert slide.vendor == "leica"
        assert slide.shape == WHOLE
        assert slide.mpp == pytest.approx((MPP, MPP))
        assert slide.bounds_origin_xy == (LEFT, TOP)
        assert slide.scanned == (TOP, LEFT, *scanned.shape[:2])
        assert np.array_equal(slide.read(0, TOP, LEFT, *scanned.shape[:2]), scanned)
        assert (slide.read(0, 0, 0, TOP, WHOLE[1]) == slide.background).all()


def test_map_and_patches_count_from_the_slide_and_qupath_from_the_scan(
    done: tuple[Path, RunResult], scanned: np.ndarray
) -> None:
    out, result = done
    grid = result.map.grid
    assert len(grid) > 30
    tiles = polygons(out / "attention.geojson")
    edge = grid.tile_l0
    expected = {(c - LEFT, r - TOP, c - LEFT + edge, r - TOP + edge) for r, c in grid.l0_rc.tolist()}
    assert {tile.bounds for tile in tiles} == expected
    # none beside what QuPath shows: all tissue was scanned
    assert shapely.box(0, 0, scanned.shape[1], scanned.shape[0]).contains(shapely.union_all(tiles))
    with (out / "patches.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    for row in rows:
        x, y, wide = int(row["x"]), int(row["y"]), int(float(row["width"]))
        assert (float(row["x_um"]), float(row["y_um"])) == pytest.approx((x * MPP, y * MPP))
        assert (x - LEFT, y - TOP, x - LEFT + wide, y - TOP + wide) in expected
        with Image.open(out / row["file"]) as picture:
            step = wide // picture.width
            there = scanned[y - TOP : y - TOP + wide, x - LEFT : x - LEFT + wide]
            mean = there.reshape(picture.height, step, picture.width, step, 3).mean((1, 3))
            np.testing.assert_allclose(np.asarray(picture), mean, atol=0.51)


def test_tissue_outlines_lie_on_the_tissue_that_qupath_shows(
    done: tuple[Path, RunResult], scn: Path, scanned: np.ndarray
) -> None:
    out, _ = done
    tissue = shapely.union_all(polygons(out / "tissue.geojson"))
    points = np.random.default_rng(0).uniform((0, 0), (scanned.shape[1], scanned.shape[0]), (4000, 2))
    inside = shapely.contains_xy(tissue, points)
    spread = np.ptp(scanned[points[:, 1].astype(int), points[:, 0].astype(int)].astype(int), axis=1)
    assert np.median(spread[inside]) > 3 * np.median(spread[~inside])  # colour within, glass without
    with nm.open_slide(scn) as slide:
        again = nm.find_tissue(slide)
        back = read_annotations(out / "tissue.geojson", offset_xy=slide.bounds_origin_xy)
    rows, cols = np.nonzero(again.mask)
    centres = np.column_stack([cols + 0.5, rows + 0.5]) * again.l0_per_px[::-1]
    outlines = shapely.union_all([one.geometry for one in back])
    assert shapely.contains_xy(outlines, centres).mean() > 0.99


def test_outlines_drawn_in_qupath_meet_the_patches_they_were_drawn_on(
    done: tuple[Path, RunResult], scn: Path, tmp_path: Path
) -> None:
    """Round the highest patch, in QuPath's frame, as read from what we wrote ourselves."""
    out, result = done
    best = int(np.argmax(result.map.scores["attention"].raw))
    row, col = result.map.grid.l0_rc[best]
    tile = next(one for one in polygons(out / "attention.geojson") if one.bounds[:2] == (col - LEFT, row - TOP))
    feature = {"type": "Feature", "geometry": json.loads(shapely.to_geojson(tile)), "properties": {}}
    (tmp_path / "drawn.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with nm.open_slide(scn) as slide:
        drawn = read_annotations(tmp_path / "drawn.geojson", offset_xy=slide.bounds_origin_xy)
    assert drawn[0].geometry.bounds[:2] == (col, row)
    assert np.flatnonzero(tile_labels(drawn, result.map.grid)).tolist() == [best]
