"""The Compare tab in a real window: poolings on kept features, two maps on one view, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

import napari_mil as nm
from napari_mil._napari.navigation import slide_layers
from napari_mil._napari.overlay import overlay_of
from napari_mil._napari.session import attach
from napari_mil._napari.viewers import camera
from napari_mil._napari.widgets.panel import MILPanel
from napari_mil.maps import MapCut, compare_maps
from napari_mil.work_file import read_work


@pytest.fixture
def compared(open_window, run_panel, qtbot, small_slide: Path, own_folders: Path, untrained_model: Path):
    """Return a window with two maps of one slide, the second by Compare poolings."""
    first = nm.load_model(untrained_model)
    other = nm.create_model("clam-sb", in_features=first.card.in_features, class_names=first.card.class_names, seed=5)
    other.card = replace(
        first.card, pooling="clam-sb", config=other.card.config, title="Other", task="Nothing: random weights"
    )
    nm.save_model(own_folders / "models" / "other.safetensors", other)
    viewer, panel = open_window(small_slide)
    panel.run_tab.model.choose(own_folders / "models" / "untrained.safetensors")
    run_panel(panel)
    tab = panel.compare_tab
    assert "two maps of one slide" in tab.fields.note.text()
    assert not tab.fields.beside.isEnabled()
    kept = {path: path.stat().st_mtime_ns for path in (own_folders / "features").iterdir()}
    tab.start_poolings()
    qtbot.waitUntil(lambda: tab.fields.poolings.isEnabled(), timeout=60_000)
    assert {path: path.stat().st_mtime_ns for path in (own_folders / "features").iterdir()} == kept
    panel.tabs.setCurrentWidget(tab)
    return viewer, tab


def test_compare_in_the_window(compared, qtbot) -> None:
    viewer, tab = compared
    panel = tab.window().findChild(MILPanel)
    maps = [one.map for one in map(overlay_of, viewer.layers) if one is not None]
    assert {amap.model.title for amap in maps} >= {"Untrained", "Other"}
    first, second = tab.comparison.maps[:2]
    [pair] = compare_maps([first, second]).pairs
    assert f"{pair.spearman:.2f}" in tab.fields.table.toPlainText()
    before = [overlay_of(layer).settings.to_record() for layer in viewer.layers if overlay_of(layer)]

    tab.fields.mode.choose("swipe")
    assert tab.two.pair.swiping
    assert not panel.legend.isVisible()  # each of the two has its own
    assert all(legend.isVisible() for _, legend in tab.two.legends)
    tab.fields.divider.setValue(250)
    width = tab.two.pair._canvas()._scene_canvas.physical_size[0]
    (_, left), (_, right) = tab.two.pair._clips
    assert left.bounds.right == pytest.approx(width / 4)
    assert right.bounds.left == pytest.approx(width / 4)
    assert len({overlay_of(layer).limits for layer in tab.two.pair.layers}) == 1
    assert all(layer.visible for layer in tab.two.pair.layers)

    tab.fields.mode.choose("blink")
    layers = tab.two.pair.layers
    seen = [layer.visible for layer in layers]
    tab.two.pair.blink()
    assert [layer.visible for layer in layers] == seen[::-1]
    assert sum(seen) == 1

    tab.fields.mode.choose("rank")
    shown = next(layer for layer in viewer.layers if layer.name.startswith("Difference of ranks"))
    assert tuple(shown.contrast_limits) == (-1, 1)
    assert "higher in A" in tab.two.card.text
    tab.fields.mode.choose("off")
    assert shown not in viewer.layers
    assert [overlay_of(layer).settings.to_record() for layer in viewer.layers if overlay_of(layer)] == before


def test_unticking_a_map_ends_what_took_two_and_shows_the_map_that_was_in_front(compared) -> None:
    _, tab = compared
    [front] = [layer for layer in tab._layers if layer.visible]
    tab.fields.mode.choose("rank")
    assert not any(layer.visible for layer in tab._layers)
    tab.fields.mode.choose("off")
    assert [layer for layer in tab._layers if layer.visible] == [front]

    tab.fields.mode.choose("swipe")
    for item in tab.fields.items()[1:]:
        item.setCheckState(Qt.CheckState.Unchecked)
    assert not tab.two.pair.swiping
    assert tab.two.legends == []
    assert tab.fields.mode.current.value == "off"
    assert not tab.fields.mode.isEnabled()
    assert len(tab.fields.scatter.choose_within(np.array([[-1, -1], [2, -1], [2, 2], [-1, 2]]))) == 0
    assert "two maps of one slide" in tab.fields.note.text()
    tab.fields.items()[1].setCheckState(Qt.CheckState.Checked)
    assert tab.fields.mode.isEnabled()
    assert tab.comparison is not None


def test_the_last_map_may_go_while_it_is_one_of_the_two(compared) -> None:
    viewer, tab = compared
    count = len(tab.comparison.maps)
    assert count > 2
    assert [item.text()[0] for item in tab.fields.items()] == [str(k + 1) for k in range(count)]
    tab.fields.second.choose(count - 1)
    tab.fields.mode.choose("swipe")
    tab.fields.items()[-1].setCheckState(Qt.CheckState.Unchecked)
    assert len(tab.comparison.maps) == count - 1
    first, second = tab.fields.numbers
    assert first != second < count - 1
    assert len(tab.fields.scatter._points) == len(tab.comparison.maps[0])
    tab.fields.second.choose(count - 2)
    viewer.layers.remove(tab._layers[-2])
    assert len(tab.comparison.maps) == count - 2 or tab.comparison is None


def test_another_slide_is_not_seen_through_a_comparison(compared, sparse_slide, tmp_path: Path) -> None:
    viewer, tab = compared
    [front] = [layer for layer in tab._layers if layer.visible]
    tab.fields.mode.choose("rank")
    viewer.open(str(sparse_slide(tmp_path / "other.tif", (2000, 2000), 0.5)), plugin="napari-mil")
    assert [layer.name for layer in viewer.layers if layer.visible] == ["other"]
    assert not tab.two.card.isVisible()
    attach(viewer).bring_forward(slide_layers(viewer)[0])
    assert [layer for layer in tab._layers if layer.visible] == [front]
    tab.fields.mode.choose("blink")
    attach(viewer).bring_forward(viewer.layers["other"])
    assert not tab.two.pair.blinking
    assert [layer.name for layer in viewer.layers if layer.visible] == ["other"]


def test_work_saved_and_opened_again_while_two_maps_are_shown_has_their_own_settings(
    compared, qtbot, tmp_path: Path
) -> None:
    viewer, tab = compared
    session, file = attach(viewer), tmp_path / "a.napari-mil"
    shown = [one for one in map(overlay_of, viewer.layers) if one is not None]
    shown[0].choose(scale="ratio")
    shown[0].cut("count", 7)
    shown[0].settings.opacity = 0.35
    own = [(one.settings.to_record(), one.layer.visible) for one in shown]
    for mode in ("swipe", "rank"):
        tab.fields.mode.choose(mode)
        session.work.save(file)
        qtbot.waitUntil(lambda: not session.work.busy, timeout=20_000)
        assert [(dict(one.settings), one.visible) for one in read_work(file).maps] == own
    layers = [*viewer.layers]
    tab.fields.mode.choose("swipe")
    session.work.open(file)
    qtbot.waitUntil(lambda: not session.work.busy, timeout=20_000)
    tab.fields.mode.choose("off")
    assert [(one.settings.to_record(), one.layer.visible) for one in shown] == own
    assert [*viewer.layers] == layers
    shown[0].undo()
    assert shown[0].settings.to_record() == {**own[0][0], "opacity": 0.6}, "no comparison lies between"


def test_the_lasso_marks_patches_on_the_slide_and_the_mouse_marks_the_point(compared, qtbot) -> None:
    viewer, tab = compared
    tab.fields.pages.setCurrentWidget(tab.fields.scatter)
    found = tab.fields.scatter.choose_within(np.array([[0.505, -0.1], [1.1, -0.1], [1.1, 1.1], [0.505, 1.1]]))
    number = tab.fields.first.current.value
    expected = tab.comparison.maps[number].view(
        tab.comparison.views[number].score, "rank", tab.comparison.views[number].class_index
    )
    np.testing.assert_array_equal(found, np.flatnonzero(expected.values > 0.5))
    marked = next(layer for layer in viewer.layers if layer.name == "Chosen patches")
    assert np.isfinite(marked.data).sum() == len(found)
    grid = tab.comparison.maps[number].grid
    centre = (grid.l0_rc[7] + grid.tile_l0 / 2 - 0.5) * 0.5  # microns
    viewer.cursor.position = tuple(centre)
    assert tab.fields.scatter._mark == 7
    tab.fields.scatter.choose_within(np.empty((0, 2)))
    assert marked not in viewer.layers


def test_side_by_side_shares_the_slide_locks_the_cameras_and_opens_at_the_same_field(compared, qtbot) -> None:
    viewer, tab = compared
    camera(viewer).center, camera(viewer).zoom = (0.0, 211.0, 322.0), 3.0
    canvas = tab._canvas().native.size()
    tab.show_side_by_side()
    views = tab.window_of_views
    assert len(views.panes) == min(4, len(tab.comparison.maps))
    slide = slide_layers(viewer)[0]
    assert {id(pane.stream.slide) for pane in views.panes} == {id(slide.data[0].stream.slide)}
    fits = []
    for pane in views.panes:
        assert tuple(camera(pane.model).center)[-2:] == pytest.approx((211, 322))
        native = pane.qt_viewer.canvas.native
        zoom = camera(pane.model).zoom
        fits += [native.height() / zoom / (canvas.height() / 3.0), native.width() / zoom / (canvas.width() / 3.0)]
    assert min(fits) == pytest.approx(1)  # all of the main view's field, and no smaller than need be
    camera(views.panes[0].model).center = (0.0, 123.0, 234.0)
    camera(views.panes[1].model).zoom = 0.7
    for pane in views.panes:
        assert tuple(camera(pane.model).center)[-2:] == pytest.approx((123, 234))
        assert camera(pane.model).zoom == pytest.approx(0.7)
    assert len({pane.overlay.limits for pane in views.panes}) == 1
    assert all(pane.overlay.shows_all for pane in views.panes)
    views.top.setValue(10)
    for pane in views.panes:
        assert pane.overlay.summary().count >= round(0.1 * len(pane.overlay.map)) - 1
    views.close()
    assert tab.window_of_views is None
    assert slide.data[0].stream.live


def test_views_side_by_side_show_what_the_heatmap_tab_leaves_and_close_with_the_slide(compared, qtbot) -> None:
    viewer, tab = compared
    panel = tab.window().findChild(MILPanel)
    panel.heatmap_tab.overlay.cut("count", 7)
    qtbot.waitUntil(lambda: "Top 7 patches" in tab.fields.table.toPlainText())
    tab.show_side_by_side()
    tab.show_side_by_side()  # once more: the window before makes way
    views = tab.window_of_views
    assert [pane.overlay.summary().count for pane in views.panes] == [7] * len(views.panes)
    assert "Top 7 patches" in views.top.text()
    viewer.layers.remove(slide_layers(viewer)[0])
    assert tab.window_of_views is None
    assert views.panes == []
    assert "slide was closed" in tab.fields.note.text()
    tab.show_side_by_side()
    assert tab.window_of_views is None
    assert "is not open" in tab.fields.note.text()


def test_closed_views_take_nothing_from_the_main_canvas(compared, qtbot) -> None:
    """By their numbers, OpenGL's names of buffers are the same in each canvas: deleting one's deleted another's."""
    viewer, tab = compared
    overlay, drawn = tab.window().findChild(MILPanel).heatmap_tab.overlay, []
    tab._canvas()._scene_canvas.events.draw.connect(lambda event: drawn.append(True), position="last")

    def draws() -> None:
        drawn.clear()
        tab._canvas()._scene_canvas.update()
        qtbot.waitUntil(lambda: bool(drawn))

    for count in (3, 5):
        tab.show_side_by_side()
        qtbot.waitExposed(tab.window_of_views)
        overlay.cut("count", count)
        draws()
        picture = viewer.screenshot(flash=False)
        tab.window_of_views.close()
        qtbot.wait(50)
        draws()
        np.testing.assert_array_equal(viewer.screenshot(flash=False), picture)


def test_views_side_by_side_close_with_the_main_window(compared, qtbot) -> None:
    viewer, tab = compared
    tab.show_side_by_side()
    views = tab.window_of_views
    viewer.close()
    qtbot.waitUntil(lambda: views.panes == [])


def test_table_and_two_maps_are_cut_at_the_threshold_of_the_heatmap_tab(compared, qtbot) -> None:
    _, tab = compared
    overlay, table = tab.window().findChild(MILPanel).heatmap_tab.overlay, tab.fields.table

    def says(cut: MapCut) -> None:
        found = compare_maps(tab.comparison.maps, cut=cut).pairs[0]
        qtbot.waitUntil(lambda: found.cut in table.toPlainText())
        assert f"{found.iou:.2f}" in table.toPlainText()

    assert "Top 10%" in table.toPlainText()
    overlay.cut("value", 0.8)
    says(MapCut("value", 0.8))
    assert "Rank ≥ 0.8" in table.toPlainText()
    overlay.cut("percentile", 70)
    says(MapCut("percentile", 70))
    overlay.cut("count", 11)
    says(MapCut("count", 11))
    # a value on another scale is none of the one that maps are compared by
    overlay.choose(scale="ratio")
    overlay.cut("value", 1.0)
    share = overlay.cuts.amount("percentile", 1.0)
    says(MapCut("percentile", share))
    assert "cut at the same percentile instead" in table.toPlainText()
    overlay.settings.threshold = overlay.view.lowest
    qtbot.waitUntil(lambda: "Top 10%" in table.toPlainText())
    # two maps on one view: both cut alike, and afterwards each as it was
    overlay.cut("percentile", 60)
    says(MapCut("percentile", 60))
    before = [overlay_of(layer).settings.to_record() for layer in tab._layers]
    tab.fields.mode.choose("swipe")
    both = [one for one, _ in tab.two.legends]
    assert {one.summary().count for one in both} == {overlay.summary().count}
    next(one for one in both if one is overlay).cut("count", 5)
    qtbot.waitUntil(lambda: {one.summary().count for one in both} == {5})
    tab.fields.mode.choose("off")
    assert [overlay_of(layer).settings.to_record() for layer in tab._layers] == before


def test_the_divider_is_drawn_with_the_mouse_on_the_canvas(compared, qtbot) -> None:
    viewer, tab = compared
    tab.fields.mode.choose("swipe")
    divider = tab.two.pair.divider
    canvas = divider.parentWidget()
    assert divider.isVisible()
    middle = divider.x() + divider.width() / 2
    assert middle == pytest.approx(canvas.width() / 2, abs=1)
    centre = tuple(camera(viewer).center)
    qtbot.mousePress(divider, Qt.MouseButton.LeftButton, pos=divider.rect().center())
    wanted = round(0.3 * canvas.width())
    _drag(divider, divider.mapFromParent(QPoint(wanted, 100)))
    qtbot.mouseRelease(divider, Qt.MouseButton.LeftButton)
    assert tab.fields.divider.value() == pytest.approx(300, abs=2)
    assert divider.x() + divider.width() / 2 == pytest.approx(wanted, abs=1.5)
    physical = tab.two.pair._canvas()._scene_canvas.physical_size[0]
    assert tab.two.pair._clips[0][1].bounds.right == pytest.approx(0.3 * physical, abs=2)
    assert tuple(camera(viewer).center) == centre  # nothing was panned
    viewer.window._qt_window.resize(1100, 700)
    qtbot.waitUntil(
        lambda: (
            tab.two.pair._clips[0][1].bounds.right
            == pytest.approx(divider.place * tab.two.pair._canvas()._scene_canvas.physical_size[0], abs=1)
            and tab.two.pair._canvas()._scene_canvas.physical_size[0] != physical
        )
    )
    assert divider.height() == canvas.height()
    tab.fields.mode.choose("off")
    assert tab.two.pair.divider is None


def _drag(widget, at: QPoint) -> None:
    """Move the mouse with a button held, which Qt's own test functions do not."""
    event = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(at),
        QPointF(widget.mapToGlobal(at)),
        Qt.MouseButton.NoButton,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    QApplication.sendEvent(widget, event)


def test_a_key_flips_between_the_two_maps(compared) -> None:
    viewer, tab = compared
    flip = next(action for binding, action in viewer.keymap.items() if str(binding) == "Alt+X")
    tab.fields.mode.choose("blink")
    assert tab.two.pair.blinking
    first, second = tab.two.pair.layers
    for expected in ((False, True), (True, False), (False, True)):
        flip(viewer)
        assert not tab.two.pair.blinking
        assert (first.visible, second.visible) == expected
    assert not tab.fields.by_itself.isChecked()
    tab.fields.by_itself.setChecked(True)
    assert tab.two.pair.blinking
    tab.fields.mode.choose("off")
    flip(viewer)  # begins with the second, waiting for the key
    assert tab.fields.mode.current.value == "blink"
    assert not tab.two.pair.blinking
    assert (first.visible, second.visible) == (False, True)
    for item in tab.fields.items()[1:]:
        item.setCheckState(Qt.CheckState.Unchecked)
    flip(viewer)
    assert "two maps of one slide" in tab.fields.note.text()
