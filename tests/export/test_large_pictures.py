"""The overlay picture at any size: strips fit, equal the small picture, and leave nothing where they fail."""

from __future__ import annotations

import io
import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_mil.errors import ExportError
from napari_mil.export import Display, _large_picture, _overlay, as_scanned_px, overlay_figure, write_overlay
from napari_mil.export._figure import Subject
from napari_mil.export._large_picture import STRIP_BYTES, format_bytes
from napari_mil.export._picture import tissue_window
from napari_mil.export._png import PngWriter, png_writer
from napari_mil.progress import Progress, finish


@pytest.fixture
def strips_from(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what has pictures beyond a size drawn in strips of a size, as very large ones are."""

    def set_(px: int, strip_bytes: int = STRIP_BYTES) -> None:
        monkeypatch.setattr(_overlay, "LARGEST_PX", px)
        monkeypatch.setattr(_large_picture, "STRIP_BYTES", strip_bytes)

    return set_


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (57, 31), (700, 900)])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_rows_written_piece_by_piece_are_read_back_by_others(
    tmp_path: Path, shape: tuple[int, int], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mil.export._png._PIECE_BYTES", 4000)
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    if step == 1:
        pixels = pixels[: min(shape[0], 20)]
    with png_writer(tmp_path / "p.png", pixels.shape[:2], 300) as file:
        for first in range(0, len(pixels), step):
            file.write(pixels[first : first + step])
    with Image.open(tmp_path / "p.png") as picture:
        picture.verify()  # each chunk's sum
    with Image.open(tmp_path / "p.png") as picture:
        assert (picture.mode, picture.info["dpi"]) == ("RGB", pytest.approx((300, 300), abs=0.02))
        np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_rows_that_do_not_fit_are_a_programmers_error() -> None:
    with ThreadPoolExecutor(1) as threads:
        writer = PngWriter(io.BytesIO(), (2, 3), 72, threads)
        with pytest.raises(ValueError, match="no rows of a picture"):
            writer.write(np.zeros((1, 4, 3), np.uint8))
        writer.write(np.zeros((1, 3, 3), np.uint8))
        with pytest.raises(ValueError, match="1 of 2 rows"):
            writer.close()


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize(
    "display",
    [Display(), Display(threshold=0.6, opacity=0.4), Display(smooth=True), Display("contribution", class_index=1)],
)
def test_strips_of_any_height_make_the_same_picture(scene: Any, tmp_path: Path, strips_from: Any, display: Any) -> None:
    found = []
    for number, strip in enumerate((1, 9000, 100_000, 1 << 30)):
        strips_from(300, strip)
        path = finish(write_overlay(tmp_path / f"{number}.png", scene.slide, scene.amap, display=display, max_px=701))
        found.append(opened(path))
    assert max(found[0].shape[:2]) == 701
    for other in found[:-1]:
        np.testing.assert_array_equal(other, found[-1])


@pytest.mark.parametrize("max_px", [640, 1501])
def test_the_picture_in_strips_equals_the_small_one_drawn_in_memory(
    scene: Any, tmp_path: Path, strips_from: Any, max_px: int
) -> None:
    """But for a pixel along the edges of patches and frames, where matplotlib rounds otherwise."""
    display = Display(threshold=0.4, opacity=0.5)
    whole = opened(overlay_figure(tmp_path / "a.png", scene.slide, scene.amap, display=display, max_px=max_px))
    strips_from(300, 50_000)
    strips = opened(finish(write_overlay(tmp_path / "b.png", scene.slide, scene.amap, display=display, max_px=max_px)))
    size = min(whole.shape[0], strips.shape[0]), min(whole.shape[1], strips.shape[1])
    assert np.abs(np.subtract(whole.shape[:2], strips.shape[:2])).max() <= 1
    apart = np.abs(whole[: size[0], : size[1]].astype(int) - strips[: size[0], : size[1]]).max(axis=2)
    assert np.median(apart) == 0
    assert (apart <= 8).mean() > 0.97
    # legend and words: beside the pictures every pixel
    panel = apart[:, round(size[1] * 0.72) :]
    assert (whole[:, round(size[1] * 0.72) :] < 128).sum() > 300, "there are words"
    assert panel.max() == 0


def test_colours_lie_where_the_map_has_them_at_every_size(scene: Any, tmp_path: Path, map_of: Any) -> None:
    """Each pixel of the part under the map, against the definition: the patch that its middle lies in."""
    row, col = scene.crosses[2]
    amap = map_of(scene.slide, [(row - 50, col - 50)], tile=101.0, attention=([1.0], "attention"))
    display = Display(opacity=1.0)
    window = tissue_window(scene.slide, amap)
    subject = Subject(scene.slide, amap, display.view(amap), display, window)
    for max_px in (900, 4321):
        rows, shape, _ = _overlay.page_rows(subject, max_px, 600)
        page = rows(0, shape[0])
        inside = (page == _top_colour(display, amap)).all(axis=2)
        inside[:, round(shape[1] * 0.72) :] = False  # the legend
        ys, xs = np.flatnonzero(inside.mean(axis=1) > 0.05), np.flatnonzero(inside.mean(axis=0) > 0.05)
        scale = _picture_width(subject, max_px) / window.width
        assert len(ys) == pytest.approx(101 * scale, abs=1.5)
        assert len(xs) == pytest.approx(101 * scale, abs=1.5)


def _top_colour(display: Display, amap: Any) -> Any:
    import matplotlib as mpl

    view = display.view(amap)
    low, high = view.scale.to_axis(np.asarray(view.limits, np.float32))
    return mpl.colormaps[display.colourmap(view)](
        float((view.scale.to_axis(view.values)[0] - low) / (high - low)), bytes=True
    )[:3]


def _picture_width(subject: Subject, max_px: int) -> float:
    from napari_mil.export._figure import page_layout

    layout = page_layout(subject.window)
    return layout.wide * max_px / max(layout.size)


def test_as_scanned_a_pixel_of_the_slide_is_one_of_the_picture(scene: Any) -> None:
    display = Display(threshold=5.0)  # above everything: the slide alone
    window = tissue_window(scene.slide, scene.amap)
    subject = Subject(scene.slide, scene.amap, display.view(scene.amap), display, window)
    max_px = as_scanned_px(scene.amap)
    assert _picture_width(subject, max_px) == pytest.approx(window.width, abs=0.5)
    rows, shape, _ = _overlay.page_rows(subject, max_px, 500)
    assert max(shape) == max_px
    page = rows(0, shape[0])
    wanted = scene.slide.to_srgb(scene.slide.read(0, int(window.row), int(window.col), 200, int(window.width)))
    dark = [(page[y].astype(int).sum(axis=1) < 120).sum() for y in range(len(page))]
    assert max(dark) >= (wanted.astype(int).sum(axis=2) < 120).sum(axis=1).max()


def test_larger_than_the_slide_its_nearest_pixels_are_shown(
    scene: Any, map_of: Any, tmp_path: Path, strips_from: Any
) -> None:
    strips_from(300, 200_000)
    display = Display(threshold=5.0)
    small = map_of(scene.slide, [(0, 0), (100, 100)], attention=([0.5, 0.5], "attention"))
    window = tissue_window(scene.slide, small)
    max_px = 2 * as_scanned_px(small)
    picture = opened(finish(write_overlay(tmp_path / "b.png", scene.slide, small, display=display, max_px=max_px)))
    assert max(picture.shape[:2]) == max_px
    subject = Subject(scene.slide, small, display.view(small), display, window)
    assert _picture_width(subject, max_px) == pytest.approx(2 * window.width, abs=1)
    height, width = round(2 * window.height), round(2 * window.width)
    rows = _large_picture.SlideRows(scene.slide, window, (height, width)).plain(0, height)
    pixels = scene.slide.to_srgb(scene.slide.read(0, 0, 0, height // 2, width // 2))
    np.testing.assert_array_equal(rows, np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)[:height, :width])


def test_size_and_estimate_are_said_and_the_estimate_is_near(scene: Any, tmp_path: Path, strips_from: Any) -> None:
    strips_from(300, 60_000)
    expected: list[int] = []
    real = _large_picture._check_room
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_large_picture, "_check_room", lambda path, size: (expected.append(size), real(path, size)))
        said = [step.message for step in _kept(write_overlay(tmp_path / "b.png", scene.slide, scene.amap, max_px=2000))]
    assert any(" pixels, about 1 MB" in message for message in said)
    assert expected[0] == pytest.approx((tmp_path / "b.png").stat().st_size, rel=0.5)
    assert [format_bytes(n) for n in (10, 340_200_000, 1_240_000_000)] == ["1 MB", "340 MB", "1.2 GB"]


def _kept(steps: Any) -> list[Progress]:
    return list(steps)


def test_a_disk_without_the_room_is_said_before_anything_is_written(
    scene: Any, tmp_path: Path, strips_from: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    strips_from(300)
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 1000))
    with pytest.raises(ExportError, match=r"would take about 1 MB, and .* has 1 MB free. Choose a smaller"):
        finish(write_overlay(tmp_path / "b.png", scene.slide, scene.amap, max_px=900))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_meanwhile_leaves_the_older_picture(
    scene: Any, tmp_path: Path, strips_from: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    strips_from(300, 60_000)
    (tmp_path / "b.png").write_bytes(b"older")
    store = PngWriter._store
    count: list[int] = []

    def full(writer: PngWriter) -> None:
        count.append(1)
        if len(count) > 3:
            raise OSError(28, "No space left on device")
        store(writer)

    monkeypatch.setattr(PngWriter, "_store", full)
    with pytest.raises(ExportError, match="No space left"):
        finish(write_overlay(tmp_path / "b.png", scene.slide, scene.amap, max_px=900))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("b.png", b"older")]


def test_cancelled_at_any_step_it_leaves_nothing(
    scene: Any, tmp_path: Path, strips_from: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_mil.progress.Pacer._interval_s", 0.0)
    strips_from(300, 60_000)
    count = len(_kept(write_overlay(tmp_path / "b.png", scene.slide, scene.amap, max_px=700)))
    (tmp_path / "b.png").unlink()
    assert count > 25
    for stop in (1, 2, 10, 15, 17, count - 1, count):
        steps = write_overlay(tmp_path / "b.png", scene.slide, scene.amap, max_px=700)
        for _ in range(stop):
            next(steps)
        steps.close()
        assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_picture(scene: Any, tmp_path: Path, strips_from: Any) -> None:
    strips_from(300, 1 << 20)
    peaks = []
    for max_px in (1500, 6000):
        finish(write_overlay(tmp_path / "b.png", scene.slide, scene.amap, max_px=max_px))  # what is kept for ever
        tracemalloc.start()
        finish(write_overlay(tmp_path / "b.png", scene.slide, scene.amap, max_px=max_px))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert 6000 * 6000 * 0.5 * 3 > 50e6
    assert peaks[1] < 3 * peaks[0], "of sixteen times as many pixels"


def test_other_formats_are_refused_beyond_memory(scene: Any, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="8,000 pixels long, as PNG longer, not 20,000"):
        finish(write_overlay(tmp_path / "f.tif", scene.slide, scene.amap, max_px=20_000))
    with pytest.raises(ExportError, match="A picture is written as"):
        finish(write_overlay(tmp_path / "f.docx", scene.slide, scene.amap, max_px=20_000))
    with pytest.raises(ExportError, match="not 10"):
        finish(write_overlay(tmp_path / "f.png", scene.slide, scene.amap, max_px=10))
    assert list(tmp_path.iterdir()) == []
