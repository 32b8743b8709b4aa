"""Where one is, how far in, which slide of several: what a session shows and does."""

from __future__ import annotations

import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_mil._napari import worker
from napari_mil._napari.keys import KEYS, ZOOM_KEYS
from napari_mil._napari.layers import mpp_of, rescale_slide, slide_of
from napari_mil._napari.magnification import PRESETS, magnification_at, view_words, zoom_for
from napari_mil._napari.navigation import front_slide, natural_key
from napari_mil._napari.session import Session
from napari_mil._napari.streaming import stream_of
from napari_mil._napari.viewers import camera


@pytest.fixture
def folder(tmp_path: Path, sparse_slide) -> Path:
    for name in ("slide 2.tif", "slide 10.tif"):
        sparse_slide(tmp_path / name, (3000, 5000), 0.5)
    (tmp_path / "slide 3.txt").write_text("no slide")
    (tmp_path / "slide 4.tif").write_bytes(b"II*\0" + b"x" * 300)
    return tmp_path


@pytest.fixture
def opened(make_napari_viewer, own_folders, qtbot):
    def open_in_window(*paths: Path):
        viewer = make_napari_viewer(show=True)
        viewer.window.resize(1200, 700)
        for path in paths:
            viewer.open(str(path), plugin="napari-mil")
        session = viewer.window._qt_window.findChild(Session)
        qtbot.waitUntil(lambda: session.where.text() != "", timeout=20_000)
        return viewer, session

    return open_in_window


@given(st.floats(1e-3, 1e3))
def test_magnification_is_by_the_convention_of_the_field(zoom):
    assert zoom_for(magnification_at(zoom)) == pytest.approx(zoom)
    assert magnification_at(1.0) == 10.0  # 1 um a pixel
    assert magnification_at(4.0) == 40.0  # 0.25 um a pixel


@pytest.mark.parametrize(
    ("zoom", "place", "scaled", "words"),
    [
        (2.0, (4080.0, 12_310.0), True, "20x  0.50 µm/px  |  x 12.31  y 4.08 mm"),
        (0.1, None, True, "1x  10 µm/px"),
        (0.25, None, True, "2.50x  4 µm/px"),
        (0.5, (10.0, 1234.0), False, "No scale  2 slide px/px  |  x 1,234  y 10 px"),
        (float("nan"), None, True, ""),
    ],
)
def test_words_of_a_view(zoom, place, scaled, words):
    assert view_words(zoom, place, scaled=scaled) == words


def test_natural_order():
    names = ["s10.tif", "s9.tif", "S1.tif", "a.tif", "10.tif", "9.tif"]
    assert sorted(names, key=natural_key) == ["9.tif", "10.tif", "a.tif", "S1.tif", "s9.tif", "s10.tif"]


def test_a_preset_shows_so_many_microns_a_screen_pixel_about_the_same_place(opened, folder, qtbot):
    viewer, session = opened(folder / "slide 2.tif")
    view = camera(viewer)
    view.center = (0.0, 700.0, 900.0)
    for button, preset in zip(session.overview.zooms, PRESETS, strict=True):
        button.click()
        assert 1 / view.zoom == pytest.approx(10 / preset)
        assert tuple(view.center)[-2:] == (700.0, 900.0)
    qtbot.waitUntil(lambda: session.where.text().startswith("40x  0.25 µm/px"), timeout=20_000)


def test_microns_on_a_real_screenshot(opened, tmp_path, own_folders, qtbot):
    """A black square of 100 um is 200 pixels wide at 20x."""
    import tifffile

    picture = np.full((4096, 4096, 3), 255, np.uint8)
    picture[2000:2200, 2000:2200] = 0
    path = tmp_path / "square.tif"
    tifffile.imwrite(
        path, picture, tile=(256, 256), photometric="rgb", resolution=(20_000, 20_000), resolutionunit="CENTIMETER"
    )
    viewer, session = opened(path)
    session.overview.moved_to.emit(2100 / 4096, 2100 / 4096)
    session.overview.magnified.emit(20.0)
    qtbot.wait(300)
    dark = viewer.screenshot(canvas_only=True, flash=False)[..., :3].max(2) < 60
    ratio = viewer.window._qt_window.devicePixelRatio()
    # the box of the scale bar is dark too, and smaller
    rows, cols = np.flatnonzero(dark.sum(1) > 150 * ratio), np.flatnonzero(dark.sum(0) > 150 * ratio)
    assert np.ptp(cols) + 1 == pytest.approx(200 * ratio, abs=2)
    assert np.ptp(rows) + 1 == pytest.approx(200 * ratio, abs=2)


def test_without_scale_nothing_is_called_magnification(opened, tmp_path, qtbot):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (3000, 4500, 3), np.uint8)).save(tmp_path / "a.png")
    viewer, session = opened(tmp_path / "a.png")
    qtbot.waitUntil(lambda: session.where.text().startswith("No scale"), timeout=20_000)
    assert not any(button.isEnabled() for button in session.overview.zooms)
    assert "set it in the Run tab" in session.overview.zooms[0].toolTip()
    before = camera(viewer).zoom
    session.magnify(10.0)
    assert camera(viewer).zoom == before


def test_the_overview_frames_what_is_seen_and_goes_where_it_is_clicked(opened, folder, qtbot):
    viewer, session = opened(folder / "slide 2.tif")
    overview = session.overview
    session.magnify(10.0)
    overview.thumbnail.asked_for.emit(0.25, 0.75)
    assert tuple(camera(viewer).center)[-2:] == pytest.approx((0.25 * 1500 - 0.25, 0.75 * 2500 - 0.25))
    qtbot.wait(100)
    height, width = session._canvas_px()
    view = overview.thumbnail._view
    assert view.width() == pytest.approx(width / 2500)
    assert view.height() == pytest.approx(height / 1500)
    assert (view.center().y(), view.center().x()) == pytest.approx((0.25, 0.75), abs=1e-3)
    # a real click in the middle of the picture
    from qtpy.QtCore import Qt

    qtbot.mouseClick(overview.thumbnail, Qt.MouseButton.LeftButton, pos=overview.thumbnail.rect().center())
    row, col = tuple(camera(viewer).center)[-2:]
    assert (row / 1500, col / 2500) == pytest.approx((0.5, 0.5), abs=0.02)


def test_one_slide_at_a_time_each_with_its_own_view(opened, folder):
    viewer, session = opened(folder / "slide 2.tif")
    first = viewer.layers[0]
    session.magnify(20.0)
    camera(viewer).center = (0.0, 500.0, 600.0)
    viewer.open(str(folder / "slide 10.tif"), plugin="napari-mil")
    second = viewer.layers[-1]
    assert (first.visible, second.visible) == (False, True)
    assert front_slide(viewer) is second
    session.overview.chosen.emit(first)
    assert (first.visible, second.visible) == (True, False)
    assert camera(viewer).zoom == pytest.approx(2.0)
    assert tuple(camera(viewer).center)[-2:] == (500.0, 600.0)
    viewer.layers.remove(first)
    assert second.visible


@pytest.fixture
def stepped(qtbot):
    """Return a function that goes to a neighbour as a key does, and waits until it is there."""

    def step(session: Session, by: int) -> None:
        session.step(by)
        job = session._stepping.job
        qtbot.waitUntil(lambda: job not in worker._running, timeout=20_000)

    return step


@pytest.fixture
def said(monkeypatch) -> list[str]:
    said: list[str] = []
    for kind in ("show_info", "show_warning", "show_error"):
        monkeypatch.setattr(f"napari_mil._napari.stepping.{kind}", said.append)
    return said


def names(viewer) -> list[str]:
    return [slide_of(layer).name for layer in viewer.layers if slide_of(layer)]


def test_next_and_previous_pass_over_what_is_no_slide(opened, folder, stepped, said):
    viewer, session = opened(folder / "slide 2.tif")
    stepped(session, 1)
    assert names(viewer) == ["slide 10"]
    assert said == []
    stepped(session, 1)
    assert said == ["There is no slide after slide 10 in its folder."]
    stepped(session, -1)
    assert names(viewer) == ["slide 2"]


def test_next_passes_over_damaged_slides_and_names_them(opened, folder, stepped, said, shared_data):
    raw = (shared_data / "slides" / "cmu-1-small-region.svs").read_bytes()
    (folder / "slide 5.svs").write_bytes(raw[: len(raw) // 3])
    (folder / "slide 6.svs").write_bytes(b"")
    viewer, session = opened(folder / "slide 2.tif")
    stepped(session, 1)
    assert names(viewer) == ["slide 10"]
    assert len(said) == 1
    assert said[0].startswith("Passed over, since it cannot be opened: slide 5.svs, slide 6.svs. ")
    assert "slide 5.svs is named like a slide but is damaged" in said[0]


def test_the_other_files_of_a_dicom_slide_are_not_its_neighbours(opened, tmp_path, stepped, said, shared_data):
    for file in (shared_data / "slides" / "cmu-1-dicom").glob("*.dcm"):
        shutil.copy(file, tmp_path / file.name)
    shutil.copy(shared_data / "slides" / "cmu-1-small-region.svs", tmp_path / "z.svs")
    viewer, session = opened(tmp_path / "level-0-frames-0-30.dcm")
    stepped(session, 1)
    assert names(viewer) == ["z"]
    stepped(session, -1)
    assert slide_of(viewer.layers[0]).vendor == "dicom"
    stepped(session, -1)
    assert said == [f"There is no slide before {names(viewer)[0]} in its folder."]


def test_a_drive_that_does_not_answer_holds_up_nothing(opened, folder, said, monkeypatch, qtbot):
    from napari_mil import slides

    viewer, session = opened(folder / "slide 2.tif")
    gate, real, asked = threading.Event(), slides.open_slide, threading.Event()
    monkeypatch.setattr(slides, "open_slide", lambda *args: (asked.set(), gate.wait(30), real(*args))[2])
    session.step(1)
    hung = session._stepping.job
    qtbot.waitUntil(asked.is_set, timeout=10_000)
    assert names(viewer) == ["slide 2"]
    session.magnify(20.0)  # the window works on
    assert camera(viewer).zoom == pytest.approx(2.0)
    session.step(1)  # asked again, only this one counts
    gate.set()
    again = session._stepping.job
    qtbot.waitUntil(lambda: not {hung, again} & worker._running, timeout=20_000)
    assert names(viewer) == ["slide 10"]
    assert said == []


def test_a_slide_with_a_map_is_put_aside_not_closed(opened, folder, stepped):
    from napari.layers import Image as ImageLayer

    from napari_mil._napari.layers import KEY

    viewer, session = opened(folder / "slide 2.tif")
    slide = slide_of(viewer.layers[0])
    outline = ImageLayer(np.zeros((5, 5)), metadata={KEY: {"tissue_of": slide.quickhash, "mpp": slide.mpp}})
    viewer.add_layer(outline)
    viewer.layers.selection.active = viewer.layers[0]
    stepped(session, 1)
    assert outline in viewer.layers
    assert not outline.visible
    assert names(viewer) == ["slide 2", "slide 10"]
    session.overview.chosen.emit(viewer.layers[0])
    assert outline.visible


def test_the_tissues_outline_is_thin_at_every_magnification(opened, folder, qtbot):
    from napari.layers import Layer

    from napari_mil._napari.layers import tissue_layer_data
    from napari_mil.tiling import TissueMask

    viewer, session = opened(folder / "slide 2.tif")
    cells = np.zeros((30, 50), bool)
    cells[5:20, 5:30] = True
    slide = slide_of(viewer.layers[0]).ref
    outline = Layer.create(*tissue_layer_data(TissueMask(cells, (100.0, 100.0), slide.mpp), slide))
    viewer.add_layer(outline)
    for magnification in (2.5, 40.0):
        session.magnify(magnification)
        wide = outline.edge_width[0] * outline.scale[0] * camera(viewer).zoom  # screen pixels
        qtbot.waitUntil(
            lambda: 1 <= outline.edge_width[0] * outline.scale[0] * camera(viewer).zoom <= 3, timeout=10_000
        )
    assert wide > 3  # it had to be fitted


def test_details_can_be_searched_and_the_label_comes_on_request_only(opened, shared_data, qtbot):
    _, session = opened(shared_data / "slides" / "cmu-1-small-region.svs")
    session.show_details()
    details = session.details
    facts = dict(details.visible_rows())
    assert facts["Size"] == "2,220 x 2,967 pixels"
    assert facts["Size on the glass"] == "1.11 x 1.48 mm"
    assert facts["Scale"] == "0.499 µm per pixel"
    assert facts["aperio.AppMag"] == "20"
    details.filter.setText("appmag")
    # names and values: the whole description that the scanner wrote says it too
    assert [name for name, _ in details.visible_rows()] == [
        "aperio.AppMag",
        "openslide.comment",
        "tiff.ImageDescription",
    ]
    details.filter.setText("APERIO.appmag")
    assert details.visible_rows() == [("aperio.AppMag", "20")]
    assert not details.picture.isVisible()
    label = next(button for button in details.requests if button.text() == "Show label")
    label.click()
    assert not details.picture.pixmap().isNull()
    assert "patient's name" in details.caution.text()
    label.click()
    assert not details.picture.isVisible()


def test_keys_are_bound_listed_and_nobody_elses(opened, folder):
    viewer, session = opened(folder / "slide 2.tif")
    bound = {str(binding) for binding in viewer.keymap}
    from napari.utils.key_bindings import coerce_keybinding

    wanted = {str(coerce_keybinding(key.combination)) for key in KEYS}
    assert wanted <= bound
    from napari.utils.shortcuts import default_shortcuts

    theirs = {str(key) for keys in default_shortcuts.values() for key in keys}
    assert not wanted & theirs
    docs = (Path(__file__).parents[2] / "docs" / "keys.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([^`]+)` \| (.+?) \|$", docs, re.MULTILINE))
    assert listed == {key.combination.replace("-", "+"): key.does for key in KEYS}
    pressed = next(action for binding, action in viewer.keymap.items() if str(binding) == "Alt+4")
    pressed(viewer)
    assert camera(viewer).zoom == pytest.approx(zoom_for(10.0))
    assert ZOOM_KEYS[3].does == "Magnify 10x"
    assert session.overview.zooms[3].toolTip() == "Magnify 10x (Alt+4)"


def test_a_duplicated_slide_layer_shows_the_same_slide_by_itself(opened, folder, qtbot):
    """As napari's menu does it: its levels hold locks and threads, which nothing can copy."""
    from napari.layers._layer_actions import _duplicate_layer

    viewer, _ = opened(folder / "slide 2.tif")
    first = viewer.layers[0]
    _duplicate_layer(viewer.layers)
    second = viewer.layers[1]
    assert second.name == "slide 2 copy"
    assert slide_of(second) is slide_of(first)
    assert stream_of(second) is not stream_of(first)
    assert {level.stream for level in second.data} == {stream_of(second)}
    assert np.array_equal(second.data[0][100:200, 300:400], first.data[0][100:200, 300:400])
    # each has a scale of its own
    rescale_slide(second, (0.25, 0.25))
    assert (mpp_of(first), mpp_of(second)) == ((0.5, 0.5), (0.25, 0.25))
    viewer.layers.remove(second)
    qtbot.waitUntil(lambda: front_slide(viewer) is first, timeout=20_000)
    qtbot.waitUntil(lambda: not stream_of(first).waiting, timeout=10_000)
    shown = np.asarray(first._slice.image.view)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 10


def close_dock(widget) -> None:
    """As the cross of its title bar does; napari destroys the dock when events are next handled."""
    from qtpy.QtCore import QEvent
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication, QDockWidget

    widget.parent().title.close_button.click()
    for _ in range(200):
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        if not isinstance(widget.parent(), QDockWidget):
            return
        QTest.qWait(10)
    raise AssertionError("the dock was not closed in two seconds")


def test_docks_that_were_closed_come_back(opened, folder, qtbot):
    from napari_mil._napari import launch

    viewer, session = opened(folder / "slide 2.tif")
    close_dock(session.overview)
    assert not session.overview.isVisible()
    viewer.open(str(folder / "slide 10.tif"), plugin="napari-mil")
    # Qt shows a dock when it next lays out the window
    qtbot.waitUntil(session.overview.isVisible)
    close_dock(session.overview)
    launch.show_overview()
    assert session.overview.isVisible()
    session.overview.parent().hide()
    launch.show_overview()
    assert session.overview.isVisible()

    for _ in range(2):
        session.overview.about.click()
        assert session.details.isVisible()
        assert session.details.parent().isFloating()
        assert dict(session.details.visible_rows())["Name"] == "slide 10"
        close_dock(session.details)
        assert not session.details.isVisible()
    launch.show_details()
    assert session.details.isVisible()
    assert viewer.window._qt_window.findChildren(Session) == [session]


def test_the_menu_lists_what_brings_the_docks_back():
    from importlib.resources import files

    from npe2 import PluginManifest

    from napari_mil._napari import launch

    manifest = PluginManifest.from_file(files("napari_mil") / "napari.yaml")
    listed = {item.command for item in manifest.contributions.menus["napari/layers/visualize"]}
    for name in ("show_overview", "show_details"):
        command = next(one for one in manifest.contributions.commands if one.id == f"napari-mil.{name}")
        assert command.id in listed
        assert command.python_name == f"{launch.__name__}:{name}"
