"""Several threads want the same: one makes it, all get it, and no accident leaves the others waiting."""

from __future__ import annotations

import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from napari_mil.slides import UnreadableRegionError, open_slide
from napari_mil.slides._segments import Segments
from napari_mil.slides._together import Together


def test_one_makes_it_for_all():
    together: Together[int] = Together()
    began, gate = threading.Event(), threading.Event()
    near = threading.Barrier(5)

    def make() -> int:
        began.set()
        gate.wait(10)
        return 7

    def ask() -> int:
        near.wait(10)
        return together.get("key", lambda: 8)

    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(together.get, "key", make)
        began.wait(10)
        others = [threads.submit(ask) for _ in range(4)]
        near.wait(10)
        threading.Event().wait(0.3)
        gate.set()
        assert [future.result(10) for future in (first, *others)] == [7] * 5
    assert together._waiting == {}


def test_an_interruption_is_its_own_threads_alone():
    """Those who wait make it themselves, rather than wait for ever."""
    together: Together[int] = Together()
    began, gate = threading.Event(), threading.Event()

    def interrupted() -> int:
        began.set()
        gate.wait(10)
        raise KeyboardInterrupt

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(together.get, "key", interrupted)
        began.wait(10)
        second = threads.submit(together.get, "key", lambda: 3)
        gate.set()
        with pytest.raises(KeyboardInterrupt):
            first.result(10)
        assert second.result(10) == 3


@pytest.mark.parametrize("accident", [KeyboardInterrupt, MemoryError, struct.error])
def test_a_tile_is_read_again_after_an_accident(noise_slide, noise_levels, monkeypatch, accident):
    """Of a window that cuts through tiles, so that what is decoded is shared."""
    real = Segments._load

    def fail(*_: object) -> None:
        raise accident("now")

    with open_slide(noise_slide) as slide, ThreadPoolExecutor(1) as thread:
        monkeypatch.setattr(Segments, "_load", fail)
        with pytest.raises(accident):
            slide.read(0, 10, 10, 100, 100)
        monkeypatch.setattr(Segments, "_load", real)
        again = thread.submit(slide.read, 0, 10, 10, 100, 100).result(10)
    assert np.array_equal(again, noise_levels[0][10:110, 10:110])


@pytest.mark.parametrize("accident", [struct.error("unpack requires 4 bytes"), None])
def test_what_decoders_stumble_over_is_a_damaged_place(noise_slide, monkeypatch, accident):
    def decode(*_: object) -> tuple[np.ndarray]:
        if accident is not None:
            raise accident
        return (np.zeros((2, 256, 256, 3), np.uint8),)  # more than one picture

    with open_slide(noise_slide) as slide:
        for plane in slide._source._levels[0]._planes:
            monkeypatch.setattr(plane, "_decode", decode)
        for _ in range(2):
            with pytest.raises(UnreadableRegionError, match="cannot be decoded"):
                slide.read(0, 10, 10, 100, 100)
