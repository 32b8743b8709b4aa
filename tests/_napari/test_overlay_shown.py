"""What a map's settings ask for: the pixels of any order of changes, what is kept of them, what is made ahead."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_mil._napari import overlay_shown
from napari_mil._napari.overlay import Overlay, overlay_of
from napari_mil._napari.overlay_data import overlay_layer_data
from napari_mil.features import EncoderInfo
from napari_mil.maps import (
    SCALES_FOR_KIND,
    AttentionMap,
    MapScore,
    Painter,
    Prediction,
    Provenance,
    above,
    enlarged,
    smoothed,
    smoothing_factor,
)
from napari_mil.models import ModelCard
from napari_mil.slides import SlideRef
from napari_mil.tiling import TileGrid


@pytest.fixture
def ragged() -> AttentionMap:
    """Some hundreds of patches with holes between them, one without a score."""
    rng = np.random.default_rng(3)
    rows, cols = np.nonzero(rng.random((18, 25)) < 0.7)
    n = len(rows)
    raw = rng.gamma(0.5, size=n).astype(np.float32) / n
    raw[5] = np.nan
    raw[7:40] = raw[7]
    return AttentionMap(
        scores={
            "attention": MapScore(raw, "attention"),
            "contribution": MapScore(rng.standard_normal((2, n)).astype(np.float32), "contribution"),
        },
        grid=TileGrid(np.stack([rows, cols], 1).astype(np.int64) * 128, 128.0, 128.0, 64, 1.0, np.ones(n, np.float32)),
        prediction=Prediction(("normal", "tumour"), np.float32([0, 1]), np.float32([0.3, 0.7])),
        slide=SlideRef("a.tif", "hash", (0.5, 0.5), (4000, 4000)),
        encoder=EncoderInfo("colour-texture", "1", "", 96, 64, 1.0),
        model=ModelCard("gated-attention", 96, {}, ("normal", "tumour"), title="By hand"),
        default_score="attention",
        provenance=Provenance("0", "2", "3.11", "cpu", None, ""),
    )


def painted_anew(overlay: Overlay) -> Any:
    """What the layer should show by its settings, from nothing that was kept."""
    chosen, amap = overlay.settings, overlay.map
    view = amap.view(chosen.score, chosen.scale, chosen.class_index)
    values = Painter(amap.grid).paint(view.values).values
    pixels = view.scale.to_axis(values)
    upper = above(values, -np.inf if chosen.threshold <= view.lowest else chosen.threshold)
    seen = np.isfinite(values) & ~upper if chosen.inverted else upper
    if chosen.look == "smooth":
        factor = smoothing_factor(values.shape)
        pixels, seen = smoothed(pixels, factor), enlarged(seen, factor)
    return np.where(seen, pixels, np.float32(np.nan))


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_changes_shows_the_pixels_that_painting_anew_does(ragged: AttentionMap, seed: int) -> None:
    from napari.layers import Layer

    overlay = overlay_of(Layer.create(*overlay_layer_data(ragged)))
    assert overlay is not None
    rng, chosen = np.random.default_rng(seed), overlay.settings
    for _ in range(80):
        match rng.integers(8):
            case 0:
                overlay.choose(score=str(rng.choice(["attention", "contribution"])))
            case 1:
                overlay.choose(scale=str(rng.choice(SCALES_FOR_KIND[ragged.scores[chosen.score].kind])))
            case 2:
                overlay.choose(class_index=int(rng.integers(2)))
            case 3:
                chosen.look = "smooth" if chosen.look == "patches" else "patches"
            case 4:
                chosen.inverted = not chosen.inverted
            case 5:
                overlay.cut("percentile", float(rng.integers(101)))
            case _:  # a slider's step: few patches come or go
                step = rng.normal(0, 0.01) * (overlay.limits[1] - overlay.limits[0])
                chosen.threshold = float(np.clip(chosen.threshold + step, *overlay.limits))
        np.testing.assert_array_equal(overlay.layer.data, painted_anew(overlay))
        counts = overlay.counts
        assert counts.sum() == np.isfinite(overlay.view.values).sum()
        assert overlay.summary().count == overlay.shown_cells()[0].sum()


def test_going_back_computes_nothing_and_what_is_kept_is_bounded(
    ragged: AttentionMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari.layers import Layer

    layer = Layer.create(*overlay_layer_data(ragged))
    overlay = overlay_of(layer)
    assert overlay is not None
    first = overlay.view
    overlay.choose(scale="ratio")
    one = overlay._views.nbytes // 2
    overlay.choose(scale="rank")
    assert overlay.view is first
    overlay.choose(class_index=0)  # attention is one for all classes
    assert overlay.view is first
    monkeypatch.setattr(overlay_shown, "_MOST_BYTES", 2 * one)
    overlay.choose(score="contribution")
    overlay.choose(class_index=1)
    assert overlay._views.nbytes <= 2 * one
    overlay.choose(score="attention", scale="rank")
    assert overlay.view is not first
    np.testing.assert_array_equal(overlay.view.values, first.values)
    kept = weakref.ref(overlay._views)
    del overlay, layer
    gc.collect()
    assert kept() is None


def test_what_was_made_ahead_is_dropped_when_colours_are_to_reach_elsewhere(ragged: AttentionMap) -> None:
    from napari.layers import Layer

    overlay = overlay_of(Layer.create(*overlay_layer_data(ragged)))
    assert overlay is not None
    overlay.choose(score="contribution", scale="contribution")
    work = overlay.ahead()
    assert work is not None
    made = work()
    overlay.hold_limits(replace(overlay.view, scale=replace(overlay.view.scale, fixed_limits=(-9.0, 9.0))))
    overlay.keep_ahead(made)
    overlay.choose(class_index=0)
    assert overlay.limits == (-9, 9)


def test_looking_ahead_keeps_within_the_memory(ragged: AttentionMap, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari.layers import Layer

    overlay = overlay_of(Layer.create(*overlay_layer_data(ragged)))
    assert overlay is not None
    shown, one = overlay.view, overlay._views.nbytes
    monkeypatch.setattr(overlay_shown, "_MOST_BYTES", int(2.5 * one))
    work = overlay.ahead()
    assert work is not None
    overlay.keep_ahead(work())
    assert one < overlay._views.nbytes <= 2.5 * one
    overlay.choose(scale="ratio")
    overlay.choose(scale="rank")
    assert overlay.view is shown, "what was seen last goes last"
    monkeypatch.setattr(overlay_shown, "_MOST_BYTES", one // 2)
    assert overlay.ahead() is None
