"""Extraction in a process of its own: the same features, true cancel, and whatever ends it ends it alone."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from napari_mil.errors import EncoderError, FeaturesError
from napari_mil.features import extract, iter_extract_isolated, load_encoder
from napari_mil.features._partial import claim, partial_path
from napari_mil.progress import finish
from napari_mil.slides import Slide
from napari_mil.tiling import TileGrid


def children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it may be ending
            found += [child] if "napari_mil.features._isolated" in child.cmdline() else []
    return found


def test_features_are_those_of_this_process(slide: Slide, grid: TileGrid, tmp_path: Path) -> None:
    encoder = load_encoder("colour-texture", tile_px=32, mpp=0.53)
    steps = iter_extract_isolated(slide, grid, encoder, device="cpu", out=tmp_path / "f.h5")
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            features = end.value
            break
    here = extract(slide, grid, encoder, device="cpu")
    assert features.values.tobytes() == here.values.tobytes()
    np.testing.assert_array_equal(features.grid.l0_rc, grid.l0_rc)
    assert features.encoder == encoder.info
    assert features.slide.quickhash == slide.quickhash
    assert seen[-1].done == len(grid)
    assert children() == []


def test_closing_ends_the_process_and_the_next_goes_on(slide: Slide, grid: TileGrid, tmp_path: Path) -> None:
    encoder = load_encoder("colour-texture", tile_px=32, mpp=0.53)
    out = tmp_path / "f.h5"
    steps = iter_extract_isolated(slide, grid, encoder, device="cpu", out=out)
    next(steps)
    [child] = children()
    steps.close()
    assert not child.is_running()
    assert not out.exists()
    features = finish(iter_extract_isolated(slide, grid, encoder, device="cpu", out=out))
    assert len(features) == len(grid)
    assert not partial_path(out).exists()


@pytest.mark.skipif(not hasattr(signal, "SIGSEGV") or os.name == "nt", reason="signals of Unix")
def test_a_crash_is_said_and_ends_nothing_else(slide: Slide, grid: TileGrid, tmp_path: Path) -> None:
    encoder = load_encoder("colour-texture", tile_px=32, mpp=0.53)
    steps = iter_extract_isolated(slide, grid, encoder, device="cpu", out=tmp_path / "f.h5")
    next(steps)
    [child] = children()
    threading.Timer(0.3, child.send_signal, [signal.SIGSEGV]).start()
    with pytest.raises(
        EncoderError, match=r"ended without a word \(signal 11\).*is kept; run again, or choose the CPU"
    ):
        finish(steps)


def test_its_mistakes_are_said_as_if_made_here(slide: Slide, grid: TileGrid, tmp_path: Path) -> None:
    encoder = load_encoder("colour-texture", tile_px=32, mpp=0.53)
    out = tmp_path / "f.h5"
    with claim(out), pytest.raises(FeaturesError, match="is being written by another process"):
        finish(iter_extract_isolated(slide, grid, encoder, device="cpu", out=out))


def test_an_encoder_made_by_hand_cannot_be_sent(slide: Slide, grid: TileGrid, tools, tmp_path: Path) -> None:
    encoder = load_encoder("colour-texture", tile_px=32, mpp=0.53)
    encoder.origin = ""
    with pytest.raises(ValueError, match="only encoders that load_encoder made"):
        next(iter_extract_isolated(slide, grid, encoder, device="cpu", out=tmp_path / "f.h5"))
