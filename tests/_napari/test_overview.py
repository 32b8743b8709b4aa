"""The overview shows what the canvas shows, and reads nothing of slides that are gone or put aside."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from napari._qt.utils import QImg2array
from PIL import Image

from napari_mil._napari.layers import show_true_colours, slide_of
from napari_mil._napari.session import Session
from napari_mil._napari.streaming import stream_of
from napari_mil.slides import Slide


@pytest.fixture
def opened(make_napari_viewer, own_folders, qtbot):
    def open_in_window(path: Path):
        viewer = make_napari_viewer(show=True)
        viewer.open(str(path), plugin="napari-mil")
        session = viewer.window._qt_window.findChild(Session)
        qtbot.waitUntil(lambda: session.where.text() != "", timeout=20_000)
        return viewer, viewer.layers[-1], session.overview

    return open_in_window


@pytest.fixture
def slide_files(tmp_path: Path, sparse_slide) -> tuple[Path, Path]:
    first, second = (sparse_slide(tmp_path / name, (3000, 5000), 0.5) for name in ("a.tif", "b.tif"))
    return first, second


@pytest.fixture
def profiled(tmp_path: Path, scanner_profile: bytes) -> Path:
    """A picture whose colours are not those of screens."""
    pixels = np.kron(np.random.default_rng(0).integers(0, 256, (30, 45, 3)), np.ones((100, 100, 1))).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "profiled.png", icc_profile=scanner_profile)
    return tmp_path / "profiled.png"


def picture(overview) -> np.ndarray:
    image = overview.thumbnail._image
    if image is None:
        return np.empty((0, 0, 3), np.uint8)
    return QImg2array(image)[..., :3]


def open_files(path: Path) -> int:
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum(os.path.exists(link) and os.path.realpath(link) == str(path) for link in links)


def test_its_colours_are_those_on_the_canvas(opened, profiled, qtbot):
    viewer, layer, overview = opened(profiled)
    slide = slide_of(layer)
    true, stored = (np.asarray(slide.levels(srgb=srgb)[-1]) for srgb in (True, False))
    assert np.abs(true.astype(int) - stored).max() > 10
    qtbot.waitUntil(lambda: np.array_equal(picture(overview), true), timeout=10_000)
    show_true_colours(layer, False)
    qtbot.waitUntil(lambda: np.array_equal(picture(overview), stored), timeout=10_000)
    assert viewer.layers.selection.active is layer


def test_colours_that_are_not_shown_are_not_made(opened, profiled, qtbot):
    from napari_mil.preferences import keep_true_colours

    keep_true_colours(False)
    _, layer, overview = opened(profiled)
    qtbot.waitUntil(lambda: picture(overview).size > 0 and not overview._poll.isActive(), timeout=10_000)
    slide = slide_of(layer)
    assert slide.corrects_colours
    _, pending = slide.levels(srgb=True)[-1].glimpse(0, 0, 10, 10, wait_s=0.0)
    assert pending


def test_a_slide_that_was_removed_is_not_read_for_it(opened, slide_files, qtbot, monkeypatch):
    viewer, layer, overview = opened(slide_files[0])
    qtbot.waitUntil(lambda: not stream_of(layer).waiting and not overview._poll.isActive(), timeout=20_000)
    real = Slide.read
    begun: list[int] = []
    monkeypatch.setattr(Slide, "read", lambda self, *args: (begun.append(args[0]), real(self, *args))[1])
    overview._poll.start()  # as while its picture is being made
    viewer.layers.remove(layer)
    assert not overview._poll.isActive()
    overview._poll.timeout.emit()  # had it been due before the session told the overview what is left
    qtbot.wait(300)
    assert begun == []
    assert picture(overview).size == 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files through /proc")
def test_a_slide_that_was_put_aside_holds_neither_file_nor_memory(opened, slide_files, qtbot):
    viewer, first, overview = opened(slide_files[0])
    qtbot.waitUntil(lambda: not stream_of(first).waiting and not overview._poll.isActive(), timeout=20_000)
    assert open_files(slide_files[0]) > 0
    shown = np.asarray(first._slice.image.view)
    viewer.open(str(slide_files[1]), plugin="napari-mil")
    second = viewer.layers[-1]
    qtbot.waitUntil(lambda: open_files(slide_files[0]) == 0, timeout=20_000)
    qtbot.waitUntil(lambda: not stream_of(second).waiting and not overview._poll.isActive(), timeout=20_000)
    assert open_files(slide_files[0]) == 0
    _, pending = slide_of(first).levels()[-1].glimpse(0, 0, 10, 10, wait_s=0.0)
    assert pending
    overview.chosen.emit(first)
    qtbot.waitUntil(lambda: not stream_of(first).waiting, timeout=20_000)
    assert np.array_equal(first._slice.image.view, shown)
    qtbot.waitUntil(lambda: open_files(slide_files[1]) == 0, timeout=20_000)
