"""The map that grows while a run goes on: coarse first, provisional in word and look, gone at the end."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image

from napari_mil import pipeline
from napari_mil._napari import worker
from napari_mil._napari.layers import KEY, LIVE_OF, slide_of
from napari_mil._napari.overlay import overlay_of
from napari_mil._napari.writer import write_map
from napari_mil.features import Encoder, _encoding, read_features
from napari_mil.maps import LiveMap
from napari_mil.pipeline import run
from napari_mil.progress import finish

BATCH = 3
UNDER_WAY = 8
"""Batches that may have been asked for before anybody wanted others: read or encoded, or waiting for that."""


class Gate:
    """Lets so many batches of a few patches through the encoder, one after the other; records which have come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._permits = threading.Semaphore(0)
        self.arrived: list[np.ndarray] = []
        encode, extract = Encoder.encode_bytes, pipeline.iter_extract

        def gated(encoder: Encoder, pixels: object) -> object:
            self._permits.acquire()
            return encode(encoder, pixels)

        def told(*args: object, **options: object) -> object:
            take = options["arrived"]

            def both(tiles: np.ndarray, values: np.ndarray) -> None:
                self.arrived.append(tiles)
                take(tiles, values)

            return extract(*args, **{**options, "batch_size": BATCH, "threads": 1, "arrived": both})

        monkeypatch.setattr(_encoding, "usable_cores", lambda: 2)  # one encodes
        monkeypatch.setattr(Encoder, "encode_bytes", gated)
        monkeypatch.setattr(pipeline, "iter_extract", told)

    @property
    def done(self) -> int:
        return sum(map(len, self.arrived))

    def let(self, batches: int) -> None:
        self._permits.release(batches)

    def open(self) -> None:
        self.let(10_000)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(monkeypatch)
    yield made
    made.open()


def provisional(viewer) -> list[Image]:
    return [layer for layer in viewer.layers if LIVE_OF in layer.metadata.get(KEY, {})]


def start(qtbot, panel, gate: Gate, batches: int) -> None:
    """Press Run and wait until as many batches are on the screen."""
    panel.run_tab.run.click()
    go_on(qtbot, panel, gate, batches)


def go_on(qtbot, panel, gate: Gate, batches: int) -> None:
    wanted = len(gate.arrived) + batches
    gate.let(batches)
    qtbot.waitUntil(lambda: len(gate.arrived) == wanted, timeout=30_000)
    qtbot.waitUntil(lambda: panel.live.seen and len(panel.live._shown.map) == gate.done, timeout=30_000)


def test_the_map_grows_and_ends_as_the_headless_one(
    open_window, qtbot, gate: Gate, small_slide: Path, untrained_model: Path, own_folders: Path, tmp_path: Path
) -> None:
    viewer, panel = open_window(small_slide)
    slide = next(layer for layer in viewer.layers if slide_of(layer))
    viewer.layers.selection.active = slide
    start(qtbot, panel, gate, 3)
    [layer] = provisional(viewer)
    total = panel.live._shown.total
    assert layer.name.startswith("Provisional: Untrained on ")
    assert viewer.layers.selection.active is slide, "who draws in a layer goes on drawing in it"
    assert f"Provisional: {gate.done} of {total:,} patches" in panel.legend.text
    assert "So far: " in panel.legend.text
    assert panel.legend.property("provisional")
    strength = layer.data[..., 3]
    assert (strength == 255).sum() == gate.done
    assert ((strength > 0) & (strength < 255)).sum() > gate.done, "coarse cells around them, and paler"
    pixels = layer.data
    go_on(qtbot, panel, gate, 4)
    assert layer.data is pixels
    assert (pixels[..., 3] == 255).sum() == gate.done
    layer.visible = False
    assert not panel.legend.isVisible()
    layer.visible = True
    assert f"{gate.done} of" in panel.legend.text
    height = panel.legend.height()
    gate.open()
    qtbot.waitUntil(lambda: not panel.running, timeout=60_000)
    assert not provisional(viewer)
    assert panel.live is None
    assert panel.legend.height() < height, "fewer words take less room"
    assert not panel.legend.property("provisional")
    assert "Provisional" not in panel.legend.text
    [overlay] = [overlay_of(one) for one in viewer.layers if overlay_of(one) is not None]

    # headless, row by row, of the same batches
    with pytest.MonkeyPatch.context() as patch:
        from napari_mil.features import iter_extract

        patch.setattr(pipeline, "iter_extract", lambda *a, **k: iter_extract(*a, **{**k, "batch_size": BATCH}))
        result = run(small_slide, model=untrained_model, features_file=tmp_path / "f.h5", device="cpu")
    for name, score in result.map.scores.items():
        np.testing.assert_array_equal(overlay.map.scores[name].raw, score.raw)
    np.testing.assert_array_equal(overlay.map.prediction.logits, result.map.prediction.logits)
    [kept] = (own_folders / "features").glob("*.h5")
    found, wanted = read_features(kept), read_features(tmp_path / "f.h5")
    np.testing.assert_array_equal(found.values, wanted.values)
    np.testing.assert_array_equal(found.grid.l0_rc, wanted.grid.l0_rc)


def test_as_it_goes_only_what_came_with_it_is_looked_through_for_garbage(
    open_window, qtbot, gate: Gate, small_slide: Path
) -> None:
    """napari has Python do so at every layer that goes: with PyTorch and all else it would stop the window."""
    gc.unfreeze()
    viewer, panel = open_window(small_slide)
    known = len(gc.get_objects())
    start(qtbot, panel, gate, 1)
    assert len(provisional(viewer)) == 1
    assert gc.is_tracked(panel.live.layer)
    looked_through: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda *_: looked_through.append(len(gc.get_objects())))
        panel.run_tab.cancel.click()
        gate.open()
        qtbot.waitUntil(lambda: not panel.running, timeout=20_000)
    assert looked_through
    assert max(looked_through) < known / 5
    assert not gc.get_freeze_count(), "everything is looked through again afterwards"


def test_errors_at_its_end_leave_nothing_set_aside_from_the_search_for_garbage(
    open_window, qtbot, gate: Gate, small_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.unfreeze()
    viewer, panel = open_window(small_slide)
    start(qtbot, panel, gate, 1)
    job = panel._jobs.job
    assert gc.get_freeze_count()

    def broken(*_: object) -> None:
        raise OSError("a driver's fault")

    with monkeypatch.context() as patch:
        patch.setattr(panel, "_add_result", broken)
        patch.setattr(viewer.layers, "remove", broken)
        with pytest.raises(OSError, match="driver"):
            panel._run_done((None, None))
    job.abandon()
    gate.open()
    qtbot.waitUntil(lambda: job not in worker._running, timeout=30_000)  # a thread at work keeps the window
    assert not gc.get_freeze_count()
    assert panel.live is None
    assert not panel.running
    assert not panel.legend.isVisible(), "it would speak of a map that has ended"


def test_what_is_looked_at_and_then_what_is_drawn_is_read_first(
    open_window, qtbot, gate: Gate, small_slide: Path
) -> None:
    viewer, panel = open_window(small_slide)
    start(qtbot, panel, gate, 1)
    grid = panel.live.live.grid
    scale = np.asarray(provisional(viewer)[0].scale) / grid.stride_l0
    rest = np.setdiff1d(np.arange(len(grid)), np.concatenate(gate.arrived))
    # the corner that comes last, row by row, alone fills the canvas
    target = rest[-1]
    viewer.camera.center = tuple((grid.l0_rc[target] + grid.tile_l0 / 2) * scale)
    viewer.camera.zoom = min(panel._canvas_px()) / (0.8 * grid.tile_l0 * scale[0])
    qtbot.waitUntil(lambda: panel.live.live.priority() is not None, timeout=10_000)
    wanted = panel.live.live.priority()
    assert wanted[target] == 1
    assert wanted.sum() < 9
    go_on(qtbot, panel, gate, UNDER_WAY + 1)
    assert target in np.concatenate(gate.arrived)
    rest = np.setdiff1d(np.arange(len(grid)), np.concatenate(gate.arrived))
    drawn = rest[len(rest) // 2]
    top, left = grid.l0_rc[drawn] + 0.3 * grid.tile_l0
    bottom, right = grid.l0_rc[drawn] + 0.7 * grid.tile_l0
    square = np.array([[top, left], [top, right], [bottom, right], [bottom, left]]) - 0.5
    viewer.add_shapes([square], shape_type="polygon", scale=tuple(scale))
    qtbot.waitUntil(lambda: panel.live.live.priority()[drawn] >= 2, timeout=10_000)
    assert set(np.flatnonzero(panel.live.live.priority() >= 2)) == {drawn}
    go_on(qtbot, panel, gate, UNDER_WAY + 1)
    assert drawn in np.concatenate(gate.arrived)
    assert gate.done < len(grid)
    gate.open()
    qtbot.waitUntil(lambda: not panel.running, timeout=60_000)


def test_cancel_takes_it_away_and_keeps_what_was_read(
    open_window, qtbot, gate: Gate, small_slide: Path, own_folders: Path
) -> None:
    viewer, panel = open_window(small_slide)
    start(qtbot, panel, gate, 2)
    panel.run_tab.cancel.click()
    gate.open()
    qtbot.waitUntil(lambda: not panel.running, timeout=20_000)
    assert not provisional(viewer)
    assert not panel.legend.isVisible()
    assert [path.suffix for path in (own_folders / "features").iterdir()] == [".partial"]
    before = gate.done
    gate.arrived.clear()
    panel.run_tab.run.click()
    qtbot.waitUntil(lambda: not panel.running, timeout=60_000)
    assert len(gate.arrived[0]) == before  # the map begins with them
    [kept] = (own_folders / "features").glob("*.h5")
    assert len(read_features(kept)) == len(np.concatenate(gate.arrived))


def test_a_provisional_map_is_neither_saved_nor_brought_back(
    open_window, qtbot, gate: Gate, small_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_info", said.append)
    viewer, panel = open_window(small_slide)
    start(qtbot, panel, gate, 1)
    [layer] = provisional(viewer)
    data, attributes, _ = layer.as_layer_data_tuple()
    assert write_map(str(tmp_path / "map.h5"), data, attributes) == []
    assert "provisional" in said[0]
    assert not list(tmp_path.glob("map*"))
    viewer.layers.remove(layer)
    shown = panel.live._shown
    gate.let(2)
    qtbot.waitUntil(lambda: panel.live._shown is not shown, timeout=60_000)
    assert not provisional(viewer), "who takes it away does not want it back"
    assert not panel.legend.isVisible()
    gate.open()
    qtbot.waitUntil(lambda: not panel.running, timeout=60_000)


def test_a_run_in_a_process_of_its_own_says_when_its_map_comes(
    small_slide: Path, untrained_model: Path, tmp_path: Path
) -> None:
    live, said = LiveMap(), []
    steps = pipeline.iter_run(
        small_slide, model=untrained_model, features_file=tmp_path / "f.h5", device="cpu", isolated=True, live=live
    )
    for step in steps:
        said.append(step.message)
        assert live.grid is None
    assert sum("The map comes at the end." in message for message in said) > 3
    with pytest.raises(StopIteration):
        next(steps)
    result = finish(
        pipeline.iter_run(small_slide, model=untrained_model, features_file=tmp_path / "f.h5", device="cpu", live=live)
    )
    assert len(result.map) == len(read_features(tmp_path / "f.h5"))
