"""Tiles made in threads: each once, what is waited for first, what nobody wants any more not at all."""

from __future__ import annotations

import random
import re
import struct
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

from napari_mil.errors import SlideError
from napari_mil.slides import Slide, open_slide, resize_area
from napari_mil.slides._faults import RETRY_S, Faults
from napari_mil.slides._levels import _plan, cached_tile
from napari_mil.slides._loader import TileLoader


def test_each_key_is_made_once_while_many_ask():
    loader = TileLoader(4)
    made: list[int] = []
    gate = threading.Event()

    def make(key: int) -> int:
        gate.wait(10)
        made.append(key)
        return key

    futures = [loader.ask(object(), [(key, lambda key=key: make(key)) for key in range(3)]) for _ in range(5)]
    gate.set()
    for group in futures:
        assert [future.result(10) for future in group] == [0, 1, 2]
    assert sorted(made) == [0, 1, 2]


def test_many_threads_each_get_what_they_asked_for():
    loader = TileLoader(4)

    def user(seed: int) -> bool:
        rng = random.Random(seed)
        for _ in range(100):
            keys = rng.sample(range(30), 5)
            futures = loader.ask(object(), [(key, lambda key=key: key) for key in keys])
            if [future.result(10) for future in futures] != keys:
                return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(user, range(6)))


def test_a_newer_request_drops_what_only_the_older_wanted():
    loader = TileLoader(1)
    started, gate = threading.Event(), threading.Event()
    made: list[str] = []
    busy = loader.ask("other", [("busy", lambda: (started.set(), gate.wait(10)))])
    started.wait(10)
    first = loader.ask("view", [(name, lambda name=name: made.append(name)) for name in ("a", "b")])
    second = loader.ask("view", [(name, lambda name=name: made.append(name)) for name in ("b", "c")])
    gate.set()
    wait(busy + second, 10)
    assert first[0].cancelled()
    assert first[1] is second[0]
    assert made == ["b", "c"]


def test_what_is_waited_for_comes_before_what_may_be_wanted():
    loader = TileLoader(1)
    started, gate, done = threading.Event(), threading.Event(), threading.Event()
    made: list[str] = []
    loader.ask("x", [("busy", lambda: (started.set(), gate.wait(10)))])
    started.wait(10)
    loader.ask_ahead("view", [("ahead 1", lambda: made.append("ahead 1")), ("ahead 2", done.set)])
    urgent = loader.ask("view", [("now", lambda: made.append("now"))])
    gate.set()
    urgent[0].result(10)
    assert done.wait(10)
    assert made == ["now", "ahead 1"]


def test_a_long_task_gives_way_between_its_steps_and_what_is_urgent_does_not():
    loader = TileLoader(1)
    asked, done = threading.Event(), threading.Event()
    steps: list[str] = []

    def long() -> None:
        for step in range(3):
            if step == 1:
                asked.wait(10)
            loader.give_way()
            steps.append(f"step {step}")
        done.set()

    def urgent(name: str) -> None:
        loader.ask("third", [("late", lambda: steps.append("late"))])
        loader.give_way()
        steps.append(name)

    loader.give_way()  # of no task: nothing happens
    overview = loader.ask("overview", [("overview", long)], patient=True)
    view = loader.ask("view", [("view", lambda: urgent("view"))])
    asked.set()
    wait(overview + view, 10)
    assert done.is_set()
    assert steps.index("view") < steps.index("late") < steps.index("step 1")


def test_a_view_does_not_wait_for_an_overview_that_is_computed_from_the_whole_slide(noise_slide, monkeypatch):
    loader = TileLoader(1)
    for module in ("_pyramid", "_level_tiles"):
        monkeypatch.setattr(f"napari_mil.slides.{module}.tile_loader", lambda: loader)
    real, reads, gate = Slide.read, [], threading.Event()

    def read(self: Slide, *args: int) -> np.ndarray:
        reads.append(args[1:3])
        if len(reads) == 2:
            gate.wait(20)
        return real(self, *args)

    monkeypatch.setattr(Slide, "read", read)
    with open_slide(noise_slide) as slide:
        levels = slide.levels()
        _, overview = levels[-1].glimpse(0, 0, *levels[-1].shape[:2], wait_s=0.0, group="overview")
        while len(reads) < 2:
            threading.Event().wait(0.01)
        _, view = levels[0].glimpse(1024, 2560, 100, 100, wait_s=0.0)
        gate.set()
        wait(overview + view, 20)
        # the very next tile of the file that was read, though the overview had most of its own still to go
        assert reads.index((1024, 2560)) == 2
        assert len(reads) == 18


def test_an_error_reaches_all_who_wait():
    def fail() -> None:
        raise ValueError("broken")

    futures = TileLoader(2).ask("a", [("k", fail)])
    with pytest.raises(ValueError, match="broken"):
        futures[0].result(10)


def test_a_glimpse_is_coarse_first_and_exact_in_the_end(noise_slide, noise_levels, monkeypatch):
    gate = threading.Event()
    real = Slide.read
    with open_slide(noise_slide) as slide:
        level, overview = slide.levels()[0], slide.levels()[-1]
        small = overview[:]
        level.rest()  # stored tiles go, computed ones have a cache of their own
        monkeypatch.setattr(Slide, "read", lambda self, *args: (gate.wait(20), real(self, *args))[1])
        rgb, pending = level.glimpse(100, 200, 700, 900, wait_s=0.01)
        assert len(pending) == 6
        # each pixel is that of the overview that lies there
        rows = ((np.arange(100, 800) + 0.5) * overview.shape[0] / level.shape[0]).astype(int)
        cols = ((np.arange(200, 1100) + 0.5) * overview.shape[1] / level.shape[1]).astype(int)
        finer = slide.levels()[1][:]
        rows1 = ((np.arange(100, 800) + 0.5) * finer.shape[0] / level.shape[0]).astype(int)
        cols1 = ((np.arange(200, 1100) + 0.5) * finer.shape[1] / level.shape[1]).astype(int)
        shown = [small[rows][:, cols], finer[rows1][:, cols1]]
        assert any(np.array_equal(rgb, picture) for picture in shown)
        gate.set()
        wait(pending, 20)
        rgb, pending = level.glimpse(100, 200, 700, 900, wait_s=0.0)
        assert pending == []
        assert np.array_equal(rgb, noise_levels[0][100:800, 200:1100])


def test_with_nothing_at_hand_a_glimpse_is_background(noise_slide, monkeypatch):
    gate = threading.Event()
    real = Slide.read
    with open_slide(noise_slide) as slide:
        monkeypatch.setattr(Slide, "read", lambda self, *args: (gate.wait(20), real(self, *args))[1])
        rgb, pending = slide.levels()[0].glimpse(0, 0, 50, 60, wait_s=0.0)
        gate.set()
        assert (rgb == 255).all()
        assert len(pending) == 1
        wait(pending, 20)


def test_prefetch_makes_the_ring_and_the_levels_beside(noise_slide, noise_levels):
    with open_slide(noise_slide) as slide:
        level = slide.levels()[0]
        level.glimpse(512, 1024, 512, 512, wait_s=10)
        level.prefetch(512, 1024, 512, 512, heading=(0.0, 1.0))
        ring = {(r, c) for r in range(3) for c in range(1, 4)}
        for _ in range(500):
            have = {place for place in ring if (0, *place) in level._cache}
            if have == ring and (1, 0, 1) in slide.levels()[1]._cache:
                break
            threading.Event().wait(0.02)
        assert have == ring
        assert (1, 0, 1) in slide.levels()[1]._cache
        # nothing far away
        assert (0, 0, 5) not in level._cache


def test_tiles_are_whole_stored_pieces():
    assert cached_tile((256, 256)) == (512, 512)
    assert cached_tile((240, 240)) == (480, 480)
    assert cached_tile((1024, 1024)) == (1024, 1024)
    assert cached_tile((16, 2220)) == (512, 512)
    assert cached_tile((1, 1)) == (512, 512)


def test_levels_far_apart_get_others_between_them():
    assert _plan(((80_000, 100_000), (20_000, 25_000), (1250, 1562))) == [
        (0, (80_000, 100_000)),
        (None, (40_000, 50_000)),
        (1, (20_000, 25_000)),
        (None, (10_000, 12_500)),
        (None, (5000, 6250)),
        (None, (2500, 3125)),
        (2, (1250, 1562)),
        (None, (625, 781)),
    ]
    assert _plan(((4000, 4000), (2000, 2000), (1000, 1000))) == [
        (0, (4000, 4000)),
        (1, (2000, 2000)),
        (2, (1000, 1000)),
    ]


def test_a_failure_is_tried_again_later_and_forgiven(noise_slide, monkeypatch, caplog):
    real, broken = Slide.read, [True]

    def read(self: Slide, *args: int) -> np.ndarray:
        if broken[0]:
            raise SlideError("the drive is away")
        return real(self, *args)

    monkeypatch.setattr(Slide, "read", read)
    with open_slide(noise_slide) as slide:
        level = slide.levels()[0]
        hatched = level[:600, :600]
        assert len(level.faults) == 4
        assert caplog.text.count("the drive is away") == 1  # not once per tile
        broken[0] = False
        assert np.array_equal(level[:600, :600], hatched)  # too soon
        later = [0.0]
        monkeypatch.setattr("napari_mil.slides._faults.time.monotonic", lambda: later[0])
        faults = Faults()
        faults.note((0, 0, 0), SlideError("x"))
        later[0] = RETRY_S - 0.1
        assert faults.recent((0, 0, 0))
        later[0] = 1e9
        assert not faults.recent((0, 0, 0))
        assert not np.array_equal(level[:600, :600], hatched)
        assert len(level.faults) == 0
        assert level.faults.first is None


def test_stripes_do_not_outlive_the_fault_in_computed_levels(broken_tile_slide, noise_levels, monkeypatch):
    """A level computed while some tiles could not be read is computed anew once they can, and not before."""
    now = [0.0]
    monkeypatch.setattr("napari_mil.slides._faults.time.monotonic", lambda: now[0])
    real, broken, reads = Slide.read, [True], []

    def read(self: Slide, level: int, row: int, col: int, *size: int) -> np.ndarray:
        reads.append((row, col))
        if broken[0] and (row, col) == (512, 512):
            raise SlideError("the drive is away")
        return real(self, level, row, col, *size)

    with open_slide(broken_tile_slide) as slide:
        sound = noise_levels[0]
        monkeypatch.setattr(slide._source, "read", lambda _, r, c, h, w, out: sound[r : r + h, c : c + w].copy())
        truth = [level[:] for level in slide.levels()]
        thumbnail = slide.thumbnail(300)[0]
        slide.rest()
        monkeypatch.setattr(Slide, "read", read)
        levels = slide.levels()
        overview = levels[-1][:]
        assert not np.array_equal(overview, truth[-1])
        assert len(levels[-1].faults) == 1  # of the file's tiles; others only show it
        reads.clear()
        assert np.array_equal(levels[-1][:], overview)
        now[0] += RETRY_S
        shown, pending = levels[-1].glimpse(0, 0, *levels[-1].shape[:2], wait_s=0.0)
        assert np.array_equal(shown, overview)  # as it was, while it is made anew
        wait(pending, 20)
        assert np.array_equal(levels[-1][:], overview)
        assert set(reads) == {(512, 512)}  # what cannot be read is tried; the rest is not read again for it
        broken[0] = False
        now[0] += RETRY_S
        for level, pixels in zip(reversed(levels), reversed(truth), strict=True):
            assert np.array_equal(level[:], pixels)
        assert np.array_equal(slide.thumbnail(300)[0], thumbnail)
        assert len(levels[0].faults) == 0
        assert not any(levels[0].faults._striped)


@pytest.mark.parametrize("direct", [True, False])
def test_what_is_being_made_for_a_window_does_not_outlive_the_slides_rest(
    noise_slide, noise_levels, monkeypatch, direct
):
    """Neither tiles nor an open file are left, and what computes an overview stops between two tiles."""
    if not direct:
        monkeypatch.setattr("napari_mil.slides._tiff_open._DIRECT_VENDORS", frozenset())
    loader = TileLoader(2)
    for module in ("_pyramid", "_level_tiles"):
        monkeypatch.setattr(f"napari_mil.slides.{module}.tile_loader", lambda: loader)
    real, reads, gate = Slide.read, [], threading.Event()

    def read(self: Slide, *args: int) -> np.ndarray:
        reads.append(args)
        gate.wait(20)
        return real(self, *args)

    monkeypatch.setattr(Slide, "read", read)
    with open_slide(noise_slide) as slide:
        levels = slide.levels()
        _, overview = levels[-1].glimpse(0, 0, *levels[-1].shape[:2], wait_s=0.0, group="overview")
        _, view = levels[0].glimpse(0, 0, 512, 512, wait_s=0.0)
        while len(reads) < 2:
            threading.Event().wait(0.01)
        slide.rest()
        gate.set()
        wait([future for future in overview + view if not future.cancelled()], 20)
        assert len(reads) == 2
        assert sum(level._cache.nbytes for level in levels) == 0
        inner = slide._source
        assert (inner._bytes._descriptor is None) if direct else (inner._pool._idle == [])
        # whoever asks again gets all
        assert np.array_equal(levels[0][:], noise_levels[0])
        _, overview = levels[-1].glimpse(0, 0, *levels[-1].shape[:2], wait_s=20, group="overview")
        assert overview == []
        assert sum(level._cache.nbytes for level in levels) > 0


def test_whoever_waits_for_pixels_gets_them_though_the_window_has_gone(noise_slide, noise_levels, monkeypatch):
    """The tile was being computed for a window when another asked for it, too."""
    real, began, gate = Slide.read, threading.Event(), threading.Event()

    def read(self: Slide, *args: int) -> np.ndarray:
        began.set()
        gate.wait(20)
        return real(self, *args)

    with open_slide(noise_slide) as slide, ThreadPoolExecutor(1) as thread:
        levels = slide.levels()
        truth = resize_area(noise_levels[0], 0, 0, 1301, 2699, levels[1].shape[:2])
        monkeypatch.setattr(Slide, "read", read)
        _, view = levels[1].glimpse(0, 0, *levels[1].shape[:2], wait_s=0.0)
        began.wait(20)
        exact = thread.submit(lambda: levels[1][:])
        threading.Event().wait(0.3)
        slide.rest()
        gate.set()
        wait([future for future in view if not future.cancelled()], 20)
        assert np.array_equal(exact.result(20), truth)


@pytest.mark.parametrize(
    ("accident", "says"),
    [(MemoryError(), "too little memory to read"), (struct.error("unpack"), r"cannot be read \(error: unpack\)")],
)
def test_any_accident_is_a_fault_that_is_shown_counted_and_said_once(
    noise_slide, noise_levels, monkeypatch, caplog, accident, says
):
    real, now = Slide.read, [0.0]
    monkeypatch.setattr("napari_mil.slides._faults.time.monotonic", lambda: now[0])

    def fail(self: Slide, *_: int) -> np.ndarray:
        raise accident

    monkeypatch.setattr(Slide, "read", fail)
    with open_slide(noise_slide) as slide:
        level = slide.levels()[0]
        rgb, pending = level.glimpse(0, 0, 600, 600, wait_s=20)
        assert pending == []  # nobody goes on asking
        assert set(np.unique(rgb)) == {150, 200}
        assert len(level.faults) == 4
        assert re.search(says, str(level.faults.first))
        assert len(caplog.records) == 1
        now[0] += RETRY_S
        monkeypatch.setattr(Slide, "read", real)
        assert np.array_equal(level[:600, :600], noise_levels[0][:600, :600])
