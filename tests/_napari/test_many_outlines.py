"""Very many outlines, and very long ones, loaded through the panel of the real window, which answers meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from napari.layers import Shapes
from qtpy.QtCore import QTimer
from scipy.spatial import cKDTree
from sklearn.metrics import average_precision_score, roc_auc_score

from napari_mil._napari.outline_layers import annotations_in, lines_of
from napari_mil._napari.overlay_data import overlay_layer_data
from napari_mil.features import EncoderInfo
from napari_mil.maps import AttentionMap, MapScore, Prediction, Provenance
from napari_mil.models import ModelCard
from napari_mil.slides import open_slide
from napari_mil.tiling import TileGrid

RAW = np.array([0.05, 0.4, 0.1, 0.2, 0.15, 0.1], np.float32)
EDGE = 128
TARGET = np.array([0, 1, 0, 0, 1, 0], bool)
"""The patches of the middle column, where all target outlines lie."""

Window = tuple[Any, Any]


@pytest.fixture
def window(open_window: Any, small_slide: Path) -> Window:
    """The slide, six patches of it in two rows, and the Annotate tab."""
    from napari_mil._napari.launch import add

    with open_slide(small_slide) as slide:
        ref = slide.ref
    assert ref.mpp is not None
    amap = AttentionMap(
        scores={"attention": MapScore(RAW, "attention")},
        grid=TileGrid(
            np.array([(r * EDGE, c * EDGE) for r in range(2) for c in range(3)], np.int64),
            float(EDGE),
            float(EDGE),
            64,
            2 * ref.mpp[0],
            np.ones(6, np.float32),
        ),
        prediction=Prediction(("normal", "tumour"), np.float32([0, 1]), np.float32([0.3, 0.7])),
        slide=ref,
        encoder=EncoderInfo("colour-texture", "1", "", 96, 64, 2 * ref.mpp[0]),
        model=ModelCard("gated-attention", 96, {}, ("normal", "tumour"), title="By hand"),
        default_score="attention",
        provenance=Provenance("0", "2", "3.11", "cpu", None, ""),
    )
    viewer, panel = open_window(small_slide)
    add(viewer, overlay_layer_data(amap))
    panel.tabs.setCurrentWidget(panel.annotate_tab)
    return viewer, panel.annotate_tab


def load(qtbot: Any, tab: Any, path: Path) -> tuple[Any, int]:
    """Read a file through the panel; return its layer, and how often the window's events had their turn meanwhile."""
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += tab.files.busy

    timer = QTimer()
    timer.timeout.connect(turn)
    timer.start(0)
    tab.files.read(path)
    qtbot.waitUntil(lambda: not tab.files.busy and not tab.measuring, timeout=120_000)
    timer.stop()
    return tab.layer, turns


def test_a_hundred_thousand_outlines(qtbot: Any, window: Window, tmp_path: Path) -> None:
    viewer, tab = window
    pitch, size, rows, cols = 4, 3.2, 250, 400
    y, x = np.indices((rows, cols)).reshape(2, -1) * float(pitch)
    inside = (x >= EDGE) & (x < 2 * EDGE) & (y < 2 * EDGE)
    corners = np.array([(0, 0), (size, 0), (size, size), (0, size), (0, 0)])
    rings = np.stack([x, y], 1)[:, None] + corners
    kinds = [{"classification": {"name": name}} for name in ("Stroma", "Tumor")]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": kinds[target],
        }
        for ring, target in zip(rings.tolist(), inside.tolist(), strict=True)
    ]
    path = tmp_path / "cells.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    layer, turns = load(qtbot, tab, path)
    assert turns >= 20, "the window stood still while the file was read"
    n_target = (EDGE // pitch) * (2 * EDGE // pitch)
    assert tab._answer.counts == {"Tumor": n_target, "Stroma": 100_000 - n_target}
    found = tab._answer.found
    assert (found.n_target, found.auroc) == (2, pytest.approx(roc_auc_score(TARGET, RAW)))
    assert found.average_precision == pytest.approx(average_precision_score(TARGET, RAW))
    assert tab.measures.values["auroc"].text() == f"{roc_auc_score(TARGET, RAW):.3f}"
    lines = lines_of(layer)
    assert lines is not None
    assert lines.corners.shape == (500_000, 2)
    np.testing.assert_array_equal(lines.first, np.arange(0, 500_001, 5))
    # corners of one ring may begin elsewhere and go the other way
    np.testing.assert_allclose(
        np.sort(lines.boxes, axis=0), np.sort(np.c_[x, y, x + size, y + size], axis=0), atol=1e-3
    )
    back = annotations_in(layer, tab._slide_layer)()
    assert sum(one.geometry.area for one in back) == pytest.approx(100_000 * size**2)
    viewer.layers.remove(layer)
    assert tab._still == {}


def long_ring() -> np.ndarray[Any, Any]:
    """Return 47 000 corners around the middle column of patches, in small waves, (x, y)."""
    side = np.linspace(0, 1, 47_000 // 4, endpoint=False)
    along, inward = side, 0.4 * np.sin(40 * np.pi * side) ** 2
    width, height = float(EDGE), 2.0 * EDGE
    return np.concatenate(
        [
            np.c_[EDGE + width * along, inward],
            np.c_[EDGE + width - inward, height * along],
            np.c_[EDGE + width * (1 - along), height - inward],
            np.c_[EDGE + inward, height * (1 - along)],
        ]
    )


def test_an_outline_of_47_000_corners(qtbot: Any, window: Window, tmp_path: Path) -> None:
    _, tab = window
    ring = long_ring()
    assert (len(ring), shapely.Polygon(ring).is_valid) == (47_000, True)
    points = "".join(f'<Coordinate Order="{n}" X="{x!r}" Y="{y!r}"/>' for n, (x, y) in enumerate(ring.tolist()))
    path = tmp_path / "long.xml"
    path.write_text(
        '<?xml version="1.0"?><ASAP_Annotations><Annotations><Annotation Name="Annotation 0" Type="Spline" '
        f'PartOfGroup="Tumor" Color="#F4FA58"><Coordinates>{points}</Coordinates></Annotation></Annotations>'
        '<AnnotationGroups><Group Name="Tumor" PartOfGroup="None" Color="#00ff00"/></AnnotationGroups>'
        "</ASAP_Annotations>"
    )
    layer, turns = load(qtbot, tab, path)
    assert turns >= 3, "the window stood still while the file was read"
    assert isinstance(layer, Shapes)
    assert tab._answer.counts == {"Tumor": 1}
    found = tab._answer.found
    assert (found.n_target, found.auroc) == (2, pytest.approx(roc_auc_score(TARGET, RAW)))
    [back] = annotations_in(layer, tab._slide_layer)()
    assert back.geometry.geom_type == "Polygon"
    xy = np.asarray(back.geometry.exterior.coords)
    assert len(xy) == 47_001
    given = shapely.Polygon(ring)
    # napari keeps shapes as float32
    assert back.geometry.symmetric_difference(given).area == pytest.approx(0, abs=0.01)
    apart, nearest = cKDTree(ring).query(xy[:-1])
    assert apart.max() < 1e-4
    assert len(np.unique(nearest)) == len(ring), "every corner is there"
