"""What of a map is shown, by every control of the Heatmap tab, in the real window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_mil._napari import overlay_shown
from napari_mil._napari.keys import HIDE_KEY, REDO_KEY, UNDO_KEY
from napari_mil._napari.overlay import Overlay, overlay_of
from napari_mil._napari.overlay_data import overlay_layer_data
from napari_mil._napari.reader import read_maps
from napari_mil._napari.settings import HeatmapSettings, read_settings
from napari_mil._napari.widgets.legend import CanvasLegend
from napari_mil._napari.widgets.panel import MILPanel
from napari_mil.features import EncoderInfo
from napari_mil.maps import (
    AttentionMap,
    MapScore,
    Prediction,
    Provenance,
    enlarged,
)
from napari_mil.models import ModelCard
from napari_mil.preferences import read_preferences
from napari_mil.slides import open_slide
from napari_mil.tiling import TileGrid

RAW = np.array([0.05, 0.4, 0.1, 0.2, 0.15, 0.1], np.float32)


@pytest.fixture(scope="module")
def amap(small_slide: Path) -> AttentionMap:
    """Six patches in two rows on the small slide."""
    with open_slide(small_slide) as slide:
        ref = slide.ref
    l0_rc = np.array([(r * 128, c * 128) for r in range(2) for c in range(3)], np.int64)
    mpp = 0.5 if ref.mpp is None else ref.mpp[0]
    return AttentionMap(
        scores={
            "attention": MapScore(RAW, "attention"),
            "contribution": MapScore(np.stack([RAW - 0.2, 0.3 - RAW]), "contribution"),
        },
        grid=TileGrid(l0_rc, 128.0, 128.0, 64, 2 * mpp, np.ones(6, np.float32)),
        prediction=Prediction(("normal", "tumour"), np.float32([0, 1]), np.float32([0.3, 0.7])),
        slide=ref,
        encoder=EncoderInfo("colour-texture", "1", "", 96, 64, 2 * mpp),
        model=ModelCard("gated-attention", 96, {}, ("normal", "tumour"), title="By hand"),
        default_score="attention",
        provenance=Provenance("0", "2", "3.11", "cpu", None, ""),
    )


@pytest.fixture
def window(open_window: Any, small_slide: Path, amap: AttentionMap) -> tuple[Any, Any, Overlay]:
    from napari_mil._napari.launch import add

    viewer, panel = open_window(small_slide)
    overlay = overlay_of(add(viewer, overlay_layer_data(amap)))
    assert overlay is not None
    return viewer, panel.heatmap_tab, overlay


def seen(overlay: Overlay) -> int:
    """How many cells of the layer are not transparent."""
    return int(np.isfinite(overlay.layer.data).sum())


def test_thresholds_by_share_number_and_area_hold_when_the_score_changes(window: Any) -> None:
    _, tab, overlay = window
    fields = tab.threshold
    fields.by.choose("count")
    fields.amount.setValue(2)
    assert seen(overlay) == 2
    assert "<b>2</b> of 6 patches" in fields.above.text()
    tab.score.choose("contribution")  # 0.5 - 2 raw: two patches of one value stay together
    assert (seen(overlay), fields.amount.value(), overlay.settings.cut_by) == (3, 2, "count")
    assert "<b>3</b> of 6 patches" in fields.above.text()
    tab.klass.choose(0)
    assert (seen(overlay), fields.amount.value()) == (2, 2)
    fields.by.choose("area")
    assert fields.amount.suffix() == " mm²"
    assert fields.amount.value() == pytest.approx(2 * overlay.map.grid.tile_mm2, abs=6e-4)
    fields.by.choose("percentile")
    fields.amount.setValue(50)
    assert seen(overlay) == 3
    fields.by.choose("value")
    tab.scale.choose("contribution")
    fields.amount.setValue(0.0)
    assert seen(overlay) == int((RAW - 0.2 - (0.3 - RAW) >= 0).sum())


def test_below_shows_the_others_and_the_legend_says_so(window: Any) -> None:
    _, tab, overlay = window
    tab.threshold.by.choose("count")
    tab.threshold.amount.setValue(2)
    upper = np.isfinite(overlay.layer.data)
    tab.threshold.inverted.setChecked(True)
    np.testing.assert_array_equal(np.isfinite(overlay.layer.data), ~upper)
    assert "Below" in overlay.legend()
    assert "4 of 6 patches" in overlay.legend()


def test_the_histogram_counts_every_patch_and_marks_even_attention(window: Any) -> None:
    _, tab, overlay = window
    tab.scale.choose("ratio")
    histogram = tab.threshold.histogram
    assert histogram.counts.sum() == 6
    assert histogram.even == pytest.approx(1)
    low, high = overlay.limits
    places = (np.log10(RAW * 6) - np.log10(low)) / (np.log10(high) - np.log10(low))
    expected, _ = np.histogram(places, bins=len(histogram.counts), range=(0, 1))
    np.testing.assert_array_equal(histogram.counts, expected)
    tab.score.choose("contribution")
    assert histogram.even is None


def test_what_lies_beyond_the_limits_presses_no_bar_flat(window: Any) -> None:
    histogram = window[1].threshold.histogram
    histogram.counts = np.array([900, *[3] * 57, 6, 40])
    np.testing.assert_allclose(histogram.heights, [1, *[0.5] * 57, 1, 1])
    histogram.counts = np.array([5, *[0] * 59])
    np.testing.assert_array_equal(histogram.heights, histogram.counts > 0)


def test_smooth_changes_the_drawing_and_no_number(window: Any) -> None:
    _, tab, overlay = window
    tab.threshold.by.choose("count")
    tab.threshold.amount.setValue(3)
    cells, corner, summary = np.isfinite(overlay.layer.data), _corner(overlay), overlay.summary()
    tab.look.smooth.setChecked(True)
    assert overlay.summary() == summary
    np.testing.assert_array_equal(np.isfinite(overlay.layer.data), enlarged(cells, 4))
    np.testing.assert_allclose(_corner(overlay), corner)
    assert "smooth" in overlay.legend().lower()
    tab.look.smooth.setChecked(False)
    np.testing.assert_array_equal(np.isfinite(overlay.layer.data), cells)
    np.testing.assert_allclose(_corner(overlay), corner)


def _corner(overlay: Overlay) -> np.ndarray:
    """Return the layer's first and last corner in the world."""
    layer = overlay.layer
    ends = np.array([[-0.5, -0.5], np.array(layer.data.shape) - 0.5])
    return np.array(layer.translate) + ends * np.array(layer.scale)


def test_the_outline_is_drawn_around_what_is_shown(window: Any) -> None:
    viewer, tab, overlay = window
    tab.threshold.by.choose("count")
    tab.threshold.amount.setValue(1)
    [line] = tab._outlines.values()
    assert line.runs == 0
    tab.look.outlined.setChecked(True)
    assert line.runs == 4
    before = viewer.screenshot(canvas_only=True, flash=False)
    tab.threshold.amount.setValue(6)
    assert line.runs == 4  # one rectangle
    assert (viewer.screenshot(canvas_only=True, flash=False) != before).any()
    viewer.layers.remove(overlay.layer)
    assert not tab._outlines


def test_colours_are_the_layers_and_fit_the_score(window: Any) -> None:
    _, tab, overlay = window
    tab.look.colours.choose("magma")
    assert (overlay.layer.colormap.name, overlay.colours) == ("magma", "magma")
    tab.score.choose("contribution")
    assert overlay.settings.scale == "contribution"
    assert overlay.layer.colormap.name == "BrBG"
    assert [choice.value for choice in tab.look.colours.choices] == ["BrBG", "PuOr", "RdBu"]


def test_the_mouse_reads_the_patch_under_it(window: Any) -> None:
    _, _, overlay = window
    scale = np.array(overlay.map.slide.mpp or (1.0, 1.0))
    assert overlay.patch_at(np.array([64, 192]) * scale) == 1
    words = overlay.words_at(np.array([64, 192]) * scale)
    assert "raw 0.4, 1 of 6 from the top, percentile 100, contribution" in words
    assert overlay.words_at(np.array([-500.0, 0.0])) == ""


def test_undo_goes_back_step_by_step_and_redo_forward(window: Any) -> None:
    viewer, tab, overlay = window
    keys = {str(binding): action for binding, action in viewer.keymap.items()}
    undo, redo = (keys[name] for name in _names(UNDO_KEY.combination, REDO_KEY.combination))
    tab.scale.choose("ratio")
    tab.threshold.slider.setValue(400)
    tab.threshold.slider.setValue(500)  # one drag
    threshold = overlay.settings.threshold
    undo(viewer)
    assert (overlay.settings.scale, overlay.settings.threshold) == ("ratio", overlay.limits[0])
    assert seen(overlay) == 6
    undo(viewer)
    assert overlay.settings.scale == "rank"
    assert tab.scale.current.value == "rank"
    undo(viewer)  # nothing left
    redo(viewer)
    redo(viewer)
    assert (overlay.settings.scale, overlay.settings.threshold) == ("ratio", threshold)
    assert seen(overlay) == int((np.float32(threshold) <= RAW * 6).sum())


def test_a_cut_by_another_measure_is_one_step(window: Any) -> None:
    _, tab, overlay = window
    before = (overlay.settings.cut_by, overlay.settings.threshold)
    overlay.cut("count", 2)
    assert seen(overlay) == 2
    assert tab.threshold.by.current.value == "count"
    overlay.undo()
    assert (overlay.settings.cut_by, overlay.settings.threshold) == before
    assert seen(overlay) == 6
    assert tab.threshold.by.current.value == "value"
    overlay.cut("percentile", 0)  # hides nothing, as before: still told
    assert tab.threshold.by.current.value == "percentile"


def test_score_and_scale_chosen_in_haste_are_two_steps(window: Any) -> None:
    _, tab, overlay = window
    tab.scale.choose("ratio")
    tab.scale.choose("robust")  # the same control within a second: one
    tab.score.choose("contribution")
    overlay.undo()
    assert (overlay.settings.score, overlay.settings.scale) == ("attention", "robust")
    overlay.undo()
    assert overlay.settings.scale == "rank"


def _names(*combinations: str) -> list[str]:
    from napari.utils.key_bindings import coerce_keybinding

    return [str(coerce_keybinding(combination)) for combination in combinations]


def test_holding_the_key_hides_the_map(window: Any) -> None:
    viewer, tab, overlay = window
    held = next(action for binding, action in viewer.keymap.items() if str(binding) == HIDE_KEY.combination)(viewer)
    next(held)
    assert not overlay.layer.visible
    assert not tab.look.visible_box.isChecked()
    next(held, None)
    assert overlay.layer.visible


def test_no_map_is_shown_or_told_of_over_another_slide(
    window: Any, amap: AttentionMap, sparse_slide: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    from napari_mil._napari import session as sessions
    from napari_mil._napari.launch import add
    from napari_mil._napari.layers import slide_of
    from napari_mil._napari.navigation import front_slide

    viewer, tab, first = window
    legend = tab.window().findChild(MILPanel).legend
    said: list[str] = []
    monkeypatch.setattr(sessions, "show_warning", said.append)
    viewer.open(str(sparse_slide(tmp_path / "other.tif", (2000, 2000), 0.5)), plugin="napari-mil")
    other = front_slide(viewer)
    ref = slide_of(other).ref
    assert not first.layer.visible
    assert not legend.isVisible()
    second = overlay_of(add(viewer, overlay_layer_data(replace(amap, slide=ref))))
    assert tab.overlay is second

    tab.map.choose(first.layer)  # another slide's map, from the list
    assert slide_of(front_slide(viewer)).quickhash == amap.slide.quickhash
    assert [first.layer.visible, second.layer.visible] == [True, False]
    sessions.attach(viewer).bring_forward(other)
    assert tab.overlay is second
    assert [first.layer.visible, second.layer.visible] == [False, True]

    viewer.layers.remove(other)  # its map stays in the list, but not over what comes to the front
    assert [first.layer.visible, second.layer.visible] == [True, False]
    assert tab.overlay is first
    stray = add(
        viewer, overlay_layer_data(replace(amap, slide=replace(ref, path="/far/away.svs", quickhash="0f" * 32)))
    )
    assert not stray.visible
    assert "away.svs" in said[0]
    assert first.layer.visible
    assert legend.isVisible()
    viewer.open(ref.path, plugin="napari-mil")
    assert [first.layer.visible, second.layer.visible] == [False, True]
    # opened after its map, the slide lies below it
    qtbot.waitUntil(lambda: viewer.layers.index(front_slide(viewer)) < viewer.layers.index(second.layer))
    assert [first.layer.visible, second.layer.visible] == [False, True]


def test_how_a_map_is_shown_is_saved_with_it_and_comes_back(window: Any, tmp_path: Path) -> None:
    viewer, tab, overlay = window
    tab.score.choose("contribution")
    tab.threshold.by.choose("count")
    tab.threshold.amount.setValue(2)
    tab.look.colours.choose("RdBu")
    tab.look.opacity.setValue(300)
    [saved] = _save(overlay, tmp_path)
    from napari_mil._napari.launch import add

    again = overlay_of(add(viewer, read_maps(saved)[0]))
    assert again is not None
    assert again.settings.to_record() == overlay.settings.to_record()
    np.testing.assert_array_equal(again.layer.data, overlay.layer.data)
    assert again.layer.opacity == pytest.approx(0.3)


def _save(overlay: Overlay, folder: Path) -> list[str]:
    return list(overlay.layer.save(str(folder / "map.h5"), plugin="napari-mil"))


@pytest.mark.parametrize(
    "record",
    [
        {"score": "gone"},
        {"class_index": 7},
        {"scale": "probability"},
        {"threshold": "high", "opacity": 7, "cut_by": "moon", "look": 3, "inverted": "yes"},
        {"threshold": float("inf"), "colours": "jet"},
    ],
)
def test_settings_of_another_map_or_a_damaged_file_never_break_one(window: Any, record: dict[str, Any]) -> None:
    _, _, overlay = window
    overlay.restore(record)
    assert 0 <= overlay.settings.opacity <= 1
    assert overlay.settings.score in overlay.map.scores
    assert overlay.settings.cut_by == "value"
    assert overlay.layer.colormap.name == "viridis"
    assert overlay.summary().n == 6


def test_settings_survive_a_round_trip() -> None:
    usual = HeatmapSettings("attention", "rank", 0, 0.0)
    kept = replace(usual, threshold=0.7, cut_by="area", inverted=True, look="smooth", outlined=True, colours="magma")
    assert read_settings(kept.to_record(), usual) == kept
    assert read_settings({}, usual) == usual


def _peaked(amap: AttentionMap) -> AttentionMap:
    """The same with 120 patches, whose contributions go from -1 to 1 and, in two patches, far beyond."""
    evidence = np.float32([*np.linspace(-1, 1, 118), -60, 80])
    l0_rc = np.array([(r * 32, c * 32) for r in range(10) for c in range(12)], np.int64)
    grid = replace(amap.grid, l0_rc=l0_rc, tile_l0=32.0, stride_l0=32.0, tissue_fraction=np.ones(120, np.float32))
    scores = {"contribution": MapScore(np.stack([-evidence / 2, evidence / 2]), "contribution")}
    return replace(amap, scores=scores, grid=grid, default_score="contribution")


def test_thresholds_reach_what_the_colours_do_not(window: Any, amap: AttentionMap) -> None:
    from napari_mil._napari.launch import add

    viewer, tab, _ = window
    overlay = overlay_of(add(viewer, overlay_layer_data(_peaked(amap))))
    tab.choose_map(overlay.layer)
    assert overlay.limits == (-60, 60)  # of 120 patches one lies beyond
    assert "1 patch beyond, up to 80" in overlay.legend()
    assert overlay.shows_all
    assert tab.threshold.slider.value() == 0
    tab.threshold.by.choose("count")
    tab.threshold.amount.setValue(1)
    assert (seen(overlay), overlay.settings.threshold) == (1, 80)
    tab.threshold.by.choose("value")
    assert tab.threshold.amount.value() == 80
    tab.threshold.slider.setValue(0)
    assert overlay.shows_all
    assert seen(overlay) == 120


def test_a_threshold_kept_before_colours_ended_at_a_percentile_means_the_same(amap: AttentionMap) -> None:
    peaked = _peaked(amap)
    record = HeatmapSettings("contribution", "contribution", 1, -80.0).to_record()  # all shown, limits were extremes
    for threshold, count in ((-80.0, 120), (-1.0, 119), (0.0, 60), (70.0, 1)):
        layer = _layer(peaked, record | {"threshold": threshold})
        overlay = overlay_of(layer)
        assert seen(overlay) == count
        assert overlay.shows_all == (threshold == -80)


def _layer(amap: AttentionMap, record: dict[str, Any]) -> Any:
    from napari.layers import Layer

    return Layer.create(*overlay_layer_data(amap, record))


def dragged(grip: Any, right: int, down: int) -> None:
    """Take the legend by its title, move the mouse, and let go."""
    left, start = Qt.MouseButton.LeftButton, QPoint(40, 10)
    QTest.mousePress(grip, left, pos=start)
    for part in (0.5, 1.0):  # the title moves along: places are its own
        at = grip.mapFromGlobal(grip.mapToGlobal(start) + QPoint(round(right * part), round(down * part)))
        here = QPointF(at)
        event = QMouseEvent(
            QEvent.Type.MouseMove, here, QPointF(grip.mapToGlobal(at)), left, left, Qt.KeyboardModifier.NoModifier
        )
        QApplication.sendEvent(grip, event)
        right, down = round(right * (1 - part)), round(down * (1 - part))
    QTest.mouseRelease(grip, left, pos=start)


def test_the_legend_is_dragged_to_another_corner_and_found_there_again(window: Any) -> None:
    viewer, tab, _ = window
    canvas = viewer.window._qt_window.centralWidget()
    legend = tab.window().findChild(MILPanel).legend
    assert (legend.corner, legend.geometry().right() > canvas.width() / 2) == ("top right", True)
    dragged(legend.grip, -30, 20)
    assert legend.corner == "top right", "not far enough"
    dragged(legend.grip, -canvas.width() // 2, canvas.height() // 2)
    assert legend.corner == "bottom left"
    assert canvas.rect().contains(legend.geometry())
    assert legend.geometry().contains(legend.grip.geometry())
    assert (legend.x() < 20, legend.geometry().bottom() > canvas.height() / 2) == (True, True)
    assert CanvasLegend(canvas).corner == "bottom left"
    for key, corner in (
        (Qt.Key.Key_Up, "top left"),
        (Qt.Key.Key_Right, "top right"),
        (Qt.Key.Key_Down, "bottom right"),
    ):
        QTest.keyClick(legend.grip, key)
        assert legend.corner == corner
    assert read_preferences().legend_corner == "bottom right"
    one = CanvasLegend(canvas, left=True)  # the first of two maps
    assert one.corner == "bottom left"
    one.move_to("top right")
    assert (one.corner, read_preferences().legend_corner) == ("top left", "bottom right")


def test_the_legend_folds_up_to_its_title_and_lets_the_mouse_through(window: Any) -> None:
    viewer, tab, overlay = window
    canvas = viewer.window._qt_window.centralWidget()
    legend = tab.window().findChild(MILPanel).legend
    whole, text = legend.geometry(), legend.text
    assert legend.grip.title == text.split("\n")[0]
    assert canvas.childAt(whole.center()) not in (legend, legend.grip, *legend.children())
    assert canvas.childAt(legend.grip.geometry().center()) is legend.grip
    QTest.mouseClick(legend.grip, Qt.MouseButton.LeftButton, pos=legend.grip.arrow.center())
    assert legend.folded
    assert legend.height() <= 24
    assert (legend.grip.title, legend.text) == ("Attention", text)
    tab.score.choose("contribution")
    assert legend.grip.title == "Contribution to the prediction: tumour"
    overlay.layer.visible = False
    assert not legend.grip.isVisible()
    overlay.layer.visible = True
    assert legend.grip.isVisible()
    assert CanvasLegend(canvas).folded
    QTest.keyClick(legend.grip, Qt.Key.Key_Space)
    tab.score.choose("attention")
    assert (legend.folded, legend.geometry(), legend.text) == (False, whole, text)
    assert not read_preferences().legend_folded


def test_the_canvas_draws_each_change_without_a_refresh(qtbot: Any, window: Any) -> None:
    viewer, tab, overlay = window
    qtbot.wait(50)

    def screen() -> Any:
        return viewer.screenshot(canvas_only=True, flash=False)

    before = screen()
    tab.scale.choose("ratio")
    overlay.cut("count", 2)
    changed = screen()
    assert (changed != before).any()
    overlay.layer.refresh()
    np.testing.assert_array_equal(screen(), changed)
    overlay.layer.visible = False
    overlay.cut("count", 4)
    overlay.layer.visible = True
    assert (screen() != changed).any()
    overlay.cut("count", 2)
    np.testing.assert_array_equal(screen(), changed)
    tab.look.smooth.setChecked(True)
    smooth = screen()
    assert (smooth != changed).any()
    overlay.layer.scale = overlay.layer.scale  # tells everyone of its place
    np.testing.assert_array_equal(screen(), smooth)
    overlay.layer.visible = False
    tab.look.smooth.setChecked(False)
    overlay.layer.visible = True
    np.testing.assert_array_equal(screen(), changed)


def test_what_may_be_chosen_next_is_made_while_the_hand_rests(
    qtbot: Any, window: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tab, overlay = window

    def rest() -> None:
        qtbot.waitUntil(lambda: not tab.look_ahead.waiting, timeout=20_000)

    def refuse(*_: Any) -> None:
        raise AssertionError("this should have been at hand")

    choices = [
        lambda: tab.scale.choose("ratio"),
        lambda: tab.look.smooth.setChecked(True),
        lambda: tab.score.choose("contribution"),
        lambda: tab.klass.choose(0),
        lambda: tab.scale.choose("rank"),
        lambda: tab.look.smooth.setChecked(False),
    ]
    for choose in choices:
        rest()
        with monkeypatch.context() as patch:
            patch.setattr(overlay_shown.ShownViews, "_made", refuse)
            choose()
        chosen = overlay.settings
        expected = overlay.map.display(chosen.score, chosen.scale, chosen.class_index)
        np.testing.assert_array_equal(overlay.view.values, expected)
    rest()
    assert overlay.ahead() is None, "nothing is made twice"
