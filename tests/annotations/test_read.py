from __future__ import annotations

import gzip
import json
import uuid

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from napari_mil.annotations import Annotation, read_annotations, write_geojson
from napari_mil.errors import AnnotationError

SQUARE = [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]
HOLED = [*SQUARE, [[2, 2], [2, 4], [4, 4], [4, 2], [2, 2]]]


def feature(coordinates=SQUARE, kind="Polygon", **properties):
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "id": str(uuid.uuid4()), "geometry": geometry, "properties": properties}


@pytest.fixture
def put(tmp_path):
    def write(document, name="a.geojson"):
        path = tmp_path / name
        text = document if isinstance(document, str) else json.dumps(document)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


@pytest.mark.parametrize("name", ["a.geojson", "a.json", "a.geojson.gz", "without-ending"])
def test_collection_feature_list_and_bare_geometry(put, name):
    one = feature(HOLED)
    for document in ({"type": "FeatureCollection", "features": [one]}, one, [one], one["geometry"]):
        (annotation,) = read_annotations(put(document, name))
        assert annotation.geometry.area == 100 - 4
        assert annotation.geometry.bounds == (0, 0, 10, 10)


def test_gzip_is_told_by_content_not_name(put, tmp_path):
    path = put(feature(), "x.geojson.gz").rename(tmp_path / "plain.geojson")
    assert len(read_annotations(path)) == 1


@pytest.mark.parametrize(
    ("properties", "name", "class_name", "color"),
    [
        # QuPath 0.4 and later
        (
            {"objectType": "annotation", "name": "A", "classification": {"name": "Tumor", "color": [200, 0, 1]}},
            "A",
            "Tumor",
            (200, 0, 1),
        ),
        ({"classification": {"names": ["Tumor", "Positive"], "color": [1, 2, 3]}}, "", "Tumor: Positive", (1, 2, 3)),
        # the annotation's own colour wins over its class's
        ({"color": [9, 9, 9], "classification": {"name": "T", "color": [1, 2, 3]}}, "", "T", (9, 9, 9)),
        # QuPath 0.3 and before: packed colour (-3670016 is c80000), object_type, a list of measurements
        (
            {
                "object_type": "PATH_ANNOTATION",
                "classification": {"name": "Tumor", "colorRGB": -3670016},
                "measurements": [{"name": "m", "value": 1.0}],
            },
            "",
            "Tumor",
            (200, 0, 0),
        ),
        ({"classification": "Stroma"}, "", "Stroma", None),
        ({"classification": {}}, "", "", None),
        ({"name": None, "classification": None, "color": "red"}, "", "", None),
    ],
)
def test_names_classes_and_colours_of_all_versions(put, properties, name, class_name, color):
    (annotation,) = read_annotations(put(feature(**properties)))
    assert (annotation.name, annotation.class_name, annotation.color) == (name, class_name, color)


def test_without_properties(put):
    bare = feature()
    del bare["properties"]
    assert len(read_annotations(put([bare, {**bare, "properties": None}]))) == 2


def test_multipolygon_points_lines_and_planes(put):
    parts = [SQUARE, [[[20, 0], [30, 0], [30, 10], [20, 0]]]]
    many = feature(parts, "MultiPolygon")
    many["geometry"]["plane"] = {"c": -1, "z": 0, "t": 0}
    got = read_annotations(put([many, feature([3, 4], "Point"), feature([[0, 0], [1, 1]], "LineString")]))
    assert [a.geometry.geom_type for a in got] == ["MultiPolygon", "Point", "LineString"]
    assert got[0].geometry.area == 150


def test_a_ring_left_open_and_a_third_coordinate_are_taken(put):
    (annotation,) = read_annotations(put(feature([[[0, 0, 7], [10, 0, 7], [10, 10, 7], [0, 10, 7]]])))
    assert annotation.geometry.area == 100
    assert not annotation.geometry.has_z


def test_an_outline_that_crosses_itself_is_repaired(put):
    (annotation,) = read_annotations(put(feature([[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]])))
    assert annotation.geometry.is_valid
    assert annotation.geometry.area == 50


def test_empty_geometries_are_left_out(put):
    nothing = {**feature(), "geometry": None}
    assert len(read_annotations(put([nothing, feature([], "Polygon"), feature()]))) == 1
    assert read_annotations(put({"type": "FeatureCollection", "features": []})) == []


def test_what_a_program_made_is_left_out(put):
    drawn, found = feature(objectType="annotation"), feature(objectType="detection")
    assert len(read_annotations(put([found, drawn]))) == 1
    with pytest.raises(AnnotationError, match="no annotations, only objects of type detection"):
        read_annotations(put([found]))


def test_offset_of_a_cropped_slide(put, tmp_path):
    path = put(feature())
    (moved,) = read_annotations(path, offset_xy=(1000, 50))
    assert moved.geometry.bounds == (1000, 50, 1010, 60)
    write_geojson(tmp_path / "b.geojson", [moved], offset_xy=(1000, 50))
    assert json.loads((tmp_path / "b.geojson").read_text())["features"][0]["geometry"]["coordinates"] == SQUARE


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("{", "not valid GeoJSON"),
        ('{"a": 1}', "entry 1 is no GeoJSON feature"),
        ('{"type": "FeatureCollection"}', "not GeoJSON"),
        ("17", "not GeoJSON"),
        ('[{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}]', "entry 1 cannot"),
        ('[{"type": "Feature", "geometry": {"type": "Polygon"}}]', "entry 1 cannot"),
        ('[{"type": "Feature", "geometry": {"type": "Point", "coordinates": [NaN, 1]}}]', "entry 1 has coordinates"),
        ("<svg/>", "not of ASAP"),
        ("<svg", "not valid XML"),
    ],
)
def test_faults_are_said_in_words(put, text, says):
    path = put(text)
    with pytest.raises(AnnotationError, match=says) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)


def test_missing_binary_and_truncated_files(tmp_path, put):
    with pytest.raises(AnnotationError, match="no annotation file"):
        read_annotations(tmp_path / "none.geojson")
    binary = tmp_path / "b.geojson"
    binary.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(AnnotationError, match="not a text file"):
        read_annotations(binary)
    packed = put(feature(), "c.geojson.gz")
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(AnnotationError, match="Cannot read"):
        read_annotations(packed)
    with pytest.raises(AnnotationError, match="Cannot read"):
        read_annotations(tmp_path)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e5),
            st.floats(0, 1e5),
            st.floats(5, 1e4),
            st.text("abc äö", max_size=5),
            st.sampled_from(["", "Tumor", "Stroma"]),
            st.sampled_from([None, (1, 2, 3)]),
        ),
        max_size=5,
    ),
    st.sampled_from(["a.geojson", "a.geojson.gz"]),
)
def test_round_trip(tmp_path_factory, drawn, name):
    path = tmp_path_factory.mktemp("t") / name
    wanted = [Annotation(n, c, shapely.box(x, y, x + e, y + e), color) for x, y, e, n, c, color in drawn]
    write_geojson(path, wanted)
    got = read_annotations(path)
    for before, after in zip(wanted, got, strict=True):
        assert after.name == before.name
        assert after.class_name == before.class_name
        assert after.color == (before.color or ((200, 0, 0) if before.class_name else None))
        np.testing.assert_allclose(after.geometry.bounds, before.geometry.bounds, atol=0.0051)


def test_what_is_written_is_what_qupath_reads(tmp_path):
    holed = shapely.Polygon(HOLED[0], HOLED[1:])
    path = write_geojson(
        tmp_path / "a.geojson",
        [Annotation("L1", "Tumor", shapely.MultiPolygon([holed]), None), Annotation("", "", holed, (1, 2, 3))],
    )
    first = path.read_bytes()
    document = json.loads(first)
    classed, coloured = document["features"]
    assert len({f["id"] for f in document["features"]}) == 2
    for entry in document["features"]:
        assert str(uuid.UUID(entry["id"])) == entry["id"]
        assert entry["geometry"]["type"] == "Polygon"  # never a MultiPolygon of one part
        for ring in entry["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
    assert classed["properties"] == {
        "objectType": "annotation",
        "name": "L1",
        "classification": {"name": "Tumor", "color": [200, 0, 0]},
    }
    assert coloured["properties"] == {"objectType": "annotation", "color": [1, 2, 3]}
    write_geojson(path, read_annotations(path))
    assert json.loads(path.read_bytes())["features"][1] == coloured


def test_writing_into_no_folder(tmp_path):
    with pytest.raises(AnnotationError, match="Cannot write"):
        write_geojson(tmp_path / "no" / "a.geojson", [])


ASAP = """<?xml version="1.0"?><ASAP_Annotations><Annotations>
<Annotation Name="A0" Type="Polygon" PartOfGroup="Tumor" Color="#F4FA58"><Coordinates>
<Coordinate Order="2" X="10" Y="10"/><Coordinate Order="10" X="0" Y="10"/>
<Coordinate Order="0" X="0.0" Y="0"/><Coordinate Order="1" X="10" Y="0"/></Coordinates></Annotation>
<Annotation Name="A1" Type="Dot" PartOfGroup="None" Color="x"><Coordinates>
<Coordinate Order="0" X="3.5" Y="4"/></Coordinates></Annotation>
<Annotation Name="A2" Type="Measurement" PartOfGroup="None" Color="#zzzzzz"><Coordinates>
<Coordinate Order="0" X="0" Y="0"/><Coordinate Order="1" X="3" Y="4"/></Coordinates></Annotation>
<Annotation Name="A3" Type="Polygon" PartOfGroup="None" Color="#000000"><Coordinates/></Annotation>
</Annotations><AnnotationGroups><Group Name="Tumor" PartOfGroup="None" Color="#ff0000"><Attributes/></Group>
</AnnotationGroups></ASAP_Annotations>"""


def test_asap_by_hand(put):
    polygon, dot, line = read_annotations(put(ASAP, "a.xml"), offset_xy=(1, 2))
    assert polygon.geometry.equals(shapely.box(1, 2, 11, 12))
    assert (polygon.name, polygon.class_name, polygon.color) == ("A0", "Tumor", (244, 250, 88))
    assert dot.geometry.equals(shapely.Point(4.5, 6))
    assert (dot.class_name, dot.color, line.color) == ("", None, None)
    assert line.geometry.length == 5


def test_asap_faults(put):
    with pytest.raises(AnnotationError, match='outline "A0" cannot be read'):
        read_annotations(put(ASAP.replace('X="10" Y="0"', 'X="ten" Y="0"'), "a.xml"))
    bomb = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><ASAP_Annotations>&a;</ASAP_Annotations>'
    with pytest.raises(AnnotationError, match="not valid XML"):
        read_annotations(put(bomb, "a.xml"))


def test_real_qupath_file_with_a_hole(shared_data):
    (annotation,) = read_annotations(shared_data / "annotations" / "holed.geojson")
    assert annotation.geometry.geom_type == "Polygon"
    assert annotation.geometry.bounds == (10098, 16763, 13369, 19491)
    assert len(annotation.geometry.interiors) == 1
    assert 0 < annotation.geometry.area < (13369 - 10098) * (19491 - 16763)


@pytest.mark.parametrize(
    ("name", "count", "classes"),
    [
        ("tumor_009.xml", 6, {"metastasis"}),
        ("tumor_085.xml", 50, {"metastasis"}),
        ("patient_004_node_4.xml", 3, {"Tumor"}),
    ],
)
def test_real_asap_files(shared_data, name, count, classes):
    got = read_annotations(shared_data / "annotations" / name)
    assert len(got) == count
    assert {a.class_name for a in got} == classes
    assert all(a.geometry.is_valid and a.geometry.area > 0 for a in got)
