from __future__ import annotations

import gzip
import json
import math
import tracemalloc
import uuid

import numpy as np
import pytest

from napari_mil.annotations import read_annotations
from napari_mil.errors import AnnotationError, ExportError
from napari_mil.export import Display, write_hot_spots_geojson, write_map_geojson, write_outline_geojson
from napari_mil.maps import colours


def load(path):
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def strict(constant):
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
def test_every_feature_is_what_qupath_reads(scene, tmp_path, name):
    path = write_map_geojson(tmp_path / name, scene.amap)
    document = load(path)
    assert document["type"] == "FeatureCollection"
    features = document["features"]
    assert len(features) == len({f["id"] for f in features}) == 5
    for feature in features:
        assert set(feature) == {"type", "id", "geometry", "properties"}
        assert feature["type"] == "Feature"
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        (ring,) = feature["geometry"]["coordinates"]
        assert feature["geometry"]["type"] == "Polygon"
        assert len(ring) == 5
        assert ring[0] == ring[-1]
        properties = feature["properties"]
        assert properties["objectType"] == "tile"
        assert properties["isLocked"] is True
        assert len(properties["color"]) == 3
        assert all(isinstance(v, int) and 0 <= v <= 255 for v in properties["color"])
        assert all(isinstance(v, float) and math.isfinite(v) for v in properties["measurements"].values())


def test_places_and_numbers_by_hand(scene, tmp_path):
    features = load(write_map_geojson(tmp_path / "a.geojson", scene.amap))["features"]
    y, x = (float(v) for v in scene.amap.grid.l0_rc[2])
    (ring,) = features[2]["geometry"]["coordinates"]
    assert ring == [[x, y], [x + 100.5, y], [x + 100.5, y + 100.5], [x, y + 100.5], [x, y]]
    measured = features[2]["properties"]["measurements"]
    assert measured == {"Attention": pytest.approx(0.2), "Attention (rank)": pytest.approx(0.6)}
    assert features[2]["properties"]["color"] == colours(scene.amap.view())[2].tolist()


def test_each_tile_lies_around_its_cross(scene, tmp_path):
    for feature, (row, col) in zip(
        load(write_map_geojson(tmp_path / "a.geojson", scene.amap))["features"], scene.crosses, strict=True
    ):
        middle = np.mean(feature["geometry"]["coordinates"][0][:4], axis=0)
        # QuPath counts pixel edges: the cross's centre pixel is centred half a pixel on
        assert np.abs(middle - (col + 0.5, row + 0.5)).max() <= 0.5


def test_offset_of_a_cropped_slide(scene, tmp_path):
    plain = load(write_map_geojson(tmp_path / "a.geojson", scene.amap))["features"]
    moved = load(write_map_geojson(tmp_path / "b.geojson", scene.amap, offset_xy=(30, 7.25)))["features"]
    for a, b in zip(plain, moved, strict=True):
        shift = np.subtract(a["geometry"]["coordinates"], b["geometry"]["coordinates"])
        np.testing.assert_allclose(shift, np.broadcast_to([30, 7.25], shift.shape), atol=1e-9)


def test_threshold_score_and_class(scene, tmp_path):
    path = write_map_geojson(
        tmp_path / "a.geojson", scene.amap, display=Display("contribution", class_index=1, threshold=1)
    )
    shown = [f["properties"]["measurements"]["Contribution to the prediction"] for f in load(path)["features"]]
    assert shown == [1, 2]
    assert load(write_map_geojson(path, scene.amap, display=Display(threshold=2)))["features"] == []


def test_a_score_that_is_not_a_number_is_left_out(scene, map_of, tmp_path):
    amap = map_of(scene.slide, [(0, 0), (200, 200)], loo=([[np.nan, 1], [np.nan, 2]], "leave_one_out"))
    path = write_map_geojson(tmp_path / "a.geojson", amap)
    assert len(json.loads(path.read_text(), parse_constant=strict)["features"]) == 1


def test_the_same_map_gives_the_same_file(scene, tmp_path):
    first = write_map_geojson(tmp_path / "a.geojson.gz", scene.amap).read_bytes()
    assert write_map_geojson(tmp_path / "a.geojson.gz", scene.amap).read_bytes() == first


def test_tiles_are_not_taken_for_annotations(scene, tmp_path):
    path = write_map_geojson(tmp_path / "a.geojson", scene.amap)
    with pytest.raises(AnnotationError, match="only objects of type tile"):
        read_annotations(path)


def test_no_folder(scene, tmp_path):
    with pytest.raises(ExportError, match="Cannot write"):
        write_map_geojson(tmp_path / "no" / "a.geojson", scene.amap)
    assert list(tmp_path.iterdir()) == []


def rings_of(geometry):
    parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [ring for part in parts for ring in part]


def test_hot_spots_and_outline_are_what_qupath_reads(scene, map_of, tmp_path):
    corners = [(100 * r, 100 * c) for r in range(3) for c in range(3)] + [(900, 900)]
    raw = np.array([1, 1, 1, 1, 0, 1, 1, 1, 1, 2], np.float32)
    amap = map_of(scene.slide, corners, tile=100.0, loo=(np.stack([raw * 0, raw]), "leave_one_out"))
    display = Display(class_index=1, threshold=1)
    files = [write_hot_spots_geojson, write_outline_geojson]
    for write in files:
        document = json.loads(write(tmp_path / "a.geojson", amap, display=display).read_text(), parse_constant=strict)
        ids = [feature["id"] for feature in document["features"]]
        assert [str(uuid.UUID(one)) for one in ids] == ids
        assert len(set(ids)) == len(ids)
        for feature in document["features"]:
            assert feature["properties"]["objectType"] == "annotation"
            assert len(feature["properties"]["classification"]["color"]) == 3
            assert all(ring[0] == ring[-1] and len(ring) >= 4 for ring in rings_of(feature["geometry"]))
            assert all(isinstance(v, float) for v in feature["properties"]["measurements"].values())
    single, ring = load(write_hot_spots_geojson(tmp_path / "h.geojson", amap, display=display))["features"]
    [peak] = [v for name, v in single["properties"]["measurements"].items() if name.startswith("Peak")]
    assert peak == 2
    assert ring["properties"]["measurements"]["Patches"] == 8
    assert ring["properties"]["measurements"]["Area mm^2"] == pytest.approx(8 * 0.05**2)
    assert len(ring["geometry"]["coordinates"]) == 2  # the hole
    assert (ring["properties"]["measurements"]["Centroid X px"], single["properties"]["name"]) == (150.0, "Hot spot 1")
    [outline] = load(write_outline_geojson(tmp_path / "o.geojson", amap, display=display))["features"]
    assert len(outline["geometry"]["coordinates"]) == 2
    assert "9 of 10 patches" in outline["properties"]["name"]
    [everything] = load(write_outline_geojson(tmp_path / "o.geojson", amap))["features"]
    assert everything["properties"]["measurements"]["Patches"] == 10


def test_hot_spots_without_a_threshold_are_refused_in_words(scene, tmp_path):
    with pytest.raises(ExportError, match="none is chosen"):
        write_hot_spots_geojson(tmp_path / "a.geojson", scene.amap, display=Display())
    assert list(tmp_path.iterdir()) == []


def test_tiles_below_the_threshold_in_other_colours(scene, tmp_path):
    display = Display(threshold=0.6, inverted=True, colours="magma")
    features = load(write_map_geojson(tmp_path / "a.geojson", scene.amap, display=display))["features"]
    assert [f["properties"]["measurements"]["Attention (rank)"] for f in features] == pytest.approx([0.4, 0.2])
    assert features[0]["properties"]["color"] == colours(scene.amap.view(), "magma")[3].tolist()


def test_many_tiles_are_written_in_flat_memory(scene, map_of, tmp_path):
    """Beyond what 100 tiles take, 40 000 take a few arrays, never their text (16 MB)."""

    def peak(n):
        corners = np.stack(np.divmod(np.arange(n), 400), 1) * 100
        amap = map_of(scene.slide, corners, attention=(np.full(n, 1 / n), "attention"))
        tracemalloc.start()
        try:
            path = write_map_geojson(tmp_path / f"{n}.geojson", amap)
            return tracemalloc.get_traced_memory()[1], path
        finally:
            tracemalloc.stop()

    few, _ = peak(100)
    many, path = peak(40_000)
    assert many - few < 8e6
    assert path.stat().st_size > 12e6
    with path.open(encoding="utf-8") as file:
        assert sum(1 for line in file if line.startswith('{"type":"Feature"')) == 40_000
