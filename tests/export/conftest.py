"""A slide with crosses at known places and a map over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_mil.features import EncoderInfo
from napari_mil.maps import AttentionMap, MapScore, Prediction, Provenance
from napari_mil.models import ModelCard
from napari_mil.slides import Slide, open_slide
from napari_mil.tiling import TileGrid
from sample_data import fiducial_slide

SHAPE = (1600, 2400)
TILE = 100.5
"""Edge of a tile in level-0 pixels: not whole, on purpose."""


@dataclass(frozen=True)
class Scene:
    """A slide, its map, and where the crosses are."""

    slide: Slide
    amap: AttentionMap
    crosses: list[tuple[int, int]]


@pytest.fixture(scope="session")
def cross_slide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, int]]]:
    """Return a pyramid and the centres of its crosses, level-0 (row, col)."""
    path = tmp_path_factory.mktemp("slide") / "fünf kreuze.tif"
    return path, fiducial_slide(path, SHAPE, 0.5, (1, 2.5, 8))


@pytest.fixture(scope="session")
def map_of() -> Callable[..., AttentionMap]:
    """Return a maker of maps over a slide from raw scores, given as name=(raw, kind), and tile corners."""

    def make(slide: Slide, l0_rc: Any, *, tile: float = TILE, title: str = "Demo: crosses", **scores: Any) -> Any:
        corners = np.asarray(l0_rc, np.int64).reshape(-1, 2)
        grid = TileGrid(corners, tile, tile, 67, tile * 0.5 / 67, np.full(len(corners), 0.5, np.float32))
        classes = ("normal", "tumour")
        maps = {name: MapScore(np.asarray(raw, np.float32), kind) for name, (raw, kind) in scores.items()}
        return AttentionMap(
            scores=maps,
            grid=grid,
            prediction=Prediction(classes, np.array([0, 1], np.float32), np.array([0.27, 0.73], np.float32)),
            slide=slide.ref,
            encoder=EncoderInfo("colour-texture", "1", "", 96, 67, grid.mpp),
            model=ModelCard("gated-attention", 96, {}, classes, title=title),
            default_score=next(iter(maps)),
            provenance=Provenance("0.1.0", "2.0", "3.11", "cpu", None, "2026-01-01T00:00:00+00:00"),
        )

    return make


@pytest.fixture
def scene(cross_slide: tuple[Path, list[tuple[int, int]]], map_of: Callable[..., AttentionMap]) -> Iterator[Scene]:
    """Yield the slide with one tile around each cross; attention falls in the crosses' order."""
    path, crosses = cross_slide
    corners = [(round(r + 0.5 - TILE / 2), round(c + 0.5 - TILE / 2)) for r, c in crosses]
    attention = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
    with open_slide(path) as slide:
        amap = map_of(
            slide,
            corners,
            attention=(attention, "attention"),
            contribution=([[0] * 5, [-2, -1, 0, 1, 2]], "contribution"),
        )
        yield Scene(slide, amap, crosses)
