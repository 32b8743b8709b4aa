"""Panning over unseen tissue and over seen tissue, beside napari-wsi and beside an array in memory, in one window.

Goals: over unseen tissue at most 0.3 times napari-wsi; over seen tissue at most 1.3 times the same pans on a plain
array in memory; the window never busy for more than 50 ms at a stretch. ``pip install 'napari-mil[bench]'``, then
``python -m benchmarks.pan [SLIDE ...]``; without arguments a generated slide of 100 000 x 80 000 pixels, and the real
ones where they are at hand.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks._window import SHARED, need_display, wait

ROUNDS, PANS = 3, 12
STEP_SCREEN_PX = 500
ZOOMS = (1.0, 0.5)
MOST_TO_WSI, MOST_TO_MEMORY, MOST_FREEZE_MS = 0.3, 1.3, 50.0
REAL = ("duodenum-giardiasis-40x.tif", "breast-lobular-10x.tif")
_MARGIN_PX = 2048
_STUCK_S = 60


class Strip:
    """Where a round pans: along a row of the slide's middle, a step at a time.

    Parameters
    ----------
    shape : (int, int)
        The slide's, pixels.
    zoom : float
        Screen pixels per level-0 pixel.
    turn : int
        Which round: each has a row of its own, so that its tissue is unseen.
    """

    def __init__(self, shape: tuple[int, int], zoom: float, turn: int) -> None:
        step = STEP_SCREEN_PX / zoom
        row = shape[0] * (0.3 + 0.4 * turn / max(1, ROUNDS - 1))
        count = min(PANS, int((shape[1] - 2 * _MARGIN_PX) / step))
        first = shape[1] / 2 - step * count / 2
        self.centres = [(row, first + step * k) for k in range(count + 1)]


def mil(viewer: Any, path: Path, _: Strip) -> tuple[Any, Callable[[], bool]]:
    """Open a slide as napari-mil does."""
    from napari_mil import open_slide
    from napari_mil._napari.launch import add
    from napari_mil._napari.layers import slide_layer_data
    from napari_mil._napari.session import attach
    from napari_mil._napari.streaming import stream_of

    attach(viewer)
    layer = add(viewer, slide_layer_data(open_slide(path)))
    layer.scale, layer.units = (1, 1), "pixel"
    stream = stream_of(layer)
    return layer, lambda: not stream.waiting


def wsi(viewer: Any, path: Path, _: Strip) -> tuple[Any, Callable[[], bool]]:
    """Open a slide as napari-wsi's reader does."""
    from napari.layers import Layer
    from napari_wsi.backends.common import WSIReaderBackend
    from napari_wsi.color_transform import ColorSpace
    from napari_wsi.common import open_store

    store = open_store(path, WSIReaderBackend.OPENSLIDE, ColorSpace.sRGB)
    layer = viewer.add_layer(Layer.create(*store.to_layer_data_tuples()[0]))
    return layer, lambda: True


def memory(viewer: Any, path: Path, where: Strip) -> tuple[Any, Callable[[], bool]]:
    """Hold the strip of the slide that is panned over in memory, as a pyramid of the same steps."""
    from napari_mil import open_slide

    rows, cols = zip(*where.centres, strict=True)
    with open_slide(path) as slide:
        top, bottom = int(max(0, rows[0] - _MARGIN_PX)), int(min(slide.shape[0], rows[0] + _MARGIN_PX))
        left, right = int(max(0, cols[0] - _MARGIN_PX)), int(min(slide.shape[1], cols[-1] + _MARGIN_PX))
        levels = [np.asarray(slide.levels()[0][top:bottom, left:right])]
    while max(levels[-1].shape) > 1024:
        levels.append(np.ascontiguousarray(levels[-1][::2, ::2]))
    layer = viewer.add_image(levels, rgb=True, translate=(top, left))
    return layer, lambda: True


PEERS = {"napari_mil": mil, "napari_wsi": wsi, "memory": memory}


@contextmanager
def shown(viewer: Any, peer: str, path: Path, where: Strip) -> Iterator[Callable[[], bool]]:
    """Show a slide as a peer does, alone in the window."""
    layer, complete = PEERS[peer](viewer, path, where)
    try:
        yield complete
    finally:
        viewer.layers.remove(layer)


def pans(viewer: Any, where: Strip, zoom: float, complete: Callable[[], bool]) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each pan until the final pixels are drawn, and the longest freeze until the next."""
    from napari_mil._napari.viewers import camera

    view, canvas = camera(viewer), viewer.window._qt_viewer.canvas._scene_canvas
    drawn = [0]

    def count(_: Any) -> None:
        drawn[0] += 1

    canvas.events.draw.connect(count, position="last")
    view.zoom = zoom
    view.center = (0.0, *where.centres[0])
    wait(1.0)
    times, freezes = [], []
    for centre in where.centres[1:]:
        before, start, freeze = drawn[0], time.perf_counter(), 0.0
        view.center = (0.0, *centre)
        while drawn[0] == before or not complete():
            if time.perf_counter() - start > _STUCK_S:
                sys.exit(f"A pan was not drawn within {_STUCK_S} s")
            freeze = max(freeze, turn())
        canvas.native.makeCurrent()
        times.append(1000 * (time.perf_counter() - start))
        end = time.perf_counter() + 0.15  # as long as a hand takes; what is made ahead comes in meanwhile
        while time.perf_counter() < end:
            freeze = max(freeze, turn())
            time.sleep(0.001)
        freezes.append(1000 * freeze)
    canvas.events.draw.disconnect(count)
    return times, freezes


def turn() -> float:
    """Let Qt handle what has come; return the seconds for which the window answered nothing else."""
    from qtpy.QtWidgets import QApplication

    start = time.perf_counter()
    QApplication.processEvents()
    return time.perf_counter() - start


def measure(viewer: Any, path: Path) -> dict[str, Any]:
    """Return medians, in milliseconds, and ratios of one slide."""
    from napari_mil import open_slide

    with open_slide(path) as slide:
        shape = slide.shape
    result: dict[str, Any] = {"shape": shape}
    for zoom in ZOOMS:
        unseen: dict[str, list[float]] = {peer: [] for peer in PEERS}
        seen: dict[str, list[float]] = {peer: [] for peer in PEERS}
        freeze: dict[str, list[float]] = {peer: [] for peer in PEERS}
        for row in range(ROUNDS):
            where = Strip(shape, zoom, row)
            for peer in PEERS:
                with shown(viewer, peer, path, where) as complete:
                    first, gaps = pans(viewer, where, zoom, complete)
                    again, more_gaps = pans(viewer, where, zoom, complete)
                unseen[peer] += first
                seen[peer] += again
                freeze[peer] += gaps + more_gaps
        middle = {peer: statistics.median(unseen[peer]) for peer in PEERS}
        after = {peer: statistics.median(seen[peer]) for peer in PEERS}
        worst = {peer: float(np.percentile(freeze[peer], 95)) for peer in PEERS}
        result[f"zoom_{zoom:g}"] = {
            "unseen_ms": {peer: round(value, 1) for peer, value in middle.items()},
            "seen_ms": {peer: round(value, 1) for peer, value in after.items()},
            "freeze_p95_ms": {peer: round(value, 1) for peer, value in worst.items()},
            "freeze_longest_ms": {peer: round(max(freeze[peer]), 1) for peer in PEERS},
            "unseen_to_napari_wsi": round(middle["napari_mil"] / middle["napari_wsi"], 2),
            "seen_to_memory": round(after["napari_mil"] / after["memory"], 2),
            "met": {
                "unseen": middle["napari_mil"] <= MOST_TO_WSI * middle["napari_wsi"],
                "seen": after["napari_mil"] <= MOST_TO_MEMORY * after["memory"],
                "freeze": max(freeze["napari_mil"]) <= MOST_FREEZE_MS,
            },
        }
    return result


def main() -> None:
    """Measure each slide in a window of its own size; print one JSON line."""
    need_display("benchmarks.pan")
    import napari

    from sample_data import write_sparse_pyramid

    given = [Path(name) for name in sys.argv[1:]]
    with TemporaryDirectory() as folder:
        slides = given or [
            write_sparse_pyramid(Path(folder) / "generated.tif", (80_000, 100_000)),
            *(SHARED / "slides" / name for name in REAL if (SHARED / "slides" / name).is_file()),
        ]
        viewer = napari.Viewer()
        viewer.window.resize(1366, 768)
        wait(2.0)
        measure_first = slides[0]
        with shown(viewer, "napari_mil", measure_first, Strip((80_000, 100_000), 1.0, 0)):
            wait(1.0)  # shaders are compiled at the first picture
        record = {path.name: measure(viewer, path) for path in slides}
        viewer.close()
    print(json.dumps({"benchmark": "pan", "napari": napari.__version__, "slides": record}))


if __name__ == "__main__":
    main()
