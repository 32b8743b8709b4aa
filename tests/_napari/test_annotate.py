"""Outlines drawn, loaded, measured and saved in the real window."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from sklearn.metrics import average_precision_score, roc_auc_score

from napari_mil._napari.canvas_outlines import CanvasOutlines
from napari_mil._napari.layers import slide_of
from napari_mil._napari.outline_layers import (
    MOST_OUTLINES,
    annotations_in,
    class_colours,
    drawn_layer_data,
    editable,
    lines_of,
    still_layer_data,
)
from napari_mil._napari.outline_picture import outline_lines, painted
from napari_mil._napari.overlay import Overlay, overlay_of
from napari_mil._napari.overlay_data import overlay_layer_data
from napari_mil._napari.reader import get_reader
from napari_mil._napari.viewers import camera
from napari_mil.annotations import Annotation, read_annotations, write_geojson
from napari_mil.errors import AnnotationError
from napari_mil.features import EncoderInfo
from napari_mil.maps import AttentionMap, MapScore, Prediction, Provenance
from napari_mil.models import ModelCard
from napari_mil.slides import SlideRef, open_slide
from napari_mil.tiling import TileGrid

RAW = np.array([0.05, 0.4, 0.1, 0.2, 0.15, 0.1], np.float32)
EDGE = 128


def box(left: float, top: float, right: float, bottom: float, class_name: str = "Tumor", name: str = "") -> Annotation:
    return Annotation(name, class_name, shapely.box(left, top, right, bottom), None)


@pytest.fixture(scope="module")
def amap(small_slide: Path) -> AttentionMap:
    """Six patches of 128 pixels in two rows on the small slide."""
    with open_slide(small_slide) as slide:
        ref = slide.ref
    assert ref.mpp is not None
    l0_rc = np.array([(r * EDGE, c * EDGE) for r in range(2) for c in range(3)], np.int64)
    return AttentionMap(
        scores={
            "attention": MapScore(RAW, "attention"),
            "contribution": MapScore(np.stack([RAW - 0.2, 0.3 - RAW]), "contribution"),
        },
        grid=TileGrid(l0_rc, float(EDGE), float(EDGE), 64, 2 * ref.mpp[0], np.ones(6, np.float32)),
        prediction=Prediction(("normal", "tumour"), np.float32([0, 1]), np.float32([0.3, 0.7])),
        slide=ref,
        encoder=EncoderInfo("colour-texture", "1", "", 96, 64, 2 * ref.mpp[0]),
        model=ModelCard("gated-attention", 96, {}, ("normal", "tumour"), title="By hand"),
        default_score="attention",
        provenance=Provenance("0", "2", "3.11", "cpu", None, ""),
    )


Window = tuple[Any, Any, Overlay]


@pytest.fixture
def window(open_window: Any, small_slide: Path, amap: AttentionMap) -> Window:
    from napari_mil._napari.launch import add

    viewer, panel = open_window(small_slide)
    overlay = overlay_of(add(viewer, overlay_layer_data(amap)))
    assert overlay is not None
    panel.tabs.setCurrentWidget(panel.annotate_tab)
    return viewer, panel.annotate_tab, overlay  # not the panel, which holds its window


def settle(qtbot: Any, tab: Any) -> None:
    qtbot.waitUntil(lambda: not tab.files.busy and not tab.measuring, timeout=20_000)


def load(qtbot: Any, tab: Any, path: Path, *annotations: Annotation) -> Any:
    write_geojson(path, annotations)
    tab.files.read(path)
    settle(qtbot, tab)
    return tab.layer


def test_a_loaded_file_is_measured_and_the_threshold_followed_at_once(
    qtbot: Any, window: Window, tmp_path: Path
) -> None:
    _, tab, overlay = window
    # covers patches 1 and 4 wholly and 2 by a half less a pixel column
    load(qtbot, tab, tmp_path / "a.geojson", box(EDGE, 0, 2.49 * EDGE, EDGE), box(EDGE, EDGE, 2 * EDGE, 2 * EDGE))
    target = np.array([0, 1, 0, 0, 1, 0], bool)
    found = tab._answer.found
    assert found.auroc == pytest.approx(roc_auc_score(target, RAW))
    assert found.average_precision == pytest.approx(average_precision_score(target, RAW))
    assert found.mass_inside == pytest.approx(float(RAW[target].sum() / RAW.sum()))
    values = {name: label.text() for name, label in tab.measures.values.items()}
    assert values["dice"] == "Dice 0.500  IoU 0.333"  # all six against two
    assert values["auroc"] == f"{roc_auc_score(target, RAW):.3f}"
    assert values["pointing"] == "is target"
    assert values["mass"].startswith("55%")
    assert "50%" in tab.measures.title.text()
    overlay.cut("count", 1)
    assert tab.measures.values["dice"].text() == "Dice 0.667  IoU 0.500"  # at once: no waiting here
    assert not tab.measuring
    overlay.settings.inverted = True
    assert tab.measures.values["dice"].text() == "Dice 0.286  IoU 0.167"
    overlay.settings.inverted = False
    tab.measures.use_best.click()  # patches of 0.4, 0.2 and 0.15
    assert overlay.summary().count == 3
    assert tab.measures.values["dice"].text() == "Dice 0.800  IoU 0.667"
    tab.least.setValue(40)
    settle(qtbot, tab)
    assert tab._answer.found.n_target == 3


def test_outlines_that_were_cleared_leave_nothing_to_measure(qtbot: Any, window: Window, tmp_path: Path) -> None:
    _, tab, _ = window
    layer = load(qtbot, tab, tmp_path / "a.geojson", box(0, 0, EDGE, EDGE))
    assert tab._answer.found.n_target == 1
    layer.data = []
    settle(qtbot, tab)
    assert annotations_in(layer, tab._viewer.layers[0])() == []


def test_another_score_is_measured_and_no_map_is_said(qtbot: Any, window: Window, tmp_path: Path) -> None:
    viewer, tab, overlay = window
    load(qtbot, tab, tmp_path / "a.geojson", box(0, 0, EDGE, EDGE))
    before = tab._answer.found.auroc
    overlay.choose(score="contribution", class_index=1)
    settle(qtbot, tab)
    assert (tab._answer.found.score, tab._answer.found.class_name) == ("contribution", "tumour")
    assert tab._answer.found.auroc == pytest.approx(1 - before)  # 0.5 - 2 raw
    viewer.layers.remove(overlay.layer)
    settle(qtbot, tab)
    assert "No map of this slide" in tab.measures.title.text()


def test_roles_are_suggested_and_changed_in_the_table(qtbot: Any, window: Window, tmp_path: Path) -> None:
    _, tab, _ = window
    load(
        qtbot,
        tab,
        tmp_path / "a.geojson",
        box(0, 0, 3 * EDGE, EDGE),
        box(0, 0, EDGE, EDGE, "Normal"),
        box(0, EDGE, EDGE, 2 * EDGE, "Stroma"),
    )
    assert [tab.classes.cellWidget(row, 2).currentData() for row in range(3)] == ["target", "exclude", "neither"]
    assert tab._answer.found.n_target == 2
    tab.classes.choose("Normal", "neither")
    settle(qtbot, tab)
    assert tab._answer.found.n_target == 3
    tab.classes.choose("Stroma", "target")
    settle(qtbot, tab)
    assert tab._answer.found.n_target == 4
    tab.classes.choose("Tumor", "exclude")
    settle(qtbot, tab)
    assert (tab._answer.found.n_target, tab.classes.rowCount()) == (1, 3)


def test_what_is_drawn_is_measured_classed_and_saved_for_qupath(qtbot: Any, window: Window, tmp_path: Path) -> None:
    viewer, tab, _ = window
    tab.class_name.setEditText("Mitosis")
    tab.files.draw.click()
    layer = tab.layer
    assert (layer.mode, viewer.layers.selection.active) == ("add_polygon_lasso", layer)
    settle(qtbot, tab)
    assert "Nothing is outlined" in tab.measures.title.text()
    tab.files.write(tmp_path / "none.geojson")
    settle(qtbot, tab)
    assert "Nothing is outlined yet" in tab.note.text()
    assert not (tmp_path / "none.geojson").exists()
    # what napari adds: level-0 pixels less the half by which the layer is shifted, (row, col)
    layer.add_polygons([np.array([(0, 0), (0, EDGE), (EDGE, EDGE), (EDGE, 0)], float)])
    settle(qtbot, tab)
    assert (tab._answer.counts, tab._answer.found.n_target) == ({"Mitosis": 1}, 1)
    tab.class_name.setEditText("Artefact")
    tab._class_named()
    layer.selected_data = set()
    layer.add_ellipses([np.array([(200, 200), (200, 300), (260, 300), (260, 200)], float)])
    settle(qtbot, tab)
    # the class named while the first was selected, if napari selects what was added last
    assert sum(tab._answer.counts.values()) == 2
    assert "Artefact" in tab._answer.counts
    target = tmp_path / "drawn.geojson"
    tab.files.write(target)
    settle(qtbot, tab)
    assert "2 outlines saved in" in tab.note.text()
    back = read_annotations(target)
    assert back[0].geometry.equals(shapely.box(0, 0, EDGE, EDGE))
    assert back[1].geometry.area == pytest.approx(np.pi * 50 * 30, rel=3e-3)
    features = json.loads(target.read_text())["features"]
    assert all(len(one["properties"]["classification"]["color"]) == 3 for one in features)


def test_a_selected_outline_gets_the_class_that_is_named_with_its_holes(
    qtbot: Any, window: Window, tmp_path: Path
) -> None:
    _, tab, _ = window
    holed = shapely.box(0, 0, 300, 200).difference(shapely.box(50, 50, 100, 100))
    layer = load(qtbot, tab, tmp_path / "a.geojson", Annotation("", "Tumor", holed, None), box(310, 0, 330, 20))
    layer.selected_data = {0}
    tab.class_name.setEditText("Necrosis")
    tab._class_named()
    settle(qtbot, tab)
    assert tab._answer.counts == {"Necrosis": 1, "Tumor": 1}
    [necrosis] = [one for one in annotations_in(layer, tab._slide_layer)() if one.class_name == "Necrosis"]
    assert necrosis.geometry.equals(holed)
    colours = {tuple(edge) for edge in np.asarray(layer.edge_color)[:2]}
    assert len(colours) == 1
    assert colours != {tuple(np.asarray(layer.edge_color)[2])}


def test_painted_labels_are_annotations_too(qtbot: Any, window: Window) -> None:
    viewer, tab, _ = window
    slide_layer = tab._slide_layer
    height, width = slide_of(slide_layer).shape
    labels = np.zeros((height // 4, width // 4), np.uint8)
    labels[: EDGE // 4, : EDGE // 4] = 3
    scale = np.asarray(slide_layer.scale[-2:]) * (height / labels.shape[0], width / labels.shape[1])
    layer = viewer.add_labels(labels, scale=scale, translate=scale / 2 - np.asarray(slide_layer.scale[-2:]) / 2)
    tab.layers.choose(layer)
    settle(qtbot, tab)
    assert tab._answer.counts == {"3": 1}
    assert tab._answer.found.n_target == 1
    viewer.add_labels(np.zeros((5, 7), int), name="elsewhere")
    [other] = [choice for choice in tab.layers.choices if choice.label == "elsewhere"]
    assert "exactly on the slide" in other.reason


def test_refusals_and_repairs_are_in_words(qtbot: Any, window: Window, tmp_path: Path) -> None:
    _, tab, _ = window
    far = tmp_path / "other-slide.geojson"
    write_geojson(far, [box(900_000, 0, 990_000, 9_000)])
    broken, empty = tmp_path / "broken.geojson", tmp_path / "empty.geojson"
    broken.write_text('{"type": "FeatureCollection", "features": [')
    write_geojson(empty, [])
    for path, words in ((far, "another slide"), (broken, "not valid GeoJSON"), (empty, "holds no outlines")):
        tab.files.read(path)
        settle(qtbot, tab)
        assert words in tab.note.text()
        assert tab.layer is None
    bow = shapely.Polygon([(0, 0), (256, 128), (256, 0), (0, 128)])
    load(qtbot, tab, tmp_path / "bow.geojson", Annotation("Bow", "Tumor", bow, None))
    assert "Bow" in tab.layer.features["name"].tolist()
    assert tab._answer.found is not None


def test_a_dropped_file_is_read_and_without_a_slide_refused(
    qtbot: Any, window: Window, tmp_path: Path, make_napari_viewer: Any
) -> None:
    _, tab, _ = window
    paths = [tmp_path / f"{name}.geojson" for name in "ab"]
    for path in paths:
        write_geojson(path, [box(0, 0, EDGE, EDGE)])
    reader = get_reader([str(path) for path in paths])
    assert reader is not None
    reader([str(path) for path in paths])
    qtbot.waitUntil(lambda: {"a", "b"} <= {choice.label for choice in tab.layers.choices}, timeout=20_000)
    settle(qtbot, tab)
    make_napari_viewer()
    with pytest.raises(AnnotationError, match="Open the slide first"):
        reader([str(paths[0])])


def test_other_xml_is_left_to_others(tmp_path: Path) -> None:
    other, asap = tmp_path / "other.xml", tmp_path / "asap.xml"
    other.write_text("<OME/>")
    asap.write_text('<?xml version="1.0"?><ASAP_Annotations><Annotations/></ASAP_Annotations>')
    assert get_reader(str(other)) is None
    assert get_reader(str(asap)) is not None


def test_annotations_stay_on_their_pixels_when_the_scale_is_corrected(
    qtbot: Any, window: Window, tmp_path: Path
) -> None:
    from napari_mil._napari.rescale import change_scale

    viewer, tab, _ = window
    layer = load(qtbot, tab, tmp_path / "a.geojson", box(10, 20, 200, 90))
    change_scale(viewer, tab._slide_layer, (1.1, 1.3))
    assert layer in viewer.layers
    assert tuple(layer.scale) == pytest.approx((1.1, 1.3))
    [back] = annotations_in(layer, tab._slide_layer)()
    assert back.geometry.bounds == pytest.approx((10, 20, 200, 90), abs=1e-6)


def test_lines_keep_their_width_on_the_screen(qtbot: Any, window: Window, tmp_path: Path) -> None:
    viewer, tab, _ = window
    layer = load(qtbot, tab, tmp_path / "a.geojson", box(10, 20, 200, 90))
    on_screen = []
    for zoom in (0.5, 8.0):
        camera(viewer).zoom = zoom
        qtbot.wait(150)
        on_screen.append(layer.edge_width[0] * layer.scale[0] * zoom)
    assert on_screen == pytest.approx([2.5, 2.5], rel=0.25)


def grid_of_cells(count: int, pitch: float = 10.0) -> list[Annotation]:
    side = int(np.ceil(count**0.5))
    return [
        box(x * pitch, y * pitch, x * pitch + 6, y * pitch + 6, ("Tumor", "Stroma")[(x + y) % 2])
        for y in range(side)
        for x in range(side)
    ][:count]


def test_very_many_outlines_are_shown_still_and_measured(qtbot: Any, window: Window, tmp_path: Path) -> None:
    viewer, tab, _ = window
    many = grid_of_cells(MOST_OUTLINES + 1, 5.0)
    layer = load(qtbot, tab, tmp_path / "many.geojson.gz", *many)
    assert lines_of(layer) is not None
    assert tab._answer.counts == {"Tumor": 1001, "Stroma": 1000}
    drawn = tab._still[layer]
    assert isinstance(drawn, CanvasOutlines)
    camera(viewer).zoom = 0.1  # each a third of a pixel
    qtbot.waitUntil(lambda: drawn.pieces == 0 or not drawn._line.visible)
    qtbot.waitUntil(lambda: layer.data[..., 3].any())
    camera(viewer).center, camera(viewer).zoom = (0, 30, 30), 20.0
    qtbot.waitUntil(lambda: drawn._line is not None and drawn._line.visible)
    qtbot.waitUntil(lambda: not layer.data.any())  # every outline in view has its line
    assert 0 < drawn.pieces < 4 * len(many)
    viewer.layers.remove(layer)
    assert tab._still == {}
    # drawing goes into a layer of its own
    tab.files.draw.click()
    assert tab.layer.mode == "add_polygon_lasso"


def test_still_outlines_lie_where_they_were_drawn() -> None:
    ref = SlideRef("a.tif", "hash", (0.5, 0.25), (3000, 5000))
    square = box(1000, 600, 2000, 1800)
    picture, attributes, _ = still_layer_data([square], ref, "still")
    rows, cols = np.nonzero(picture[..., 3])
    scale, translate = np.array(attributes["scale"]), np.array(attributes["translate"])
    low = (np.array([rows.min(), cols.min()]) - 0.5) * scale + translate
    high = (np.array([rows.max(), cols.max()]) + 0.5) * scale + translate
    mpp, pixel = np.array([0.5, 0.25]), scale
    assert low == pytest.approx((np.array([600, 1000]) - 0.5) * mpp, abs=float(pixel.max()))
    assert high == pytest.approx((np.array([1800, 2000]) - 0.5) * mpp, abs=float(pixel.max()))


def test_rings_in_view_are_the_largest_and_their_pieces_go_around() -> None:
    holed = shapely.box(0, 0, 100, 100).difference(shapely.box(40, 40, 60, 60))
    annotations = [box(500, 500, 503, 503), Annotation("", "Stroma", holed, (1, 2, 3)), box(900, 900, 950, 950)]
    lines = outline_lines(annotations, class_colours(annotations))
    rings, complete = lines.within((-10, -10, 600, 600), least=5)
    assert (rings.tolist(), complete) == ([1, 2], False)  # outer ring before the hole, the speck left to the picture
    ends, colours = lines.segments(rings)
    pieces = ends.reshape(-1, 2, 2)
    length = float(np.linalg.norm(pieces[:, 0] - pieces[:, 1], axis=1).sum())
    assert length == pytest.approx(holed.length)
    assert colours[0] == pytest.approx(np.array([1, 2, 3, 255]) / 255)
    picture = painted(annotations, class_colours(annotations), (1000, 1000))
    assert picture[20, 20, 3] > 0
    assert picture[50, 50, 3] == 0  # the hole


def test_only_what_napari_shows_fast_is_edited() -> None:
    assert editable([])
    assert editable(grid_of_cells(MOST_OUTLINES))
    assert not editable(grid_of_cells(MOST_OUTLINES + 1))
    t = np.linspace(0, 2 * np.pi, 120_000)
    assert not editable([Annotation("", "", shapely.Polygon(np.c_[np.cos(t), np.sin(t)]), None)])


def test_drawn_layers_give_back_what_they_were_made_of(small_slide: Path) -> None:
    with open_slide(small_slide) as slide:
        ref = replace(slide.ref, mpp=(0.5, 0.4))
    parts = shapely.union(shapely.box(0, 0, 50, 60), shapely.box(80, 80, 90, 95))
    given = [Annotation("two", "Tumor", parts, (9, 8, 7)), box(5, 100, 30, 130, "Stroma", "one")]
    from napari.layers import Layer

    layer = Layer.create(*drawn_layer_data(given, ref, "x"))
    under = Layer.create(np.zeros((4, 4)), {"scale": (0.5, 0.4), "metadata": {"napari_mil": {"slide": None}}}, "image")
    back = annotations_in(layer, under)()
    assert (back[0].name, back[0].class_name, back[0].color) == ("two", "Tumor", (9, 8, 7))
    for one, other in zip(given, back, strict=True):
        assert one.geometry.symmetric_difference(other.geometry).area == pytest.approx(0, abs=1e-6)
