"""Patches from all over a slide first, beside reading row by row: what it costs, and how soon the tissue is covered.

Goals: at most 1.1 times the processor seconds of reading row by row, also with a cache of decoded tiles too small for
what a pass leaves over; after a tenth of the patches 90 % of the tissue lies within the reach of a coarse cell.
``python -m benchmarks.spread``; without the real slides the generated one is taken.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._window import ROOT, SHARED
from benchmarks.extract import MeanColour
from napari_mil import find_tissue, open_slide, tile
from napari_mil.features import Encoder, EncoderInfo, iter_extract
from napari_mil.maps import Painter
from napari_mil.maps._coarse import fill_between
from napari_mil.progress import finish
from napari_mil.slides import Slide, _tiff
from napari_mil.tiling import TileGrid

ROUNDS, BATCH = 5, 8
PATCHES_PX = (256, 224)  # whole tiles of the file, and such as share them with their neighbours
SMALL_CACHE = 4 * 2**20
GOAL, TENTH, COVERED = 1.1, 0.1, 0.9


def cost(slide: Slide, grid: TileGrid, encoder: Encoder) -> float:
    """Return the processor seconds of the spread order over those of row by row: the median of rounds in turn."""
    ratios = []
    for turn in range(ROUNDS + 1):
        seconds = {}
        for order in ("raster", "spread"):
            slide.rest()
            start = time.process_time()
            finish(iter_extract(slide, grid, encoder, device="cpu", batch_size=BATCH, order=order))
            seconds[order] = time.process_time() - start
        if turn:
            ratios.append(seconds["spread"] / seconds["raster"])
    return round(statistics.median(ratios), 3)


def covered(slide: Slide, grid: TileGrid, encoder: Encoder, order: str) -> float:
    """Return which share of the tissue shows something once a tenth of the patches are read."""
    tiles: list[int] = []
    steps = iter_extract(
        slide,
        grid,
        encoder,
        device="cpu",
        batch_size=BATCH,
        order=order,
        arrived=lambda found, _: tiles.extend(found.tolist()),
    )
    finish(steps)
    values = np.full(len(grid), np.nan, np.float32)
    values[tiles[: int(TENTH * len(grid))]] = 1
    painter = Painter(grid)
    whole = np.isfinite(painter.paint(np.ones(len(grid), np.float32)).values)
    return round(float((fill_between(painter.paint(values).values, whole)[1] > 0).sum() / whole.sum()), 3)


def measure(path: Path, edge: int) -> dict[str, Any]:
    """Measure one slide cut into patches of so many of its pixels."""
    found: dict[str, Any] = {}
    kept = _tiff._KEPT_BYTES
    for name, size in (("cost", kept), ("cost_small_cache", SMALL_CACHE)):
        _tiff._KEPT_BYTES = size
        try:
            with open_slide(path) as slide:
                mpp = float(np.sqrt(np.prod(slide.mpp or (1.0, 1.0))))
                grid = tile(slide, find_tissue(slide), tile_px=edge, mpp=mpp)
                info = EncoderInfo("benchmark", "", "", 3, edge, mpp)
                encoder = Encoder(MeanColour().eval(), info, title="", source="", licence="")
                found[name] = cost(slide, grid, encoder)
                found["patches"] = len(grid)
                found["covered"] = {order: covered(slide, grid, encoder, order) for order in ("raster", "spread")}
        finally:
            _tiff._KEPT_BYTES = kept
    return found


def main() -> None:
    """Measure; print one JSON line."""
    real = [SHARED / "slides" / name for name in ("duodenum-giardiasis-40x.tif", "breast-lobular-10x.tif")]
    paths = [path for path in real if path.is_file()] or [ROOT / "sample_data" / "sample-lesion.tif"]
    slides = {f"{path.name}, {edge} px": measure(path, edge) for path in paths for edge in PATCHES_PX}
    met = all(
        max(one["cost"], one["cost_small_cache"]) <= GOAL and one["covered"]["spread"] >= COVERED
        for one in slides.values()
    )
    print(json.dumps({"benchmark": "spread", "slides": slides, "met": met}))


if __name__ == "__main__":
    main()
