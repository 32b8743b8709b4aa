"""Every change to how a map of 100 000 patches is shown, beside a bare redraw of the same window.

Goal: at most 1.2 times a bare redraw. What was never shown before is timed by itself, each once after a moment's rest.
``python -m benchmarks.threshold``
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks._window import need_display, wait

PATCHES = (250, 400)
STEPS = 40


def large_map() -> object:
    """Return a map of 100 000 tiles with scores of a random model."""
    from napari_mil.features import EncoderInfo, Features
    from napari_mil.maps import attention_map
    from napari_mil.models import create_model
    from napari_mil.slides import SlideRef
    from napari_mil.tiling import TileGrid

    rows, cols = np.indices(PATCHES).reshape(2, -1)
    l0_rc = (np.stack([rows, cols], 1) * 256).astype(np.int64)
    grid = TileGrid(l0_rc, 256.0, 256.0, 256, 0.25, np.ones(len(l0_rc), np.float32))
    values = np.random.default_rng(0).standard_normal((len(grid), 16)).astype(np.float32)
    slide = SlideRef("large.svs", "none", (0.25, 0.25), (PATCHES[0] * 256, PATCHES[1] * 256))
    features = Features(values, grid, EncoderInfo("none", "", "", 16, 256, 0.25), slide)
    model = create_model("gated-attention", in_features=16, class_names=("normal", "tumour"), seed=0)
    model.card = replace(model.card, title="Random")
    return attention_map(model, features)


def main() -> None:
    """Time each kind of change with its redraw, in turn with a bare redraw."""
    need_display("benchmarks.threshold")
    import napari

    from napari_mil._napari.launch import add, show_panel
    from napari_mil._napari.overlay_data import overlay_layer_data

    with TemporaryDirectory() as name:
        os.environ["NAPARI_MIL_MODELS"] = name
        viewer = napari.Viewer()
        viewer.window.resize(1366, 768)
        layer = add(viewer, overlay_layer_data(large_map()))
        panel = show_panel(viewer)
        wait(8.0)  # the panel looks for GPUs in the background
        tab = panel.heatmap_tab
        # what any change on the screen costs here: the camera moves by a hair
        zooms = iter(1 + 1e-4 * k for k in range(10_000))
        base = viewer.scene.camera.zoom

        def bare(_: int) -> None:
            viewer.scene.camera.zoom = base * next(zooms)

        changes: dict[str, Callable[[int], object]] = {
            "threshold": lambda k: tab.threshold.slider.setValue(100 + 20 * k),
            "opacity": lambda k: tab.look.opacity.setValue(300 + 10 * k),
            "scale": lambda k: tab.scale.choose(("rank", "ratio", "robust")[k % 3]),
            "score_and_class": lambda k: (
                tab.score.choose(("attention", "contribution")[k % 2]),
                tab.klass.choose(k // 2 % 2),
            ),
            "below": lambda k: tab.threshold.inverted.setChecked(k % 2 == 0),
            "colours": lambda k: tab.look.colours.choose(("cividis", "magma", "inferno", "viridis")[k % 4]),
        }
        visits = [
            *(lambda name=name: tab.scale.choose(name) for name in ("ratio", "robust")),
            *(lambda name=name: tab.score.choose(name) for name in ("contribution", "leave_one_out", "instance_logit")),
            lambda: tab.klass.choose(0),
            *(lambda name=name: tab.scale.choose(name) for name in ("probability", "robust", "rank")),
            lambda: tab.score.choose("contribution"),
            lambda: tab.scale.choose("contribution"),
        ]
        figures = {"first_time": first_time(bare, visits, viewer)}
        tab.score.choose("attention")
        tab.scale.choose("rank")
        figures |= {name: against(bare, change, viewer) for name, change in changes.items()}
        tab.score.choose("attention")
        tab.scale.choose("rank")
        # options, each against a bare redraw of the same picture
        tab.look.outlined.setChecked(True)
        figures["threshold_outlined"] = against(bare, changes["threshold"], viewer)
        tab.look.outlined.setChecked(False)
        tab.look.smooth.setChecked(True)
        figures["threshold_smooth"] = against(bare, changes["threshold"], viewer)
        figures["smooth_on_and_off"] = against(bare, lambda k: tab.look.smooth.setChecked(k % 2 == 1), viewer)
        viewer.layers.remove(layer)
        viewer.close()
    met = all(figure["ratio"] <= 1.2 for figure in figures.values())
    result = {"benchmark": "threshold", "patches": PATCHES[0] * PATCHES[1], **figures, "goal_ratio": 1.2, "met": met}
    print(json.dumps(result))


def first_time(bare: Callable[[int], None], visits: Sequence[Callable[[], object]], viewer: object) -> dict[str, float]:
    """Return the same as `against` of changes each to what was never shown before."""
    pairs = []
    for k, visit in enumerate(visits):
        wait(1.0)  # as long as it takes to find the next control
        pairs.append((timed(lambda k=k: bare(k), viewer), timed(visit, viewer)))
    return beside([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def against(bare: Callable[[int], None], change: Callable[[int], object], viewer: object) -> dict[str, float]:
    """Return median milliseconds of a change with its redraw and of a bare one, and their ratio."""
    pairs = [(timed(lambda k=k: bare(k), viewer), timed(lambda k=k: change(k), viewer)) for k in range(STEPS + 3)][3:]
    return beside([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def timed(act: Callable[[], object], viewer: object) -> float:
    """Return milliseconds until the canvas shows what was done."""
    start = time.perf_counter()
    act()
    viewer.screenshot(canvas_only=True, flash=False)  # type: ignore[attr-defined]
    return 1000 * (time.perf_counter() - start)


def beside(bare_ms: list[float], change_ms: list[float]) -> dict[str, float]:
    """Return both medians and their ratio."""
    bare, change = statistics.median(bare_ms), statistics.median(change_ms)
    return {"bare_ms": round(bare, 1), "change_ms": round(change, 1), "ratio": round(change / bare, 2)}


if __name__ == "__main__":
    main()
