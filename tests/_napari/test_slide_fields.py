"""Scale and colours of the slide shown: said, changed at once, found again at the next opening."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_mil._napari.layers import mpp_of, slide_layer_data, slide_of
from napari_mil._napari.viewers import camera
from napari_mil._napari.widgets.canvas_note import NO_SCALE
from napari_mil.preferences import keep_scale, keep_true_colours, preferences_file, read_preferences
from napari_mil.slides import open_slide


def enter(panel, mpp: float) -> None:
    """Click Change where there is a scale, type a number and leave the field."""
    scale = panel.run_tab.scale
    if not scale.change.isHidden():
        scale.change.click()
    assert not scale.entry.isHidden()
    scale.entry.setValue(mpp)
    scale.entry.editingFinished.emit()


def test_any_scale_can_be_corrected_and_taken_back(open_window, small_slide: Path) -> None:
    viewer, panel = open_window(small_slide)
    layer, field = viewer.layers[0], panel.run_tab.scale
    assert field.text.text() == "0.5 µm/px, from file"
    assert field.entry.isHidden()
    drawn = viewer.add_shapes(
        [np.array([[0, 0], [100, 0], [100, 100]])], shape_type="polygon", scale=(0.5, 0.5), translate=(-0.25, -0.25)
    )
    elsewhere = viewer.add_points([[1, 1]], scale=(3, 3))
    enter(panel, 0.25)
    assert field.text.text() == "0.25 µm/px, set by you"
    assert "The file states 0.5 µm/px." in field.text.toolTip()
    assert tuple(layer.scale) == (0.25, 0.25)
    assert mpp_of(layer) == (0.25, 0.25)
    # what people drew stays on the pixels it was drawn on
    assert tuple(drawn.scale) == (0.25, 0.25)
    assert tuple(drawn.translate) == (-0.125, -0.125)
    assert tuple(elsewhere.scale) == (3, 3)
    assert read_preferences().scales[slide_of(layer).quickhash].mpp == (0.25, 0.25)
    panel.run_tab.slide.choose(layer)
    request = panel.run_tab.request()
    assert request is not None
    assert request.slide_mpp == (0.25, 0.25)
    enter(panel, 0)
    assert field.text.text() == "0.5 µm/px, from file"
    assert tuple(layer.scale) == tuple(drawn.scale) == (0.5, 0.5)
    assert read_preferences().scales == {}


def test_leaving_the_field_untouched_changes_nothing(open_window, shared_data: Path) -> None:
    viewer, panel = open_window(shared_data / "slides" / "duodenum-giardiasis-40x.tif")
    before = tuple(viewer.layers[0].scale)
    panel.run_tab.scale.change.click()
    panel.run_tab.scale.entry.editingFinished.emit()
    assert panel.run_tab.scale.entry.isHidden()
    assert tuple(viewer.layers[0].scale) == before
    assert read_preferences().scales == {}


def test_a_scale_set_once_is_there_at_the_next_opening(small_slide: Path) -> None:
    with open_slide(small_slide) as slide:
        keep_scale(slide.quickhash, (0.3, 0.3))
        _, attributes, _ = slide_layer_data(slide)
        assert attributes["scale"] == (0.3, 0.3)
        assert attributes["metadata"]["napari_mil"]["mpp"] == (0.3, 0.3)
        # headless reading is what the file says
        assert slide.mpp == pytest.approx((0.5, 0.5))
    with open_slide(small_slide, mpp=0.7) as slide:
        _, attributes, _ = slide_layer_data(slide)
        assert attributes["scale"] == (0.7, 0.7)


def test_no_scale_is_said_on_the_canvas_until_there_is_one(
    make_napari_viewer, qtbot, own_folders: Path, shared_data: Path, small_slide: Path
) -> None:
    from napari_mil._napari.launch import add, show_panel
    from napari_mil._napari.reader import read_slides

    viewer = make_napari_viewer(show=True)
    panel = show_panel(viewer)
    qtbot.waitUntil(lambda: panel.no_scale is not None, timeout=20_000)
    note = panel.no_scale
    assert note.isHidden()
    add(viewer, read_slides(str(shared_data / "slides" / "tcga-jp2k-no-mpp.svs"))[0])
    assert note.isVisible()
    assert note.text() == NO_SCALE
    assert note.geometry().bottom() < note.parentWidget().height()
    enter(panel, 0.25)
    assert note.isHidden()
    assert "no scale" not in viewer.layers[0].name
    enter(panel, 0)
    assert note.isVisible()
    assert str(viewer.layers[0].units[0]) == "pixel"
    add(viewer, read_slides(str(small_slide))[0])  # whose scale is known
    assert note.isHidden()
    viewer.layers.selection.active = viewer.layers[0]
    assert note.isVisible()
    viewer.layers.clear()
    assert note.isHidden()


def test_pixels_that_are_not_square(open_window, tmp_path: Path) -> None:
    path = tmp_path / "wide.tif"
    rgb = np.full((600, 600, 3), 200, np.uint8)
    resolution = (1e4 / 0.5, 1e4 / 0.25)
    tifffile.imwrite(path, rgb, tile=(256, 256), photometric="rgb", resolution=resolution, resolutionunit="CENTIMETER")
    viewer, panel = open_window(path)
    assert panel.run_tab.scale.text.text() == "0.5 x 0.25 µm/px"
    np.testing.assert_allclose(viewer.layers[0].scale, (0.25, 0.5), rtol=1e-5)


def test_colours_are_switched_at_once_and_remembered(open_window, profiled_slide: Path) -> None:
    viewer, panel = open_window(profiled_slide)
    layer, switch = viewer.layers[0], panel.run_tab.colours
    slide = slide_of(layer)
    assert switch.isEnabled()
    assert switch.isChecked()
    stored = slide.read(0, 300, 400, 64, 64)
    np.testing.assert_array_equal(layer.data[0][300:364, 400:464], slide.to_srgb(stored))
    switch.click()
    np.testing.assert_array_equal(layer.data[0][300:364, 400:464], stored)
    assert not read_preferences().true_colours
    np.testing.assert_array_equal(slide_layer_data(slide)[0][0][300:364, 400:464], stored)
    switch.click()
    np.testing.assert_array_equal(layer.data[0][300:364, 400:464], slide.to_srgb(stored))
    assert read_preferences().true_colours


def test_without_a_profile_there_is_nothing_to_switch(open_window, small_slide: Path, shared_data: Path) -> None:
    keep_true_colours(True)
    viewer, panel = open_window(small_slide)
    switch = panel.run_tab.colours
    assert not switch.isEnabled()
    assert not switch.isChecked()
    assert switch.toolTip() == "Colours are shown as stored: the file has no colour profile."
    with open_slide(shared_data / "slides" / "tcga-jp2k-no-mpp.svs") as slide:
        data, attributes, _ = slide_layer_data(slide)
        viewer.add_image(data, **attributes)
        assert "already" in switch.toolTip()


def test_where_nothing_can_be_kept_it_still_holds(
    open_window, small_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NAPARI_MIL_CONFIG", str(tmp_path / "file" / "config"))
    viewer, panel = open_window(small_slide)
    enter(panel, 0.25)
    assert tuple(viewer.layers[0].scale) == (0.25, 0.25)
    assert "not kept" in panel.run_tab.status.text()
    assert not preferences_file().exists()


def test_what_was_scanned_fills_the_view(open_window, small_slide: Path) -> None:
    """As in MIRAX files, of which most is nothing: Home shows the tissue, and coordinates stay the file's."""
    viewer, _ = open_window(small_slide)
    layer = viewer.layers[0]
    viewer.reset_view()
    whole_zoom = camera(viewer).zoom
    slide = slide_of(layer)
    slide.properties = {f"openslide.bounds-{k}": v for k, v in zip(("x", "y", "width", "height"), "9731", strict=True)}
    viewer.reset_view()
    assert camera(viewer).zoom > 100 * whole_zoom
    slide.properties = {
        "openslide.bounds-x": "400",
        "openslide.bounds-y": "100",
        "openslide.bounds-width": "300",
        "openslide.bounds-height": "600",
    }
    viewer.reset_view()
    # 0.5 um per pixel, pixel centres on whole numbers
    np.testing.assert_allclose(camera(viewer).center[-2:], ((100 + 300 - 0.5) * 0.5, (400 + 150 - 0.5) * 0.5))
    shown = viewer.screenshot(canvas_only=True, flash=False).shape
    assert camera(viewer).zoom == pytest.approx(0.95 * min(shown[0] / 300, shown[1] / 150), rel=0.02)
    assert tuple(layer.translate) == (0, 0)
