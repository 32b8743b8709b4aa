"""The panel in the real window: run, see, threshold, cancel, close, fail, export."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from PIL import Image

from napari_mil._napari.layers import slide_of
from napari_mil._napari.overlay import overlay_of
from napari_mil._napari.session import attach
from napari_mil.errors import EncoderError
from napari_mil.export import as_scanned_px
from napari_mil.maps import PatchPlace, read_map
from napari_mil.pipeline import run


def overlays(viewer) -> list:
    return [overlay_of(layer) for layer in viewer.layers if overlay_of(layer) is not None]


def test_run_lays_the_map_over_the_slide_as_the_headless_run_does(
    open_window, run_panel, small_slide: Path, untrained_model: Path, tmp_path: Path
) -> None:
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    [overlay] = overlays(viewer)
    headless = run(small_slide, model=untrained_model, features_file=tmp_path / "f.h5", device="cpu")
    np.testing.assert_array_equal(overlay.map.grid.l0_rc, headless.map.grid.l0_rc)
    np.testing.assert_allclose(
        overlay.map.scores["attention"].raw, headless.map.scores["attention"].raw, rtol=1e-5, atol=1e-9
    )
    assert panel.tabs.currentWidget() is panel.heatmap_tab
    assert "tumour" in panel.heatmap_tab.prediction.text()
    assert {layer.name for layer in viewer.layers} >= {f"Tissue of {small_slide.stem}", small_slide.stem}
    assert f"{len(overlay.map):,} patches in" in panel.run_tab.status.text()


def test_threshold_hides_what_is_below_and_says_what_is_above(open_window, run_panel, small_slide: Path) -> None:
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    [overlay] = overlays(viewer)
    tab, pixels = panel.heatmap_tab, overlay.layer.data
    tab.threshold.slider.setValue(750)
    assert overlay.layer.data is pixels
    assert overlay.settings.threshold == pytest.approx(0.75, abs=1e-6)
    n = len(overlay.map)
    values = overlay.map.display(scale="rank")
    expected = int((values >= np.float32(0.75)).sum())
    painted = overlay.map.raster(scale="rank").values
    np.testing.assert_array_equal(pixels, np.where(painted >= np.float32(0.75), painted, np.nan))
    assert tuple(overlay.layer.contrast_limits) == (0, 1)  # each value keeps its colour
    assert f"<b>{expected:,}</b> of {n:,} patches" in tab.threshold.above.text()
    area = expected * (64 / 1000) ** 2
    assert f"{area:.2f}" in tab.threshold.above.text()
    assert panel.legend.isVisible()
    for words in ("Untrained", "Attention", "Rank", "At or above 0.75", f"{expected:,} of {n:,}", "not a diagnosis"):
        assert words in panel.legend.text


def test_scale_score_and_class_follow_and_stay_honest(open_window, run_panel, small_slide: Path) -> None:
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    [overlay] = overlays(viewer)
    tab = panel.heatmap_tab
    assert [c.value for c in tab.scale.choices] == ["rank", "ratio", "robust"]
    tab.scale.choose("ratio")
    n, raw = len(overlay.map), overlay.map.scores["attention"].raw
    shown = overlay.layer.data[np.isfinite(overlay.layer.data)]
    np.testing.assert_allclose(np.sort(shown), np.sort(np.log10(n * raw)), rtol=1e-4, atol=1e-5)
    tab.score.choose("contribution")
    assert overlay.settings.scale == "contribution"
    assert [c.value for c in tab.scale.choices] == ["contribution", "rank"]
    assert tab.klass.isVisibleTo(tab)
    tab.klass.choose(0)
    one = overlay.layer.data.copy()
    tab.klass.choose(1)
    np.testing.assert_allclose(overlay.layer.data, -one, rtol=1e-5, atol=1e-8)


def test_widget_opacity_and_napari_opacity_are_one(open_window, run_panel, small_slide: Path) -> None:
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    [overlay] = overlays(viewer)
    panel.heatmap_tab.look.opacity.setValue(300)
    assert overlay.layer.opacity == pytest.approx(0.3)
    overlay.layer.opacity = 0.8
    assert panel.heatmap_tab.look.opacity.value() == 800
    panel.heatmap_tab.look.visible_box.setChecked(False)
    assert not overlay.layer.visible
    assert not panel.legend.isVisible()


def test_cancel_answers_within_a_second_and_the_next_run_resumes(
    open_window, run_panel, qtbot, small_slide: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _slow_encoder(monkeypatch, seconds=0.3)
    viewer, panel = open_window(small_slide)
    panel.run_tab.run.click()
    qtbot.waitUntil(lambda: panel.run_tab.bar.maximum() > 0 and panel.run_tab.bar.value() > 0, timeout=60_000)
    before = len(calls)
    panel.run_tab.cancel.click()
    qtbot.waitUntil(lambda: not panel.running, timeout=10_000)
    assert len(calls) - before <= 2, "cancel waits for the batch in hand, not for the run"
    assert "Cancelled" in panel.run_tab.status.text()
    assert not overlays(viewer)
    assert panel.run_tab.run.isEnabled()
    left = list((own_folders / "features").iterdir())
    assert left, "what was read is kept"
    assert not [path for path in left if path.suffix == ".h5"], "and is not mistaken for a whole file"
    monkeypatch.undo()
    monkeypatch.setenv("NAPARI_MIL_MODELS", str(own_folders / "models"))
    monkeypatch.setenv("NAPARI_MIL_FEATURES", str(own_folders / "features"))
    panel.start_tour()
    run_panel(panel)
    assert panel.tour.title.text().startswith("2 of 3"), "the first card asks for the run that has been made"
    panel.tour.end()
    assert len(overlays(viewer)) == 1
    assert [path.suffix for path in (own_folders / "features").iterdir()] == [".h5"]


def test_removing_the_slide_mid_run_ends_it(
    open_window, qtbot, small_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _slow_encoder(monkeypatch, seconds=0.2)
    viewer, panel = open_window(small_slide)
    panel.run_tab.run.click()
    qtbot.waitUntil(lambda: panel.run_tab.bar.value() > 0, timeout=60_000)
    viewer.layers.remove(next(layer for layer in viewer.layers if slide_of(layer)))
    qtbot.waitUntil(lambda: not panel.running, timeout=10_000)
    assert not overlays(viewer)
    assert not panel.run_tab.run.isEnabled()
    assert "Open a slide" in panel.run_tab.status.text()


def test_closing_the_window_mid_run_ends_it_quietly(
    open_window, qtbot, small_slide: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from superqt.utils import WorkerBase

    _slow_encoder(monkeypatch, seconds=0.5)
    viewer, panel = open_window(small_slide)
    panel.run_tab.run.click()
    qtbot.waitUntil(lambda: panel.run_tab.bar.value() > 0, timeout=60_000)
    told: list[object] = []
    notification_manager.notification_ready.connect(told.append)
    viewer.close()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=20_000)
    notification_manager.notification_ready.disconnect(told.append)
    assert not told
    assert not [path for path in (own_folders / "features").iterdir() if path.suffix == ".h5"]


def test_an_error_arrives_as_a_notification_with_a_remedy(
    open_window, run_panel, small_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = tmp_path / "goes-away.tif"
    shutil.copy(small_slide, slide)
    viewer, panel = open_window(slide)
    slide.unlink()
    told: list[str] = []
    notification_manager.notification_ready.connect(lambda note: told.append(note.message))
    run_panel(panel)
    assert len(told) == 1
    assert "goes-away.tif" in told[0]
    assert panel.run_tab.status.text() == told[0]
    assert panel.run_tab.run.isEnabled()
    assert not overlays(viewer)


def test_running_out_of_memory_is_reported_not_swallowed(
    open_window, run_panel, small_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch raises RuntimeError for everything, which superqt's own worker takes for a deleted window."""
    import napari_mil.pipeline

    def fail(*args: object, **options: object) -> None:
        raise EncoderError("Not enough memory even for one patch. Choose the CPU.") from RuntimeError("oom")

    monkeypatch.setattr(napari_mil.pipeline, "iter_attention_map", fail)
    _, panel = open_window(small_slide)
    told: list[str] = []
    notification_manager.notification_ready.connect(lambda note: told.append(note.message))
    run_panel(panel)
    assert told == ["Not enough memory even for one patch. Choose the CPU."]


def test_an_unforeseen_error_keeps_the_window_usable(
    open_window, run_panel, small_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import napari_mil.pipeline

    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("something in a driver")

    seen: list[type] = []
    monkeypatch.setattr(napari_mil.pipeline, "iter_attention_map", fail)
    monkeypatch.setattr(notification_manager, "receive_error", lambda kind, *rest: seen.append(kind))
    _, panel = open_window(small_slide)
    run_panel(panel)
    assert seen == [RuntimeError]
    assert panel.run_tab.run.isEnabled()


def test_what_cannot_run_is_greyed_with_the_reason(
    open_window, small_slide: Path, own_folders: Path, shared_data: Path
) -> None:
    shutil.copy(shared_data / "weights" / "idc_cnn.torchscript.pt", own_folders / "models")
    (own_folders / "models" / "broken.safetensors").write_bytes(b"not a model")
    _, panel = open_window(small_slide)
    reasons = {choice.label: choice.reason for choice in panel.run_tab.encoder.choices}
    assert reasons["Colour and texture (built in)"] == ""
    assert "colour-texture" in reasons["idc_cnn"] or "tile-px" in reasons["idc_cnn"]
    models = {choice.value.name: choice.reason for choice in panel.run_tab.model.choices}
    assert models["untrained.safetensors"] == ""
    assert "not a readable safetensors" in models["broken.safetensors"]
    devices = {choice.value: choice.reason for choice in panel.run_tab.device.choices}
    assert devices["auto"] == ""
    assert devices["cpu"] == ""
    import torch

    if not torch.cuda.is_available():
        assert devices["cuda"].endswith(".")


def test_without_a_slide_the_panel_says_what_to_do(make_napari_viewer, own_folders: Path) -> None:
    from napari_mil._napari.launch import show_panel

    panel = show_panel(make_napari_viewer())
    assert not panel.run_tab.run.isEnabled()
    assert "Open a slide" in panel.run_tab.status.text()


def test_a_slide_without_scale_is_asked_for_it(open_window, run_panel, shared_data: Path) -> None:
    viewer, panel = open_window(shared_data / "slides" / "tcga-jp2k-no-mpp.svs")
    layer = viewer.layers[0]
    assert "no scale" in layer.name
    assert not panel.run_tab.run.isEnabled()
    assert "scale" in panel.run_tab.status.text()
    panel.run_tab.scale.entry.setValue(0.25)
    panel.run_tab.scale.entry.editingFinished.emit()
    assert panel.run_tab.run.isEnabled()
    assert tuple(layer.scale) == (0.25, 0.25)
    assert str(layer.units[0]) == "micrometer"
    run_panel(panel)
    [overlay] = overlays(viewer)
    assert overlay.map.slide.mpp == (0.25, 0.25)
    assert overlay.map.grid.tile_l0 == pytest.approx(64 / 0.25)


def test_top_patches_are_written_in_the_background(
    open_window, run_panel, qtbot, small_slide: Path, tmp_path: Path
) -> None:
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    [overlay] = overlays(viewer)
    panel.start_export(overlay, "patches", 5, tmp_path)
    qtbot.waitUntil(lambda: not panel.running, timeout=30_000)
    [folder] = [path for path in tmp_path.iterdir() if path.name.startswith(small_slide.stem)]
    assert len(list(folder.glob("*.png"))) == 5
    assert (folder / "patches.csv").is_file()
    assert str(folder) in panel.heatmap_tab.note.text()


def test_the_menu_saves_what_is_shown(
    open_window, run_panel, qtbot, monkeypatch, small_slide: Path, tmp_path: Path
) -> None:
    """Through the menu: hot spots above the threshold on the screen, tags in the table, words in the report."""
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    [overlay] = overlays(viewer)
    tab, menu = panel.heatmap_tab, panel.heatmap_tab.menu
    menu.aboutToShow.emit()
    assert not menu.entries["hot-spots"].isEnabled()
    overlay.choose(scale="ratio")
    overlay.cut("count", 5)
    overlay.settings.inverted = False
    menu.aboutToShow.emit()
    book, slide = attach(viewer).tags, overlay.map.slide.quickhash
    place = PatchPlace.of(overlay.map.grid, 3)
    book.keep(slide, book.of(slide).tagged([place], "mitosis"))
    for wanted, name in (("hot-spots", "a.geojson"), ("table", "a.csv"), ("report", "a.html")):
        monkeypatch.setattr(menu, "ask", lambda *_, name=name: tmp_path / name)
        menu.entries[wanted].trigger()
        assert panel.running
        assert not tab.export.isEnabled()
        qtbot.waitUntil(lambda: not panel.running, timeout=30_000)
        assert str(tmp_path / name) in tab.note.text()
    spots = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))["features"]
    assert sum(spot["properties"]["measurements"]["Patches"] for spot in spots) == overlay.summary().count == 5
    with (tmp_path / "a.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["shown"]) for row in rows] == [int(v) for v in overlay.view.values >= overlay.settings.threshold]
    assert rows[3]["tags"] == "mitosis"
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert f"5 of {len(overlay.map):,} patches" in page
    assert overlay.view.scale.title in page
    # as scanned: a pixel of the slide is one of the picture
    scanned = as_scanned_px(overlay.map)
    monkeypatch.setattr(menu, "ask", lambda *_: tmp_path / "a.png")
    [*_, as_scanned] = menu.larger.actions()
    assert as_scanned.text() == f"As &scanned, {scanned:,} pixels…"
    as_scanned.trigger()
    qtbot.waitUntil(lambda: not panel.running, timeout=30_000)
    with Image.open(tmp_path / "a.png") as picture:
        assert max(picture.size) == pytest.approx(scanned, abs=1)


def test_everything_is_saved_into_a_new_folder(
    open_window, run_panel, qtbot, monkeypatch, small_slide: Path, tmp_path: Path
) -> None:
    _, panel = open_window(small_slide)
    run_panel(panel)
    panel.heatmap_tab.k.setValue(3)
    monkeypatch.setattr(panel.heatmap_tab.menu, "ask", lambda *_: tmp_path)
    panel.heatmap_tab.menu.entries["everything"].trigger()
    qtbot.waitUntil(lambda: not panel.running, timeout=60_000)
    [folder] = [path for path in tmp_path.iterdir() if path.name.startswith(small_slide.stem)]
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "patches", "patches.csv", "contact-sheet.png", "heatmap.png", "attention.geojson", "outline.geojson",
        "attention.ome.tif", "all-patches.csv", "figure.pdf", "report.html",
    }  # fmt: skip
    assert len(list((folder / "patches").iterdir())) == 3


def test_panel_fits_a_laptop_screen(open_window, run_panel, small_slide: Path) -> None:
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    for tab in (panel.run_tab, panel.heatmap_tab):
        assert tab.minimumSizeHint().height() < 560
        assert tab.minimumSizeHint().width() <= 330
    assert viewer.window.geometry()[3] <= 768


def test_the_writer_saves_the_map_of_the_layer(
    open_window, run_panel: Callable, small_slide: Path, tmp_path: Path
) -> None:
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    [overlay] = overlays(viewer)
    written = overlay.layer.save(str(tmp_path / "map.h5"), plugin="napari-mil")
    assert written == [str(tmp_path / "map.h5")]
    again = read_map(tmp_path / "map.h5")
    np.testing.assert_array_equal(again.scores["attention"].raw, overlay.map.scores["attention"].raw)
    [layer] = viewer.open(str(tmp_path / "map.h5"), plugin="napari-mil")
    np.testing.assert_array_equal(layer.data, overlay.map.raster().values)
    np.testing.assert_allclose(layer.translate, overlay.layer.translate)


def _slow_encoder(monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[int]:
    """Make each batch take a while, and batches small, so that a run can be met in the middle; count the calls."""
    import napari_mil.pipeline as pipeline
    from napari_mil.features import Encoder

    encode = Encoder.encode_bytes

    def slowly(self: Encoder, batch: object) -> object:
        calls.append(len(calls))
        time.sleep(seconds)
        return encode(self, batch)

    calls: list[int] = []
    real = pipeline.iter_extract
    monkeypatch.setattr(Encoder, "encode_bytes", slowly)
    monkeypatch.setattr(pipeline, "iter_extract", lambda *a, **k: real(*a, **{**k, "batch_size": 8}))
    return calls


def test_a_second_map_hides_the_first(open_window, run_panel, small_slide: Path) -> None:
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    run_panel(panel)
    first, second = overlays(viewer)
    shown = [one for one in (first, second) if one.layer.visible]
    assert shown == [panel.heatmap_tab.overlay]
    other = second if shown == [first] else first
    panel.heatmap_tab.choose_map(other.layer)
    assert [one.layer.visible for one in (shown[0], other)] == [False, True]
    assert len([layer for layer in viewer.layers if layer.name.startswith("Tissue of")]) == 1


def test_correcting_the_scale_takes_away_what_lay_elsewhere(open_window, run_panel, shared_data: Path) -> None:
    viewer, panel = open_window(shared_data / "slides" / "tcga-jp2k-no-mpp.svs")
    for mpp in (0.25, 0.5):
        panel.run_tab.scale.change.click()
        panel.run_tab.scale.entry.setValue(mpp)
        panel.run_tab.scale.entry.editingFinished.emit()
        assert len(viewer.layers) == 1
        assert "no scale" not in panel.run_tab.slide.currentText()
        run_panel(panel)
        [overlay] = overlays(viewer)
        assert overlay.map.slide.mpp == (mpp, mpp)
        [outline] = [layer for layer in viewer.layers if layer.name.startswith("Tissue of")]
        assert tuple(outline.scale) == (mpp, mpp)


def test_cancel_right_after_run_answers_at_once(
    open_window, run_panel, small_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, panel = open_window(small_slide)
    panel.run_tab.run.click()
    panel.run_tab.cancel.click()
    assert not panel.running
    assert "Cancelled" in panel.run_tab.status.text()
    run_panel(panel)
    assert len(overlays(viewer)) == 1


def test_closing_the_panel_ends_its_run_and_takes_its_legend_along(
    open_window, run_panel, qtbot, small_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_mil._napari.launch import show_panel

    viewer, panel = open_window(small_slide)
    run_panel(panel)
    assert panel.legend.isVisible()
    legend = panel.legend
    gone: list[bool] = []
    legend.destroyed.connect(lambda: gone.append(True))
    _slow_encoder(monkeypatch, seconds=0.1)
    viewer.window.remove_dock_widget(panel)
    qtbot.waitUntil(lambda: bool(gone), timeout=10_000)
    assert not panel.running
    again = show_panel(viewer)
    assert again is not panel
    assert again.heatmap_tab.overlay is overlays(viewer)[0]


def test_at_the_lower_end_of_a_scale_everything_is_counted(open_window, run_panel, small_slide: Path) -> None:
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    [overlay] = overlays(viewer)
    panel.heatmap_tab.scale.choose("ratio")
    panel.heatmap_tab.threshold.slider.setValue(0)
    n = len(overlay.map)
    assert f"All shown: <b>{n:,}</b> of {n:,} patches" in panel.heatmap_tab.threshold.above.text()


def test_a_duplicated_map_has_settings_of_its_own(open_window, run_panel, small_slide: Path) -> None:
    viewer, panel = open_window(small_slide)
    run_panel(panel)
    [overlay] = overlays(viewer)
    from napari.layers import Image

    copy = Image.create(*overlay.layer.as_layer_data_tuple())
    twin = overlay_of(copy)
    assert twin is not overlay
    twin.settings.threshold = 0.9
    assert overlay.settings.threshold == 0.0
    assert np.nanmin(copy.data) >= np.float32(0.9)
    assert np.nanmin(overlay.layer.data) < 0.5


def test_an_encoder_whose_tiles_only_the_model_knows_can_be_run(
    open_window, small_slide: Path, own_folders: Path, shared_data: Path
) -> None:
    from dataclasses import replace

    from napari_mil.models import create_model, save_model

    shutil.copy(shared_data / "weights" / "idc_cnn.torchscript.pt", own_folders / "models")
    model = create_model("attention", in_features=256, seed=0)
    model.card = replace(model.card, title="IDC", encoder="idc_cnn", tile_px=50, mpp=4.0)
    save_model(own_folders / "models" / "idc.safetensors", model)
    _, panel = open_window(small_slide)
    panel.run_tab.model.choose(own_folders / "models" / "idc.safetensors")
    assert panel.run_tab.encoder.current.label == "idc_cnn"
    (own_folders / "models" / "idc_cnn.torchscript.pt").unlink()
    panel.run_tab.add_model(own_folders / "models" / "idc.safetensors")
    assert "needs the encoder idc_cnn" in panel.run_tab.status.text()
