"""Every file puts a patch in the same place, to under a level-0 pixel, whatever the grid, scale and bounds."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_mil._napari.overlay_data import raster_place
from napari_mil.annotations import read_annotations
from napari_mil.export import (
    Display,
    write_hot_spots_geojson,
    write_map_geojson,
    write_map_ome_tiff,
    write_outline_geojson,
    write_patch_table,
)
from napari_mil.maps import hot_spots

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


@st.composite
def grids(draw):
    """Return corners, edge, scale (y, x) and bounds of a grid as tiling lays it: corners rounded to whole pixels."""
    edge = draw(st.floats(20, 300).map(lambda v: round(v, 2)))
    rows, cols = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    start = draw(st.tuples(st.integers(0, 5000), st.integers(0, 5000)))
    cells = np.argwhere(np.ones((rows, cols), bool))
    keep = draw(st.lists(st.booleans(), min_size=len(cells), max_size=len(cells)))
    keep[0] = True
    corners = np.rint(np.array(start) + cells[np.array(keep)] * edge).astype(np.int64)
    mpp = draw(st.tuples(st.floats(0.1, 2), st.floats(0.1, 2)))
    bounds = draw(st.tuples(st.integers(0, 20_000), st.integers(0, 20_000)))
    return corners, edge, mpp, bounds


def centre_of_value(values, value):
    [[row, col]] = np.argwhere(values == np.float32(value))
    return np.array([row, col], float)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grids())
def test_all_files_and_the_window_agree(scene, map_of, tmp_path, grid):
    corners, edge, mpp, (x0, y0) = grid
    n = len(corners)
    scores = np.linspace(0.1, 0.9, n, dtype=np.float32)
    amap = map_of(scene.slide, corners, tile=edge, attention=(scores, "attention"))
    amap = replace(amap, slide=replace(amap.slide, mpp=mpp))
    truth = corners + edge / 2  # from the slide's outer edge
    # the window: pixel centres on whole numbers, microns
    raster = amap.raster()
    place = raster_place(amap, raster, 1)
    shown = amap.view().values
    # GeoJSON in QuPath's frame
    tiles = json.loads(write_map_geojson(tmp_path / "t.geojson", amap, offset_xy=(x0, y0)).read_text())["features"]
    # OME-TIFF in microns from the outer edge
    path = write_map_ome_tiff(tmp_path / "m.ome.tif", amap)
    planes = np.atleast_3d(tifffile.imread(path).reshape(raster.values.shape))[..., 0]
    with tifffile.TiffFile(path) as file:
        pixels = ET.fromstring(file.ome_metadata).find(f".//{OME}Pixels")
    step = np.array([float(pixels.get(f"PhysicalSize{axis}")) for axis in "YX"])
    origin = np.array([float(pixels.find(f"{OME}Plane").get(f"Position{axis}")) for axis in "YX"])
    with write_patch_table(tmp_path / "t.csv", amap).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for tile in range(n):
        cell = centre_of_value(raster.values, shown[tile])
        window = (cell * place["scale"] + place["translate"]) / np.array(mpp) + 0.5
        ring = np.array(tiles[tile]["geometry"]["coordinates"][0][:4])
        qupath = np.add(ring.mean(axis=0), (x0, y0))[::-1]
        ome = (origin + (centre_of_value(planes, scores[tile]) + 0.5) * step) / np.array(mpp)
        table = np.array([float(rows[tile]["y"]), float(rows[tile]["x"])]) + float(rows[tile]["width"]) / 2
        um = np.array([float(rows[tile]["y_um"]), float(rows[tile]["x_um"])]) / np.array(mpp) + edge / 2
        for name, found in (("window", window), ("qupath", qupath), ("ome", ome), ("table", table), ("um", um)):
            assert np.abs(found - truth[tile]).max() < 1, name


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grids(), st.floats(0, 1), st.booleans(), st.sampled_from(["", ".gz"]))
def test_what_is_written_is_read_as_the_same_outlines(scene, map_of, tmp_path, grid, threshold, inverted, ending):
    corners, edge, _, offset = grid
    scores = np.linspace(0.1, 0.9, len(corners), dtype=np.float32)[::-1].copy()
    amap = map_of(scene.slide, corners, tile=edge, attention=(scores, "attention"))
    display = Display(threshold=threshold, inverted=inverted)
    spots = hot_spots(amap.view().values, amap.grid, threshold, below=inverted)
    hot = write_hot_spots_geojson(tmp_path / f"h.geojson{ending}", amap, display=display, offset_xy=offset)
    outline = write_outline_geojson(tmp_path / f"o.geojson{ending}", amap, display=display, offset_xy=offset)
    if not spots:
        assert hot.read_bytes() == outline.read_bytes()
        return
    read = read_annotations(hot, offset_xy=offset)
    assert [one.name for one in read] == [f"Hot spot {k}" for k in range(1, len(spots) + 1)]
    for one, spot in zip(read, spots, strict=True):
        assert one.class_name == "Hot spot"
        assert one.geometry.is_valid
        assert one.geometry.hausdorff_distance(spot.geometry) < 0.02
    [whole] = read_annotations(outline, offset_xy=offset)
    assert whole.geometry.area == pytest.approx(sum(spot.geometry.area for spot in spots), rel=1e-3)
