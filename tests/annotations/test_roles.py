"""What classes of outlines mean, napari's shapes and labels, and outlines of another slide."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mil.annotations import (
    Annotation,
    Roles,
    class_counts,
    label_annotations,
    label_patches,
    outlines_on_slide,
    read_annotations,
    roles_of,
    shape_annotations,
    suggest_roles,
    target_area,
)
from napari_mil.errors import AnnotationError
from napari_mil.tiling import TileGrid


def drawn(*classes, geometry=None):
    return [Annotation(f"A{n}", name, geometry or shapely.box(0, 0, 9, 9), None) for n, name in enumerate(classes)]


@pytest.mark.parametrize(
    ("classes", "target", "exclude"),
    [
        (["_0", "_1", "_2"], {"_0", "_1"}, {"_2"}),  # CAMELYON16
        (["Tumor", "Exclusion"], {"Tumor"}, {"Exclusion"}),
        (["metastases", "normal"], {"metastases"}, {"normal"}),  # CAMELYON17
        (["Tumor: Positive", "Stroma", "Necrosis"], {"Tumor: Positive"}, set()),  # QuPath
        (["Glomerulus", "Tissue", "Ignore*", "Region*"], {"Glomerulus"}, set()),
        (["", "Tissue"], {""}, set()),
        ([], set(), set()),
    ],
)
def test_known_classes(classes, target, exclude):
    assert suggest_roles(drawn(*classes)) == Roles(frozenset(target), frozenset(exclude))


def test_named_roles_are_found_without_case_and_refused_where_they_contradict():
    outlines = drawn("Stroma", "Tumor", "Necrosis")
    assert roles_of(outlines, ["stroma"], ["NECROSIS"]) == Roles(frozenset({"Stroma"}), frozenset({"Necrosis"}))
    assert roles_of(outlines, (), ["necrosis"]).target == {"Tumor"}
    assert roles_of(outlines, ["tumor"]).sentence == "Target: Tumor."
    assert Roles(frozenset({""}), frozenset({"_2"})).sentence == "Target: no class, without _2."
    with pytest.raises(AnnotationError, match=r"No outline has the class Gland\. There are: Necrosis, Stroma, Tumor"):
        roles_of(outlines, ["Gland"])
    with pytest.raises(AnnotationError, match="cannot be target and excluded"):
        roles_of(outlines, ["tumor"], ["Tumor"])
    with pytest.raises(ValueError, match="at once"):
        Roles(frozenset("a"), frozenset("a"))
    assert roles_of([], ["Tumor"]).target == {"Tumor"}  # a slide on which nobody drew anything


def test_what_is_excluded_is_taken_out_wherever_it_stands_in_the_file():
    outlines = [
        Annotation("", "_2", shapely.box(25, 25, 75, 75), None),
        Annotation("", "_0", shapely.box(0, 0, 100, 100), None),
        Annotation("", "_1", shapely.box(50, 0, 150, 100), None),
        Annotation("", "_0", shapely.Point(500, 500), None),
    ]
    area = target_area(outlines, suggest_roles(outlines))
    assert area.area == 150 * 100 - 50 * 50
    grid = TileGrid(np.array([[0, 0], [0, 100], [0, 200]], np.int64), 100.0, 100.0, 50, 1.0, np.ones(3, np.float32))
    labels = label_patches(outlines, grid, min_overlap=0.75)
    np.testing.assert_allclose(labels.overlap, [0.75, 0.5, 0])
    assert labels.target.tolist() == [True, False, False]
    assert labels.rule == "A patch is target where at least 75% of its area is. Target: _0, _1, without _2."
    assert labels.covered == pytest.approx(1)
    assert label_patches(outlines, grid).target.tolist() == [True, True, False]


def test_patches_that_overlap_stand_for_their_middle():
    outlines = drawn("Tumor", geometry=shapely.box(0, 0, 100, 1000))
    grid = TileGrid(np.array([[0, 0], [0, 50]], np.int64), 100.0, 50.0, 50, 1.0, np.ones(2, np.float32))
    labels = label_patches(outlines, grid)
    np.testing.assert_allclose(labels.overlap, [1, 0.5])
    np.testing.assert_allclose(labels.cell_overlap, [1, 0.5])  # x 25 to 75, and 75 to 125
    assert labels.covered == pytest.approx(75 * 50 / 100_000)


def test_real_lesions_subtract_what_is_excluded_by_hand(shared_data):
    lesions = read_annotations(shared_data / "annotations" / "tumor_009.xml")
    x, y = lesions[0].geometry.representative_point().coords[0]
    hole = Annotation("", "_2", shapely.box(x - 50, y - 50, x + 50, y + 50), None)
    whole, less = (target_area(some, suggest_roles(some)) for some in (lesions, [*lesions, hole]))
    assert whole.area - less.area == pytest.approx(shapely.intersection(whole, hole.geometry).area, rel=1e-9)
    assert class_counts(lesions) == {"metastasis": 6}


def test_shapes_of_napari_become_areas():
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
    closed = np.vstack([square, square[:1]])
    got = shape_annotations(
        [square, square * 2, square[:2], closed, square, square],
        ["rectangle", "ellipse", "line", "path", "path", "polygon"],
        class_names=["a", "b", "c", "d", "e", "f"],
        names=["1", "2", "3", "4", "5", "6"],
    )
    assert [(one.name, one.class_name) for one in got] == [("1", "a"), ("2", "b"), ("4", "d"), ("6", "f")]
    assert got[1].geometry.area == pytest.approx(np.pi * 100, rel=0.002)
    assert got[1].geometry.centroid.coords[0] == pytest.approx((10, 10))
    bow = np.array([[0, 0], [10, 10], [10, 0], [0, 10]], float)
    (crossed,) = shape_annotations([bow], ["polygon"])
    assert (crossed.repaired, crossed.geometry.area) == (True, 50)
    hole = square * 0.5 + 2
    ring = np.vstack([hole, hole[:1]])
    (holed,) = shape_annotations([closed, ring], ["path", "path"], belongs_to=[7, 7], holes=[False, True])
    assert holed.geometry.area == 100 - 25
    apart = shape_annotations([closed, ring], ["path", "path"], belongs_to=[None, None], holes=[False, True])
    assert [one.geometry.area for one in apart] == [100, 25]


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([1.0, 4.0, 7.5]))
def test_labels_become_polygons_that_give_the_labels_back(seed, shrink):
    labels = np.kron(np.random.default_rng(seed).integers(0, 3, (5, 6)), np.ones((3, 3), int))
    height, width = round(labels.shape[0] * shrink), round(labels.shape[1] * shrink)
    found = label_annotations(labels, (height, width), {2: "two"})
    rows, cols = np.indices(labels.shape)
    x, y = (cols.ravel() + 0.5) * width / labels.shape[1], (rows.ravel() + 0.5) * height / labels.shape[0]
    for label, name in ((1, "1"), (2, "two")):
        area = shapely.union_all([one.geometry for one in found if one.class_name == name])
        np.testing.assert_array_equal(shapely.contains_xy(area, x, y).reshape(labels.shape), labels == label)


def test_another_slide_is_refused_and_what_is_odd_is_said():
    inside, beside = shapely.box(0, 0, 50, 50), shapely.box(500, 0, 580, 80)
    with pytest.raises(
        AnnotationError, match=r"outlines of a.xml span x 0 to 580 and y 0 to 80, mostly beside .* 100 x 90"
    ):
        outlines_on_slide([Annotation("", "", g, None) for g in (inside, beside)], (90, 100), "a.xml")
    odd = [
        Annotation("L1", "", shapely.box(-9, 0, 50, 50), None, repaired=True),
        Annotation("", "", shapely.Point(3, 3), None),
        Annotation("", "", shapely.box(0, 0, 100.5, 90), None),
    ]
    assert outlines_on_slide(odd, (90, 100), "a.xml") == [
        "1 outline crossed itself and was repaired (L1).",
        "1 outline reaches beyond the slide's edge; what lies beyond does not count.",
        "1 outline encloses no area (a point or line) and does not count.",
    ]
    assert outlines_on_slide([], (90, 100), "a.xml") == []


def test_an_outline_that_crosses_itself_is_said_to_be_repaired(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text('{"type":"Polygon","coordinates":[[[0,0],[10,10],[10,0],[0,10],[0,0]]]}')
    (bow,) = read_annotations(path)
    path.write_text('{"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10],[0,0]]]}')
    (plain,) = read_annotations(path)
    assert (bow.repaired, plain.repaired) == (True, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;">]><ASAP_Annotations>&b;</ASAP_Annotations>',
            "valid XML",
        ),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><ASAP_Annotations>&a;</ASAP_Annotations>', "valid XML"),
        (
            '<ASAP_Annotations><Annotation Name="L"><Coordinate X="1" Y="2"/></Annotation></ASAP_Annotations>',
            'outline "L"',
        ),
        (
            '<ASAP_Annotations><Annotation Name="L" Type="Dot"><Coordinate Order="0" X="nan" Y="2"/></Annotation>'
            "</ASAP_Annotations>",
            "not a number",
        ),
        ("[" * 100_000, "not valid GeoJSON"),
    ],
)
def test_hostile_files_are_refused_in_words(tmp_path, text, says):
    path = tmp_path / "a"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=says):
        read_annotations(path)
