"""Reading: right pixels, at every level, from any thread, and a clear end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openslide
import pytest

from napari_mil.errors import SlideError
from napari_mil.slides import Slide, open_slide
from napari_mil.slides._openslide import OpenSlideSource


def by_openslide(path):
    """Open a slide that is read by OpenSlide, whatever could read it faster."""
    return Slide(OpenSlideSource(path), path=path, file=path)


def centroid(darkness: np.ndarray) -> tuple[float, float]:
    rows, cols = np.indices(darkness.shape)
    total = darkness.sum()
    return (rows * darkness).sum() / total, (cols * darkness).sum() / total


def test_level_0_is_the_very_pixels(noise_slide, noise_levels):
    with open_slide(noise_slide) as slide:
        assert np.array_equal(slide.read(0, 0, 0, *slide.shape), noise_levels[0])
        window = slide.read(0, 501, 1203, 77, 301)
        assert window.flags.c_contiguous
        assert window.flags.writeable
        assert window.dtype == np.uint8
        assert np.array_equal(window, noise_levels[0][501:578, 1203:1504])


def test_outside_is_background(noise_slide, noise_levels):
    with open_slide(noise_slide) as slide:
        window = slide.read(0, -10, -20, 50, 60)
        assert (window[:10] == 255).all()
        assert (window[:, :20] == 255).all()
        assert np.array_equal(window[10:, 20:], noise_levels[0][:40, :40])
        window = slide.read(0, 1290, 2690, 30, 30)
        assert np.array_equal(window[:11, :9], noise_levels[0][1290:, 2690:])
        assert (window[11:] == 255).all()
        assert (window[:, 9:] == 255).all()
        assert (slide.read(0, 5000, 5000, 4, 4) == 255).all()
        assert slide.read(0, 10, 10, 0, 5).shape == (0, 5, 3)


def test_levels_agree_on_where_things_are(fiducial_slide, blobs):
    with open_slide(fiducial_slide) as slide:
        for level, downsample in enumerate(slide.level_downsamples):
            picture = slide.read(level, 0, 0, *slide.level_shapes[level])
            for (row, col), channel in blobs.items():
                # a window about the blob, wide enough for its tails
                half = 160 / downsample
                top, left = int(row / downsample - half), int(col / downsample - half)
                size = int(2 * half)
                darkness = 230.0 - picture[top : top + size, left : left + size, channel]
                r, c = centroid(darkness)
                assert (top + r + 0.5) * downsample - 0.5 == pytest.approx(row, abs=0.5 * downsample)
                assert (left + c + 0.5) * downsample - 0.5 == pytest.approx(col, abs=0.5 * downsample)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_window_is_part_of_the_level(fiducial_slide, fiducial_levels, level):
    with open_slide(fiducial_slide) as slide:
        window = slide.read(level, 101, 57, 200, 150)
    truth = fiducial_levels[level][101:301, 57:207].astype(int)
    # OpenSlide takes whole level-0 pixels for a corner, so a window may sit a fraction of a level pixel off
    assert np.abs(window - truth).max() <= (0 if level == 0 else 3)


def test_tiles_that_were_not_scanned_are_background_not_black(write_slide, tmp_path):
    path = write_slide(tmp_path / "sparse.tif", [(700, 900)])
    with open_slide(path) as slide:
        assert (slide.read(0, 0, 0, 700, 900) == 255).all()


def test_many_threads_read_what_one_reads(noise_slide, noise_levels):
    rng = np.random.default_rng(1)
    places = [(int(r), int(c)) for r, c in zip(rng.integers(0, 1200, 200), rng.integers(0, 2500, 200), strict=True)]
    with by_openslide(noise_slide) as slide, ThreadPoolExecutor(8) as threads:
        for (r, c), got in zip(places, threads.map(lambda p: slide.read(0, *p, 90, 110), places), strict=True):
            truth = np.full((90, 110, 3), 255, np.uint8)
            part = noise_levels[0][r : r + 90, c : c + 110]
            truth[: part.shape[0], : part.shape[1]] = part
            assert np.array_equal(got, truth)
        assert len(slide._source._pool._idle) <= 8


def test_nonsense_is_refused(noise_slide):
    with open_slide(noise_slide) as slide:
        with pytest.raises(ValueError, match="level must be 0 to 0, not 1"):
            slide.read(1, 0, 0, 5, 5)
        with pytest.raises(ValueError, match="level must be"):
            slide.read(-1, 0, 0, 5, 5)
        with pytest.raises(ValueError, match="cannot be"):
            slide.read(0, 0, 0, -5, 5)


def test_after_close_every_way_in_says_so(noise_slide):
    slide = open_slide(noise_slide)
    levels = slide.pyramid()
    assert not slide.closed
    slide.close()
    slide.close()
    assert slide.closed
    for attempt in (
        lambda: slide.read(0, 0, 0, 5, 5),
        lambda: slide.read_patch(0, 0, 5, 5),
        lambda: slide.thumbnail(100),
        lambda: np.asarray(levels[0][:5, :5]),
    ):
        with pytest.raises(SlideError, match=r"has been closed\. Open the slide again"):
            attempt()


def test_closing_while_others_read_leaves_no_handle_open(noise_slide, monkeypatch):
    slide = by_openslide(noise_slide)
    reading, closed = threading.Event(), threading.Event()
    handles = []
    real = openslide.OpenSlide.read_region

    def slow(handle, *args):
        handles.append(handle)
        reading.set()
        closed.wait(10)
        return real(handle, *args)

    monkeypatch.setattr(openslide.OpenSlide, "read_region", slow)
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(slide.read, 0, 0, 0, 10, 10)
        reading.wait(10)
        slide.close()
        closed.set()
        assert future.result().shape == (10, 10, 3)
    assert slide._source._pool._idle == []
    with pytest.raises(Exception, match="closed"):
        real(handles[0], (0, 0), 0, (1, 1))


def test_a_passing_error_is_outlived(noise_slide, noise_levels, monkeypatch):
    failures = iter([True, False])
    used = []
    real = openslide.OpenSlide.read_region

    def once(handle, *args):
        used.append(handle)
        if next(failures, False):
            raise openslide.OpenSlideError("network drive went away")
        return real(handle, *args)

    with by_openslide(noise_slide) as slide:
        monkeypatch.setattr(openslide.OpenSlide, "read_region", once)
        assert np.array_equal(slide.read(0, 5, 6, 7, 8), noise_levels[0][5:12, 6:14])
        assert used[0] is not used[1]


def test_a_damaged_tile_spoils_only_itself(broken_tile_slide, noise_levels):
    with open_slide(broken_tile_slide) as slide:
        for _ in range(2):
            with pytest.raises(SlideError, match=r"damaged\.tif cannot be read at row 600, column 800 \(level 0"):
                slide.read(0, 600, 800, 40, 50)
            assert np.array_equal(slide.read(0, 0, 0, 500, 700), noise_levels[0][:500, :700])
        assert np.array_equal(slide.read(0, 800, 1100, 400, 700), noise_levels[0][800:1200, 1100:1800])


def test_a_slide_that_vanishes_is_an_error_with_a_remedy(noise_slide, tmp_path):
    path = tmp_path / "gone.tif"
    path.write_bytes(noise_slide.read_bytes())
    slide = by_openslide(path)
    slide._source._pool._idle.pop().close()
    path.unlink()
    with pytest.raises(SlideError, match=r"is no longer there\. Check that its drive is connected"):
        slide.read(0, 0, 0, 5, 5)
    slide.close()


@pytest.mark.parametrize("max_px", [0, -3])
def test_a_thumbnail_of_no_pixels_is_refused(noise_slide, max_px):
    with open_slide(noise_slide) as slide, pytest.raises(ValueError, match="max_px must be at least 1"):
        slide.thumbnail(max_px)
