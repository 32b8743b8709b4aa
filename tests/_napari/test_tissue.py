"""Tissue in the real window: shown, painted, read, saved, and what a run makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely

from napari_mil._napari.layers import annotation_layer_data, slide_of
from napari_mil._napari.overlay import overlay_of
from napari_mil._napari.tissue import mask_of, read_mask, read_outlines
from napari_mil.annotations import Annotation, read_tissue, write_geojson
from napari_mil.slides import open_slide
from napari_mil.tiling import find_tissue


def grid_of(viewer):
    [overlay] = [overlay_of(layer) for layer in viewer.layers if overlay_of(layer) is not None and layer.visible]
    return overlay.map.grid


@pytest.fixture
def shown(open_window, qtbot, small_slide: Path):
    """Return a function that gives viewer, panel, the slide's layer and the layer of its tissue mask."""

    def show():
        viewer, panel = open_window(small_slide)
        slide_layer = next(layer for layer in viewer.layers if slide_of(layer))
        fields = panel.run_tab.tissue
        fields.show_tissue.click()
        assert not fields.show_tissue.isEnabled()
        qtbot.waitUntil(fields.show_tissue.isEnabled, timeout=30_000)
        return viewer, panel, slide_layer, fields.choice.current.value

    return show


def test_the_mask_lies_exactly_on_the_slide(shown, small_slide: Path) -> None:
    viewer, panel, slide_layer, mask = shown()
    assert mask_of(mask) == slide_of(slide_layer).quickhash
    with open_slide(small_slide) as slide:
        found = find_tissue(slide)
    assert np.array_equal(mask.data > 0, found.mask)
    assert str(mask.units[0]) == "micrometer"
    # napari's whole numbers are pixel centres: the outer corners are half a pixel beyond, of either layer's pixels
    for corner in (np.zeros(2), np.ones(2)):
        on_mask = mask.data_to_world(corner * mask.data.shape - 0.5)
        on_slide = np.asarray(slide_layer.translate) + (corner * slide_of(slide_layer).shape - 0.5) * slide_layer.scale
        np.testing.assert_allclose(on_mask, on_slide, atol=1e-6)
    assert viewer.layers.selection.active is mask
    assert viewer.layers.index(mask) == viewer.layers.index(slide_layer) + 1
    assert "brush (2)" in panel.run_tab.status.text()
    assert mask.selected_label == 1


def test_a_painted_mask_is_what_the_run_keeps_to(shown, run_panel) -> None:
    viewer, panel, slide_layer, mask = shown()
    half = mask.data.shape[1] // 2
    mask.data[:, :half] = 0
    mask.paint((2, mask.data.shape[1] - 3), 5)  # napari's own brush
    run_panel(panel)
    grid = grid_of(viewer)
    edge = half * slide_of(slide_layer).shape[1] / mask.data.shape[1]
    assert len(grid) > 0
    assert (grid.l0_rc[:, 1] + grid.tile_l0 * 0.75 >= edge - 1).all()
    [outline] = [layer for layer in viewer.layers if layer.name.startswith("Tissue of")]
    painted_key = outline.metadata["napari_mil"]["tissue_key"]
    assert panel.run_tab.tissue.choice.current.value is mask
    panel.run_tab.tissue.choice.choose("colour")
    run_panel(panel)
    assert len(grid_of(viewer)) > len(grid)
    [outline] = [layer for layer in viewer.layers if layer.name.startswith("Tissue of")]
    assert outline.metadata["napari_mil"]["tissue_key"] != painted_key


def test_an_unaltered_mask_reads_no_patch_again(shown, run_panel, own_folders: Path) -> None:
    _, panel, _, _ = shown()
    run_panel(panel)
    files = sorted(path.name for path in (own_folders / "features").iterdir())
    panel.run_tab.tissue.choice.choose("colour")
    run_panel(panel)
    assert sorted(path.name for path in (own_folders / "features").iterdir()) == files


def test_an_erased_mask_is_said_to_be_empty(shown, run_panel) -> None:
    _, panel, _, mask = shown()
    mask.data[:] = 0
    run_panel(panel)
    assert 'The tissue mask (layer "Tissue mask") is empty' in panel.run_tab.status.text()


def test_showing_twice_makes_one_layer(shown) -> None:
    viewer, panel, _, mask = shown()
    mask.visible = False
    panel.run_tab.tissue.choice.choose("colour")
    panel.run_tab.tissue.show_tissue.click()
    assert [layer for layer in viewer.layers if mask_of(layer)] == [mask]
    assert mask.visible
    assert panel.run_tab.tissue.choice.current.value is mask


def test_a_mask_goes_through_a_file(shown, qtbot, small_slide: Path, tmp_path: Path) -> None:
    viewer, panel, slide_layer, mask = shown()
    fields = panel.run_tab.tissue
    mask.data[:, : mask.data.shape[1] // 2] = 0
    fields.write_file(tmp_path / "half.geojson")
    assert str(tmp_path) in panel.run_tab.status.text()
    with open_slide(small_slide) as slide:
        assert np.array_equal(read_tissue(tmp_path / "half.geojson", slide).mask, mask.data > 0)
    fields.read_file(tmp_path / "half.geojson")
    qtbot.waitUntil(lambda: fields.choice.current.value is not mask, timeout=30_000)
    again = fields.choice.current.value
    assert np.array_equal(read_mask(again, slide_layer).mask, mask.data > 0)
    fields.read_file(tmp_path / "none.geojson")
    qtbot.waitUntil(fields.open.isEnabled, timeout=30_000)
    assert "no annotation file" in panel.run_tab.status.text()
    assert len([layer for layer in viewer.layers if mask_of(layer)]) == 2
    fields.choice.choose("colour")
    assert not fields.save.isEnabled()


def test_a_corrected_scale_takes_the_mask_along(shown, run_panel) -> None:
    viewer, panel, slide_layer, mask = shown()
    before = read_mask(mask, slide_layer)
    panel.run_tab.scale.change.click()
    panel.run_tab.scale.entry.setValue(0.4)
    panel.run_tab.scale.entry.editingFinished.emit()
    assert mask in viewer.layers
    assert panel.run_tab.tissue.choice.current.value is mask
    after = read_mask(mask, slide_layer)
    assert after.mpp == (0.4, 0.4)
    assert after.l0_per_px == before.l0_per_px
    np.testing.assert_allclose(mask.scale, np.multiply(before.l0_per_px, 0.4))
    run_panel(panel)
    assert grid_of(viewer).tile_l0 == pytest.approx(64 / 0.4)


def test_layers_that_cannot_be_a_mask_are_greyed_with_the_reason(shown) -> None:
    viewer, panel, slide_layer, _ = shown()
    viewer.add_labels(np.ones((50, 60), int), name="elsewhere", scale=(1, 1))
    own = viewer.add_labels(
        np.ones((6, 8), int), name="coarse", scale=(100, 100), translate=(49.75, 49.75), units=slide_layer.units
    )
    reasons = {choice.label: choice.reason for choice in panel.run_tab.tissue.choice.choices}
    assert reasons["Layer: elsewhere"] == "It does not lie exactly on the slide."
    assert reasons["Layer: coarse"] == ""
    assert reasons["Inside annotations"] == "Draw or load outlines first."
    assert read_mask(own, slide_layer).l0_per_px == (200.0, 200.0)


def test_only_what_lies_inside_drawn_outlines_is_run(open_window, run_panel, small_slide: Path) -> None:
    viewer, panel = open_window(small_slide)
    # microns, as one draws over the slide: rows 0 to 600, columns 200 to 500
    drawn = viewer.add_shapes(
        [[[0, 200], [0, 500], [600, 500], [600, 200]]],
        shape_type="polygon",
        name="drawn",
        units=viewer.layers[0].units,
    )
    panel.run_tab.tissue.choice.choose(drawn)
    run_panel(panel)
    grid = grid_of(viewer)
    left = grid.l0_rc[:, 1] * 0.5
    # a quarter of a tile of 64 um at least is inside
    assert len(grid) > 0
    assert (left + 64 >= 200 + 16 - 8).all()
    assert (left <= 500 - 16 + 8).all()
    for layer in list(viewer.layers):
        if layer is drawn:
            layer.data = []
    panel.tabs.setCurrentWidget(panel.run_tab)
    run_panel(panel)
    assert "no outline in annotations that encloses an area" in panel.run_tab.status.text()


def test_outlines_are_read_back_to_the_pixel(open_window, small_slide: Path) -> None:
    viewer, _ = open_window(small_slide)
    slide_layer = viewer.layers[0]
    holed = shapely.Polygon(
        [(100, 100), (700, 120), (650, 800), (90, 700)], [[(200, 200), (400, 220), (380, 500), (210, 480)]]
    )
    inside = shapely.box(250, 250, 300, 300)  # an outline of its own in the other's hole
    line = shapely.LineString([(0, 0), (50, 60)])
    given = [Annotation("", "", shape, None) for shape in (holed, inside, line)]
    from napari_mil._napari.launch import add

    layer = add(viewer, annotation_layer_data(given, (0.5, 0.5), 1600, "loaded"))
    back = [annotation.geometry for annotation in read_outlines(layer, slide_layer)]
    assert len(back) == 2
    for expected, found in zip((holed, inside), back, strict=True):
        assert shapely.symmetric_difference(expected, found).area < 1e-3 * expected.area
    layer.add_ellipses([[[800, 800], [800, 1200], [1000, 1200], [1000, 800]]])
    layer.add_rectangles([[[10, 10], [10, 30], [20, 30], [20, 10]]])
    *_, ellipse, rectangle = [annotation.geometry for annotation in read_outlines(layer, slide_layer)]
    assert ellipse.area == pytest.approx(np.pi * 200 * 100, rel=3e-3)
    assert ellipse.centroid.coords[0] == pytest.approx((1000, 900), abs=0.01)
    assert rectangle.bounds == pytest.approx((10, 10, 30, 20), abs=1e-6)


def test_with_a_mask_the_window_still_fits_a_laptop_screen(shown, qtbot) -> None:
    viewer, panel, _, _ = shown()
    qtbot.wait(300)
    assert viewer.window.geometry()[3] <= 768
    fields = panel.run_tab.tissue
    for button in (fields.show_tissue, fields.open, fields.save):
        assert button.width() >= button.fontMetrics().horizontalAdvance(button.text())


def test_closing_while_tissue_is_looked_for_is_quiet(open_window, qtbot, small_slide: Path) -> None:
    from superqt.utils import WorkerBase

    viewer, panel = open_window(small_slide)
    panel.run_tab.tissue.show_tissue.click()
    viewer.close()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=20_000)


def test_a_file_for_another_slide_is_refused(open_window, qtbot, small_slide: Path, tmp_path: Path) -> None:
    viewer, panel = open_window(small_slide)
    write_geojson(tmp_path / "far.geojson", [Annotation("", "", shapely.box(9e4, 9e4, 9.9e4, 9.9e4), None)])
    panel.run_tab.tissue.read_file(tmp_path / "far.geojson")
    qtbot.waitUntil(panel.run_tab.tissue.open.isEnabled, timeout=30_000)
    assert "They belong to another slide" in panel.run_tab.status.text()
    assert not [layer for layer in viewer.layers if mask_of(layer)]
