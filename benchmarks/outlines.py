"""A hundred thousand outlines: read, held against a hundred thousand patches and written, beside the bare JSON.

Nuclei of 30 corners, as cell detection writes them, over a slide of 100 000 x 80 000 pixels. Times are medians, and
ratios to parsing the same file with the standard library's json, which nobody who reads GeoJSON can avoid.
``python -m benchmarks.outlines``
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import shapely

from napari_mil.annotations import Annotation, label_patches, read_annotations, write_geojson
from napari_mil.tiling import TileGrid

OUTLINES, CORNERS, ROUNDS = 100_000, 30, 3
SLIDE = (80_000, 100_000)
TILE_L0 = 256.0


def nuclei(rng: np.random.Generator) -> list[Annotation]:
    """Return round outlines of two classes anywhere on the slide."""
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    radius = rng.uniform(10, 30, (OUTLINES, 1)) * rng.uniform(0.8, 1.2, (OUTLINES, CORNERS))
    centre = rng.uniform(50, np.array(SLIDE[::-1]) - 50, (OUTLINES, 2))
    xy = centre[:, None] + radius[..., None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    kinds = ("tumour", "stroma")
    return [Annotation("", kinds[k % 2], polygon, None) for k, polygon in enumerate(shapely.polygons(xy))]


def patches() -> TileGrid:
    """Return the slide's whole grid of tiles."""
    rows, cols = np.indices([int(edge // TILE_L0) for edge in SLIDE]).reshape(2, -1)
    l0_rc = (np.stack([rows, cols], 1) * TILE_L0).astype(np.int64)
    return TileGrid(l0_rc, TILE_L0, TILE_L0, 256, 0.25, np.ones(len(l0_rc), np.float32))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    """Run every step in turn, round by round."""
    annotations, grid = nuclei(np.random.default_rng(0)), patches()
    seconds: dict[str, list[float]] = {}
    with TemporaryDirectory() as name:
        file = Path(name) / "nuclei.geojson"
        for _ in range(ROUNDS):
            steps: dict[str, Callable[[], Any]] = {
                "write": lambda: write_geojson(file, annotations),
                "json": lambda: json.loads(file.read_text(encoding="utf-8")),
                "read": lambda: read_annotations(file),
                "label": lambda: label_patches(annotations, grid, min_overlap=0.01),
            }
            for step, work in steps.items():
                seconds.setdefault(step, []).append(timed(work)[0])
    median = {step: statistics.median(times) for step, times in seconds.items()}
    ratios = {step: round(median[step] / median["json"], 2) for step in ("write", "read", "label")}
    print(
        json.dumps(
            {
                "benchmark": "outlines",
                "outlines": OUTLINES,
                "patches": len(grid),
                "median_s": {step: round(value, 2) for step, value in median.items()},
                "times_json": ratios,
            }
        )
    )


if __name__ == "__main__":
    main()
