"""Docks come back with the work: which were open, where, and on a screen that there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QRect, Qt
from qtpy.QtGui import QGuiApplication

from napari_mil._napari import launch
from napari_mil._napari.dock_places import dock_places, on_screen, restore_docks
from napari_mil._napari.session import Session, attach
from napari_mil._napari.widgets.dock_panel import dock_of

Opened = Callable[[], tuple[Any, Session]]


@pytest.fixture
def opened(make_napari_viewer: Any, qtbot: Any) -> Opened:
    def open_() -> tuple[Any, Session]:
        viewer = make_napari_viewer(show=True)
        viewer.window.resize(1366, 768)
        session = attach(viewer)
        assert session is not None
        return viewer, session

    return open_


def places(session: Session) -> dict[str, Any]:
    return {place.name: place for place in dock_places(session.parent())}


@pytest.mark.parametrize(
    ("wanted", "came"),
    [
        (QRect(-500, -300, 400, 300), (0, 0, 400, 300)),
        (QRect(99_999, 99_999, 400, 300), None),
        (QRect(10, 10, 99_999, 99_999), None),
    ],
)
def test_what_floats_comes_onto_the_screen(qtbot: Any, wanted: QRect, came: tuple[int, ...] | None) -> None:
    room = QGuiApplication.primaryScreen().availableGeometry()
    found = on_screen(wanted)
    assert room.contains(found)
    assert (found.width(), found.height()) == (min(room.width(), wanted.width()), min(room.height(), wanted.height()))
    if came is not None:
        assert found.getRect() == (room.left() + came[0], room.top() + came[1], *came[2:])
    inside = QRect(room.left() + 5, room.top() + 7, 100, 50)
    assert on_screen(inside) == inside


def test_docks_open_moved_floating_and_closed_come_back_in_another_window(opened: Opened, qtbot: Any) -> None:
    viewer, session = opened()
    window = session.parent()
    panel = launch.show_panel(viewer)
    panel.tabs.setCurrentWidget(panel.heatmap_tab)
    session.show_help("Gallery")
    dock_of(session.help).setGeometry(80, 90, 500, 400)
    session.show_details()
    dock = dock_of(session.details)
    dock.setFloating(False)
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
    dock_of(session.overview).hide()
    qtbot.wait(50)
    kept = dock_places(window)
    assert {place.name for place in kept} == {"MILPanel", "HelpPage", "SlideDetails"}
    viewer.close()

    viewer, session = opened()
    launch.show_gallery(viewer)
    qtbot.waitUntil(lambda: "Overview" in places(session))  # Qt shows a dock when it next lays out the window
    restore_docks(session, kept)
    qtbot.wait(50)
    found = places(session)
    assert set(found) == {"MILPanel", "HelpPage", "SlideDetails"}
    assert found["MILPanel"].tab == "Heatmap"
    assert (found["HelpPage"].floating, found["HelpPage"].geometry) == (True, (80, 90, 500, 400))
    assert (found["SlideDetails"].floating, found["SlideDetails"].area) == (False, "left")
    # what was hidden comes back when it is asked for
    launch.show_gallery(viewer)
    session.show_overview()
    assert {"Gallery", "Overview"} <= set(places(session))


def test_a_dock_from_a_screen_that_has_gone_is_put_where_it_can_be_seen(opened: Opened, qtbot: Any) -> None:
    _, session = opened()
    session.show_help()
    [place] = [one for one in dock_places(session.parent()) if one.name == "HelpPage"]
    restore_docks(session, [replace(place, geometry=(5000, -4000, 3000, 300))])
    room = QGuiApplication.primaryScreen().availableGeometry()
    assert room.contains(dock_of(session.help).geometry())


def test_panels_behind_one_another_come_back_so(opened: Opened, qtbot: Any) -> None:
    viewer, session = opened()
    launch.show_panel(viewer)
    launch.show_plugin_dock(viewer, launch.TRAIN)
    panel = launch.show_panel(viewer)
    dock_of(panel).raise_()
    qtbot.wait(100)
    kept = dock_places(session.parent())
    front = {place.name: place.front for place in kept}
    assert front["MILPanel"]
    assert not front["TrainPanel"]
    for place in kept:
        if place.name == "TrainPanel":
            restore_docks(session, [*[one for one in kept if one is not place], replace(place, front=True)])
    restore_docks(session, kept)
    qtbot.wait(100)
    assert {place.name: place.front for place in dock_places(session.parent())} == front


def test_a_panel_at_work_is_not_hidden(opened: Opened, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, session = opened()
    panel = launch.show_panel(viewer)
    with monkeypatch.context() as patch:
        patch.setattr(type(panel), "running", True)
        restore_docks(session, [])
        assert set(places(session)) == {"MILPanel"}
    restore_docks(session, None)
    assert set(places(session)) == {"MILPanel"}
    restore_docks(session, [])
    assert not places(session)


def test_the_work_file_brings_them(
    open_window: Any, qtbot: Any, small_slide: Path, tmp_path: Path, make_napari_viewer: Any
) -> None:
    viewer, _ = open_window(small_slide)
    session = attach(viewer)
    assert session is not None
    session.show_help("Compare")
    dock_of(session.help).setGeometry(300, 200, 450, 350)
    dock_of(session.overview).hide()
    session.work.save(tmp_path / "a.napari-mil")
    qtbot.waitUntil(lambda: not session.work.busy, timeout=20_000)
    dock_of(session.help).hide()
    session.show_overview()
    session.work.open(tmp_path / "a.napari-mil")
    qtbot.waitUntil(lambda: not session.work.busy, timeout=20_000)
    found = places(session)
    assert set(found) == {"MILPanel", "HelpPage"}
    assert found["HelpPage"].geometry == (300, 200, 450, 350)
