"""A display that is not there, or no longer: said in a sentence, where Qt would end the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import napari_mil as nm
from napari_mil._napari.display import display_problem
from napari_mil.console import Console
from napari_mil.demo import run_demo

STALE = ":987"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")


@pytest.fixture
def displays(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return what sets the environment, in which no display is named."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_display_is_tried_and_not_only_looked_up(displays: pytest.MonkeyPatch) -> None:
    assert display_problem() == "there is no display"
    displays.setenv("DISPLAY", STALE)
    assert display_problem().startswith("Qt says: ")
    displays.setenv("QT_QPA_PLATFORM", "offscreen")  # which needs none
    assert display_problem() == ""


def test_a_display_that_does_not_answer_is_not_waited_for(displays: pytest.MonkeyPatch) -> None:
    displays.setattr("napari_mil._napari.display._LONG_S", 0.0)
    displays.setenv("DISPLAY", ":988")
    assert display_problem() == "the display :988 does not answer"


def test_view_on_a_stale_display_ends_with_a_sentence(small_slide: Path, displays: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "napari_mil.cli", "view", str(small_slide)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "DISPLAY": STALE}, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("napari-mil: No window can be opened here (Qt says: ")
    assert done.stderr.endswith("napari-mil run --help.\n")
    assert done.stderr.count("\n") == 1


def test_the_demo_on_a_stale_display_leaves_its_report_and_says_so(
    small_slide: Path, untrained_model: Path, tmp_path: Path, displays: pytest.MonkeyPatch, capsys
) -> None:
    """With a smaller slide than the sample."""
    displays.setattr(
        "napari_mil.demo.iter_run",
        lambda *_, out, **__: nm.iter_run(small_slide, model=untrained_model, out=out, top_k=1, device="cpu"),
    )
    displays.setattr("napari_mil._napari.launch.view_slide", lambda *_, **__: pytest.fail("a window was opened"))
    displays.setenv("DISPLAY", STALE)
    run_demo(tmp_path / "demo", window=True, console=Console(True))
    note = json.loads(capsys.readouterr().out)["note"]
    assert "No window was opened (Qt says: " in note
    assert note.endswith(f"the picture is {tmp_path / 'demo' / 'heatmap.png'}.")
    assert (tmp_path / "demo" / "attention.geojson").is_file()
