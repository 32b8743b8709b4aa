"""Models in the panel: other projects' files, the hub by name, a file dropped on the window, and what does not fit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from napari_mil._napari.reader import get_reader, read_models


@pytest.fixture
def window(open_window, small_slide: Path, own_folders: Path, shared_data: Path):
    """Return a function that opens a window beside a published CLAM model, of 1,024 numbers per patch."""
    shutil.copy(shared_data / "weights" / "clam_sb_s0.pt", own_folders / "models" / "clam.pt")
    return lambda: open_window(small_slide)


def test_other_projects_models_are_listed_and_say_what_they_take(window, qtbot, own_folders: Path) -> None:
    _, panel = window()
    tab, clam = panel.run_tab, own_folders / "models" / "clam.pt"
    qtbot.waitUntil(lambda: clam in [choice.value for choice in tab.model.choices], timeout=60_000)
    assert tab.model.current.value.name == "untrained.safetensors", "what was chosen stays"
    assert tab.model.choose(clam)
    assert "1,024 numbers per patch" in tab.model.current.help
    assert "does not say which encoder" in tab.card.text()
    reasons = {choice.label: choice.reason for choice in tab.encoder.choices}
    ours = reasons["Colour and texture (built in)"]
    assert ours == "This model takes 1024 numbers per patch; colour-texture gives 102."
    assert {choice.value for choice in tab.encoder.choices} >= {"uni", "resnet50_trunc", "phikonv2"}, "that might fit"
    assert "uni2" not in {choice.value for choice in tab.encoder.choices}, "which gives 1,536"
    if tab.encoder.current is None:
        assert "takes 1,024 numbers per patch, and no encoder at hand gives as many" in tab.status.text()
        assert not tab.run.isEnabled()
    tab.model.choose(own_folders / "models" / "untrained.safetensors")
    assert tab.run.isEnabled()


def test_a_model_file_dropped_on_the_window_is_chosen(window, qtbot, shared_data: Path, tmp_path: Path) -> None:
    viewer, panel = window()
    panel.tabs.setCurrentWidget(panel.heatmap_tab)
    dropped = shared_data / "weights" / "xmil_attnmil_camelyon.pt"
    assert get_reader(str(dropped)) is read_models
    before = len(viewer.layers)
    viewer.open(str(dropped), plugin="napari-mil")
    qtbot.waitUntil(lambda: panel.run_tab.models.path == dropped, timeout=60_000)
    assert len(viewer.layers) == before
    assert panel.tabs.currentWidget() is panel.run_tab
    assert "768 numbers per patch" in panel.run_tab.card.toolTip()
    bad = tmp_path / "notes.pt"
    bad.write_bytes(b"not a model")
    viewer.open(str(bad), plugin="napari-mil")
    qtbot.waitUntil(lambda: "notes.pt was not opened" in panel.run_tab.status.text(), timeout=60_000)
    assert panel.run_tab.models.path == dropped
    refused = {choice.value: choice.reason for choice in panel.run_tab.model.choices}[bad]
    assert "could run code" in refused


def test_a_model_of_the_hub_is_chosen_by_its_name(
    window, qtbot, untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    snapshot = tmp_path / "hub" / "models--lab--breast" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    shutil.copy(untrained_model, snapshot / "model.safetensors")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    _, panel = window()
    tab, field = panel.run_tab, panel.run_tab.models
    assert not field.hub_name.isVisible()
    [_, ask] = field.more.menu().actions()
    ask.trigger()
    assert field.hub_name.isVisible()
    qtbot.keyClicks(field.hub_name, "lab/nothing")
    field.hub_name.returnPressed.emit()
    qtbot.waitUntil(lambda: "hf:lab/nothing is not in the hub's cache" in tab.status.text(), timeout=60_000)
    assert "copy the model file here" in tab.status.text()
    field.hub_name.setText("hf:lab/breast")
    field.hub_name.returnPressed.emit()
    qtbot.waitUntil(lambda: field.path == snapshot / "model.safetensors", timeout=60_000)
    assert not field.hub_name.isVisible()
    assert tab.request().model == snapshot / "model.safetensors"
    assert os.path.basename(tab.request().slide_path)
