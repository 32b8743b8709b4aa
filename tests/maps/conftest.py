"""Small maps made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_mil.features import EncoderInfo
from napari_mil.maps import AttentionMap, MapScore, Prediction, Provenance
from napari_mil.models import ModelCard
from napari_mil.slides import SlideRef
from napari_mil.tiling import TileGrid


@pytest.fixture(scope="session")
def lattice() -> Callable[..., TileGrid]:
    """Return a maker of grids: which rows and columns hold a tile, on a stride that need not be whole."""

    def make(cells: Any, stride: float = 100.0, tile: float | None = None, tissue: Any = None) -> TileGrid:
        rc = np.asarray(cells, np.int64).reshape(-1, 2)
        fraction = np.ones(len(rc)) if tissue is None else tissue
        edge = stride if tile is None else tile
        l0_rc = np.rint(rc * stride).astype(np.int64)
        return TileGrid(l0_rc, edge, stride, 50, edge * 0.5 / 50, np.asarray(fraction, np.float32))

    return make


@pytest.fixture(scope="session")
def make_map(lattice: Callable[..., TileGrid]) -> Callable[..., AttentionMap]:
    """Return a maker of two-class maps from raw scores, given as name=(raw, kind)."""

    def make(grid: TileGrid | None = None, classes: tuple[str, ...] = ("normal", "tumour"), **scores: Any) -> Any:
        maps = {name: MapScore(np.asarray(raw, np.float32), kind) for name, (raw, kind) in scores.items()}
        n = next(iter(maps.values())).raw.shape[-1]
        grid = lattice([(0, k) for k in range(n)]) if grid is None else grid
        logits = np.linspace(-0.7, 1.3, len(classes)).astype(np.float32)
        odds = np.exp(logits.astype(np.float64))
        chance = odds / odds.sum() if len(classes) > 1 else 1 / (1 + 1 / odds)
        return AttentionMap(
            scores=maps,
            grid=grid,
            prediction=Prediction(classes, logits, chance.astype(np.float32)),
            slide=SlideRef("/slides/a b.svs", "c0ffee", (0.5, 0.5), (5000, 6000)),
            encoder=EncoderInfo("colour-texture", "1", "", 96, 50, 1.0),
            model=ModelCard("gated-attention", 96, {"hidden": 64}, classes, title="Demo: tumour", training={"seed": 3}),
            default_score=next(iter(maps)),
            provenance=Provenance("0.1.0", "2.0", "3.11", "cpu", 3, "2026-01-01T00:00:00+00:00"),
        )

    return make
