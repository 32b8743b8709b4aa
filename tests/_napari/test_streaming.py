"""Tiles that come while the window works: coarse at once, exact in the end, nothing kept of a layer that is gone."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from napari_mil._napari.streaming import WAIT_S, ScreenLevel, stream_of
from napari_mil._napari.viewers import camera
from napari_mil.preferences import keep_true_colours, preferences_file, read_preferences
from napari_mil.slides import PyramidLevel, Slide
from napari_mil.slides._cache import default_cache_bytes, tile_budget


@pytest.fixture
def shown(make_napari_viewer, own_folders, fiducial):
    """Open a slide as a drop on the window does."""

    def opened(path: Path):
        viewer = make_napari_viewer(show=True)
        viewer.window.resize(1000, 700)
        viewer.open(str(path), plugin="napari-mil")
        return viewer, viewer.layers[0]

    return opened


@pytest.fixture
def fiducial(tmp_path: Path, sparse_slide) -> Path:
    return sparse_slide(tmp_path / "s.tif", (6000, 9000), 0.25)


def displayed(layer) -> tuple[np.ndarray, np.ndarray, int]:
    corners = layer.corner_pixels
    return np.asarray(layer._slice.image.view), corners, layer.data_level


def test_what_is_drawn_in_the_end_is_exact_and_coarse_before(shown, fiducial, qtbot, monkeypatch):
    viewer, layer = shown(fiducial)
    stream = stream_of(layer)
    qtbot.waitUntil(lambda: not stream.waiting, timeout=20_000)
    gate, real = threading.Event(), Slide.read
    monkeypatch.setattr(Slide, "read", lambda self, *args: (gate.wait(30), real(self, *args))[1])
    camera(viewer).center = (0, 3000 * 0.25, 4500 * 0.25)
    camera(viewer).zoom = 4.0
    qtbot.waitUntil(lambda: layer.data_level == 0, timeout=20_000)
    assert stream.waiting
    first, corners, _ = displayed(layer)
    gate.set()
    qtbot.waitUntil(lambda: not stream.waiting, timeout=20_000)
    last, corners, level = displayed(layer)
    truth = stream.slide.read(0, *corners[0][:2], *(corners[1] - corners[0] + 1)[:2])
    assert level == 0
    assert np.array_equal(last, truth)
    assert not np.array_equal(first, last)
    # coarse, not blank: the same picture in large
    assert np.abs(first.astype(int) - truth).mean() < 40
    assert first.std() > 5


def test_others_than_napari_get_the_very_pixels(shown, fiducial, monkeypatch, qtbot):
    _, layer = shown(fiducial)
    stream = stream_of(layer)
    qtbot.waitUntil(lambda: not stream.waiting, timeout=20_000)
    real = Slide.read
    monkeypatch.setattr(Slide, "read", lambda self, *args: (threading.Event().wait(0.1), real(self, *args))[1])
    stream.slide.rest()
    assert isinstance(layer.data[0], ScreenLevel)
    assert np.array_equal(layer.data[0][3000:3300, 4000:4200], real(stream.slide, 0, 3000, 4000, 300, 200))
    assert np.array_equal(np.asarray(layer.data[-1]), np.asarray(stream.slide.levels()[-1]))


def test_a_slide_whose_overview_takes_long_does_not_stop_the_window(shown, sparse_slide, tmp_path, qtbot, monkeypatch):
    path = sparse_slide(tmp_path / "one.tif", (9000, 9000), 0.25, levels=1)
    gate, real = threading.Event(), Slide.read
    monkeypatch.setattr(Slide, "read", lambda self, *args: (gate.wait(60), real(self, *args))[1])
    _, layer = shown(path)
    blank = layer.thumbnail.copy()
    gate.set()
    qtbot.waitUntil(lambda: not stream_of(layer).waiting, timeout=60_000)
    assert not np.array_equal(layer.thumbnail, blank)
    view, corners, level = displayed(layer)
    exact = stream_of(layer).slide.levels()[level]
    assert np.array_equal(view, exact[corners[0][0] : corners[1][0] + 1, corners[0][1] : corners[1][1] + 1])


def test_the_window_waits_long_for_an_overview_once(shown, sparse_slide, tmp_path, qtbot, monkeypatch):
    path = sparse_slide(tmp_path / "one.tif", (9000, 9000), 0.25, levels=1)
    gate, real, real_glimpse, waits = threading.Event(), Slide.read, PyramidLevel.glimpse, []
    monkeypatch.setattr(Slide, "read", lambda self, *args: (gate.wait(60), real(self, *args))[1])

    def glimpse(self, *args, wait_s, group="view"):
        if group == "overview":
            waits.append(wait_s)
        return real_glimpse(self, *args, wait_s=wait_s, group=group)

    monkeypatch.setattr(PyramidLevel, "glimpse", glimpse)
    _, layer = shown(path)
    stream = stream_of(layer)
    before = len(waits)
    for _ in range(5):  # other tiles than the overview's arrive
        stream._arrived.emit()
        qtbot.wait(100)
    assert len(waits) == before  # which is not asked for again until there is more of it
    gate.set()
    qtbot.waitUntil(lambda: not stream.waiting, timeout=60_000)
    assert [seconds for seconds in waits if seconds > WAIT_S] == [0.3]
    assert len(waits) > before


def cached_bytes(slide: Slide) -> int:
    return sum(cache.nbytes for cache in {id(level._cache): level._cache for level in slide.levels()}.values())


def open_files(path: Path) -> int:
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(os.path.exists(link) and os.path.realpath(link) == str(path) for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files through /proc")
def test_removing_the_layer_releases_file_and_memory_and_undoing_brings_them_back(shown, fiducial, qtbot):
    viewer, layer = shown(fiducial)
    stream = stream_of(layer)
    qtbot.waitUntil(lambda: not stream.waiting, timeout=20_000)
    assert open_files(fiducial) > 0
    assert cached_bytes(stream.slide) > 0
    viewer.layers.remove(layer)
    assert cached_bytes(stream.slide) == 0
    qtbot.waitUntil(lambda: open_files(fiducial) == 0, timeout=20_000)
    viewer.layers.append(layer)
    qtbot.waitUntil(lambda: not stream.waiting, timeout=20_000)
    assert displayed(layer)[0].std() > 5


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files through /proc")
def test_removing_the_layer_while_tiles_come_releases_them_too(shown, fiducial, qtbot, monkeypatch):
    viewer, layer = shown(fiducial)
    stream = stream_of(layer)
    qtbot.waitUntil(lambda: not stream.waiting, timeout=20_000)
    gate, real, reading = threading.Event(), Slide.read, []

    def read(self, *args):
        reading.append(args)
        gate.wait(30)
        return real(self, *args)

    monkeypatch.setattr(Slide, "read", read)
    camera(viewer).center = (0, 3000 * 0.25, 4500 * 0.25)
    camera(viewer).zoom = 4.0
    qtbot.waitUntil(lambda: bool(reading), timeout=20_000)
    asked = list(stream._futures)
    viewer.layers.remove(layer)
    qtbot.wait(300)  # until the overview beside the canvas knows, too
    gate.set()
    qtbot.waitUntil(lambda: all(future.done() for future in asked), timeout=20_000)
    qtbot.waitUntil(lambda: open_files(fiducial) == 0, timeout=20_000)
    assert cached_bytes(stream.slide) == 0


def test_a_thousand_pans_keep_within_the_cache(shown, fiducial, qtbot):
    viewer, layer = shown(fiducial)
    stream = stream_of(layer)
    rng = np.random.default_rng(0)
    camera(viewer).zoom = 4.0
    for _ in range(1000):
        row, col = rng.uniform(0, 6000), rng.uniform(0, 9000)
        box = int(np.clip(row, 0, 5000)), int(np.clip(col, 0, 8000))
        stream.show(stream.slide.levels()[0], *box, 900, 900)
    assert cached_bytes(stream.slide) <= tile_budget().max_bytes
    qtbot.waitUntil(lambda: not stream.waiting, timeout=30_000)
    assert len(stream._futures) < 50


def test_damage_is_told_of_once(shown, fiducial, qtbot, monkeypatch):
    import tifffile

    with tifffile.TiffFile(fiducial) as tiff:
        page = tiff.pages[0]
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    with fiducial.open("r+b") as file:
        for offset, count in places:
            file.seek(offset)
            file.write(b"\xff" * count)
    told: list[str] = []
    monkeypatch.setattr("napari_mil._napari.streaming.show_warning", told.append)
    viewer, layer = shown(fiducial)
    camera(viewer).center = (0, 3000 * 0.25, 4500 * 0.25)
    camera(viewer).zoom = 4.0
    qtbot.waitUntil(lambda: bool(told), timeout=20_000)
    camera(viewer).center = (0, 2000 * 0.25, 3500 * 0.25)
    qtbot.wait(500)
    assert len(told) == 1
    assert "cannot be read" in told[0]
    assert "drawn as grey stripes" in told[0]
    values = np.unique(displayed(layer)[0])
    assert {150, 200} <= set(values.tolist())


def test_faults_found_in_a_thread_of_naparis_are_told_of_in_the_windows(shown, fiducial, qtbot, monkeypatch, recwarn):
    """Its asynchronous slicing runs beside the window, where Qt starts no timers."""
    told: list[str] = []
    monkeypatch.setattr("napari_mil._napari.streaming.show_warning", told.append)
    _, layer = shown(fiducial)
    stream = stream_of(layer)
    qtbot.waitUntil(lambda: not stream.waiting, timeout=20_000)

    def fail(self, *args):
        raise MemoryError

    monkeypatch.setattr(Slide, "read", fail)
    level = stream.slide.levels()[0]
    schedule, where = stream._schedule, []
    monkeypatch.setattr(stream, "_schedule", lambda: (where.append(threading.current_thread()), schedule()))
    stream._arrived.disconnect()
    stream._arrived.connect(stream._schedule)
    slicing = threading.Thread(target=stream.show, args=(level, 5000, 8000, 600, 600))
    slicing.start()
    qtbot.waitUntil(lambda: bool(told), timeout=20_000)
    slicing.join()
    assert set(where) == {threading.main_thread()}
    assert len(told) == 1


def test_the_memory_for_tiles_is_a_setting(shown, fiducial, monkeypatch):
    """Of the preferences file, from the next slide on that is opened."""
    path = preferences_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    for written, bound in ((0.2, 200_000_000), (-1, default_cache_bytes()), ("much", default_cache_bytes())):
        path.write_text(json.dumps({"tile_cache_gb": written}))
        viewer, _ = shown(fiducial)
        assert tile_budget().max_bytes == bound
        viewer.close()
    path.write_text(json.dumps({"tile_cache_gb": 0.2}))
    keep_true_colours(False)  # what is set in the window leaves it as it is
    assert read_preferences().tile_cache_gb == 0.2
