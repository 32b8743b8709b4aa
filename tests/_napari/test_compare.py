"""The Compare tab in a real window: poolings on kept features, two maps on one view, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt

import napari_mil as nm
from napari_mil._napari.overlay import overlay_of
from napari_mil._napari.session import attach
from napari_mil._napari.viewers import camera
from napari_mil._napari.widgets.panel import MILPanel
from napari_mil.maps import compare_maps


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
    assert "two maps of one slide" in tab.note.text()
    assert not tab.beside.isEnabled()
    kept = {path: path.stat().st_mtime_ns for path in (own_folders / "features").iterdir()}
    tab.start_poolings()
    qtbot.waitUntil(lambda: tab.poolings.isEnabled(), timeout=60_000)
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
    assert f"{pair.spearman:.2f}" in tab.table.toPlainText()
    before = [overlay_of(layer).settings.to_record() for layer in viewer.layers if overlay_of(layer)]

    tab.mode.choose("swipe")
    assert tab.pair.swiping
    assert not panel.legend.isVisible()  # each of the two has its own
    assert all(legend.isVisible() for _, legend in tab._legends)
    tab.divider.setValue(250)
    width = tab.pair._canvas()._scene_canvas.physical_size[0]
    (_, left), (_, right) = tab.pair._clips
    assert left.bounds.right == pytest.approx(width / 4)
    assert right.bounds.left == pytest.approx(width / 4)
    assert len({overlay_of(layer).limits for layer in tab.pair.layers}) == 1
    assert all(layer.visible for layer in tab.pair.layers)

    tab.mode.choose("blink")
    layers = tab.pair.layers
    seen = [layer.visible for layer in layers]
    tab.pair.blink()
    assert [layer.visible for layer in layers] == seen[::-1]
    assert sum(seen) == 1

    tab.mode.choose("rank")
    shown = next(layer for layer in viewer.layers if layer.name.startswith("Difference of ranks"))
    assert tuple(shown.contrast_limits) == (-1, 1)
    assert "higher in A" in tab.card.text
    tab.mode.choose("off")
    assert shown not in viewer.layers
    assert [overlay_of(layer).settings.to_record() for layer in viewer.layers if overlay_of(layer)] == before


def test_unticking_a_map_ends_what_took_two_and_shows_the_map_that_was_in_front(compared) -> None:
    _, tab = compared
    [front] = [layer for layer in tab._layers if layer.visible]
    tab.mode.choose("rank")
    assert not any(layer.visible for layer in tab._layers)
    tab.mode.choose("off")
    assert [layer for layer in tab._layers if layer.visible] == [front]

    tab.mode.choose("swipe")
    for item in tab._items()[1:]:
        item.setCheckState(Qt.CheckState.Unchecked)
    assert not tab.pair.swiping
    assert tab._legends == []
    assert tab.mode.current.value == "off"
    assert not tab.mode.isEnabled()
    assert len(tab.scatter.choose_within(np.array([[-1, -1], [2, -1], [2, 2], [-1, 2]]))) == 0
    assert "two maps of one slide" in tab.note.text()
    tab._items()[1].setCheckState(Qt.CheckState.Checked)
    assert tab.mode.isEnabled()
    assert tab.comparison is not None


def test_another_slide_is_not_seen_through_a_comparison(compared, sparse_slide, tmp_path: Path) -> None:
    viewer, tab = compared
    [front] = [layer for layer in tab._layers if layer.visible]
    tab.mode.choose("rank")
    viewer.open(str(sparse_slide(tmp_path / "other.tif", (2000, 2000), 0.5)), plugin="napari-mil")
    assert [layer.name for layer in viewer.layers if layer.visible] == ["other"]
    assert not tab.card.isVisible()
    attach(viewer).bring_forward(tab._slide_layer())
    assert [layer for layer in tab._layers if layer.visible] == [front]
    tab.mode.choose("blink")
    attach(viewer).bring_forward(viewer.layers["other"])
    assert not tab.pair.blinking
    assert [layer.name for layer in viewer.layers if layer.visible] == ["other"]


def test_the_lasso_marks_patches_on_the_slide_and_the_mouse_marks_the_point(compared, qtbot) -> None:
    viewer, tab = compared
    tab.pages.setCurrentWidget(tab.scatter)
    found = tab.scatter.choose_within(np.array([[0.505, -0.1], [1.1, -0.1], [1.1, 1.1], [0.505, 1.1]]))
    number = tab.first.current.value
    expected = tab.comparison.maps[number].view(
        tab.comparison.views[number].score, "rank", tab.comparison.views[number].class_index
    )
    np.testing.assert_array_equal(found, np.flatnonzero(expected.values > 0.5))
    marked = next(layer for layer in viewer.layers if layer.name == "Chosen patches")
    assert np.isfinite(marked.data).sum() == len(found)
    grid = tab.comparison.maps[number].grid
    centre = (grid.l0_rc[7] + grid.tile_l0 / 2 - 0.5) * 0.5  # microns
    viewer.cursor.position = tuple(centre)
    assert tab.scatter._mark == 7
    tab.scatter.choose_within(np.empty((0, 2)))
    assert marked not in viewer.layers


def test_side_by_side_shares_the_slide_and_locks_the_cameras(compared, qtbot) -> None:
    _, tab = compared
    tab.show_side_by_side()
    views = tab.window_of_views
    assert len(views.panes) == min(4, len(tab.comparison.maps))
    slide = tab._slide_layer()
    assert {id(pane.stream.slide) for pane in views.panes} == {id(slide.data[0].stream.slide)}
    camera(views.panes[0].model).center = (0.0, 123.0, 234.0)
    camera(views.panes[1].model).zoom = 0.7
    for pane in views.panes:
        assert tuple(camera(pane.model).center)[-2:] == pytest.approx((123, 234))
        assert camera(pane.model).zoom == pytest.approx(0.7)
    assert len({pane.overlay.limits for pane in views.panes}) == 1
    views.top.setValue(10)
    for pane in views.panes:
        assert pane.overlay.summary().count >= round(0.1 * len(pane.overlay.map)) - 1
    views.close()
    qtbot.waitUntil(lambda: tab.window_of_views is None)
    assert slide.data[0].stream.live
