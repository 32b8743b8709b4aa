"""A run in a process of its own, from the panel."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil
import pytest

from napari_mil._napari import worker
from napari_mil._napari.overlay import overlay_of
from napari_mil._napari.widgets.panel import MILPanel


def others() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it may be ending
            found += [child] if "napari_mil.features._isolated" in child.cmdline() else []
    return found


def test_a_ticked_run_computes_elsewhere_and_shows_its_map_here(open_window, run_panel, small_slide: Path) -> None:
    viewer, panel = open_window(small_slide)
    panel.run_tab.isolated.click()
    assert panel.run_tab.request().isolated
    run_panel(panel)
    assert [layer for layer in viewer.layers if overlay_of(layer) is not None]
    assert others() == []


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_crash_elsewhere_leaves_the_window_and_says_what_to_do(
    open_window, small_slide: Path, qtbot, monkeypatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari_mil._napari.widgets.dock_panel.show_error", said.append)
    _, panel = open_window(small_slide)
    panel.run_tab.isolated.click()
    panel.run_tab.run.click()
    qtbot.waitUntil(lambda: len(others()) == 1, timeout=30_000)
    others()[0].send_signal(signal.SIGSEGV)
    qtbot.waitUntil(lambda: not panel.running, timeout=30_000)
    assert len(said) == 1
    assert "ended without a word (signal 11)" in said[0]
    assert isinstance(panel, MILPanel)
    assert panel.run_tab.run.isEnabled()


def test_cancel_ends_the_other_process(open_window, small_slide: Path, qtbot) -> None:
    _, panel = open_window(small_slide)
    panel.run_tab.isolated.click()
    panel.run_tab.run.click()
    qtbot.waitUntil(lambda: len(others()) == 1, timeout=30_000)
    panel.run_tab.cancel.click()
    qtbot.waitUntil(lambda: not panel.running, timeout=30_000)
    # the button is free at once; the work behind it ends soon after
    qtbot.waitUntil(lambda: others() == [] and not worker._running, timeout=10_000)
