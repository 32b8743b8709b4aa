"""Slide, overlay, annotation and tissue outline lie on one another, at every level, in the real window."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_mil._napari.launch import add
from napari_mil._napari.layers import annotation_layer_data
from napari_mil._napari.overlay_data import overlay_layer_data
from napari_mil._napari.reader import read_slides
from napari_mil._napari.streaming import stream_of
from napari_mil._napari.viewers import camera, canvas_overlay
from napari_mil.annotations import read_annotations
from napari_mil.maps import AttentionMap, attention_map
from napari_mil.models import create_model
from napari_mil.slides import open_slide
from napari_mil.tiling import TileGrid

if TYPE_CHECKING:
    import napari

MPP = 0.2653
SHAPE = (6011, 9007)
DOWNSAMPLES = (1.0, 2.0, 4.0003, 8.1)
TILE_L0 = 37.6


@pytest.fixture(scope="module")
def fiducials(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, int]]]:
    from sample_data import fiducial_slide

    path = tmp_path_factory.mktemp("fiducial") / "crosses.tif"
    return path, fiducial_slide(path, SHAPE, MPP, DOWNSAMPLES)


def lone_tile_map(slide_path: Path, l0_rc: NDArray[np.int64], tile_l0: float) -> AttentionMap:
    from napari_mil.features import EncoderInfo, Features

    with open_slide(slide_path) as slide:
        ref = slide.ref
    tile_px = 16
    mpp = tile_l0 * MPP / tile_px
    grid = TileGrid(l0_rc, tile_l0, tile_l0, tile_px, mpp, np.ones(len(l0_rc), np.float32))
    rng = np.random.default_rng(0)
    values = rng.standard_normal((len(grid), 4)).astype(np.float32)
    features = Features(values, grid, EncoderInfo("none", "", "", 4, tile_px, mpp), ref)
    model = create_model("gated-attention", in_features=4, n_classes=2, seed=0)
    model.card = replace(model.card, title="Fiducial")
    return attention_map(model, features)


def bare(viewer: napari.Viewer) -> None:
    for name in ("scale_bar", "text"):
        canvas_overlay(viewer, name).visible = False


def grab(viewer: napari.Viewer, world_rc: tuple[float, float], zoom: float) -> NDArray[np.uint8]:
    """Return the canvas with a world point (microns) at its centre."""
    camera(viewer).center = (0.0, *world_rc)
    camera(viewer).zoom = zoom
    viewer.screenshot(canvas_only=True, flash=False)  # the level chosen follows the camera at the first drawing
    settle(viewer)
    return np.asarray(viewer.screenshot(canvas_only=True, flash=False))


def settle(viewer: napari.Viewer) -> None:
    """Wait until no slide shows coarse pixels in place of fine ones any more."""
    from qtpy.QtTest import QTest

    streams = [stream for stream in map(stream_of, viewer.layers) if stream is not None]
    for _ in range(500):
        if not any(stream.waiting for stream in streams):
            return
        QTest.qWait(20)
    raise AssertionError("the view did not settle in ten seconds")


def off_centre_px(found: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return where a blob's centroid lies from the middle of the canvas, in canvas pixels, (row, col)."""
    middle = (np.array(found.shape) - 1) / 2
    return np.argwhere(found).mean(axis=0) - middle


def test_crosses_lie_where_they_were_drawn_at_every_level(
    make_napari_viewer: Callable[..., napari.Viewer], fiducials: tuple[Path, list[tuple[int, int]]]
) -> None:
    """To half a pixel of the level shown, also on the level that the file lacks and we make."""
    path, crosses = fiducials
    viewer = make_napari_viewer(show=True)
    layer = add(viewer, read_slides(str(path))[0])
    bare(viewer)
    assert len(layer.data) == len(DOWNSAMPLES) + 1
    for level, downsample in enumerate([*DOWNSAMPLES, 2 * DOWNSAMPLES[-1]]):
        layer.locked_data_level = level
        zoom = 4 / (downsample * MPP)  # four canvas pixels a level pixel
        half = int(4 * (5 * np.ceil(DOWNSAMPLES[-1]) / downsample + 2))
        for row, col in crosses:
            canvas = grab(viewer, (row * MPP, col * MPP), zoom)
            assert layer.data_level == level
            top, left = (max(0, size // 2 - half) for size in canvas.shape[:2])
            window = canvas[top : canvas.shape[0] - top, left : canvas.shape[1] - left, :3]
            level_px = off_centre_px(window.max(axis=2) < 120) / 4
            assert np.abs(level_px).max() < 0.5, f"level {level}: cross at {(row, col)} is {level_px} level pixels off"


@pytest.mark.parametrize(
    ("shape", "factors", "mpp"),
    [
        # as writers cut: the last pixels of 4 x 4 and 16 x 16 are dropped, 3 and 15 of them
        ((3215, 4847), (4, 16), (0.25, 0.25)),
        # or filled up; pixels need not be square
        ((3201, 4833), (2, 4, 8, 16), (0.5, 0.25)),
    ],
)
def test_levels_cut_or_filled_by_their_writer_lie_in_place(
    make_napari_viewer: Callable[..., napari.Viewer],
    tmp_path: Path,
    shape: tuple[int, int],
    factors: tuple[int, ...],
    mpp: tuple[float, float],
) -> None:
    """To half a level pixel at nine places, the corners among them."""
    cut = len(factors) == 2
    half = 2 * factors[-1]
    margin = 2 * half
    places = [
        (row, col)
        for row in (margin, shape[0] // 2, shape[0] - 1 - margin)
        for col in (margin, shape[1] // 2, shape[1] - 1 - margin)
    ]
    levels = [np.full((*shape, 3), 240, np.uint8)]
    for row, col in places:
        levels[0][row - half : row + half + 1, col - half : col + half + 1] = 0
    for n in factors:
        rows, cols = (edge // n if cut else -(-edge // n) for edge in shape)
        pad = [(0, max(0, edge * n - full)) for edge, full in zip((rows, cols), shape, strict=True)]
        whole = np.pad(levels[0], (*pad, (0, 0)), mode="edge")[: rows * n, : cols * n]
        levels.append(whole.reshape(rows, n, cols, n, 3).mean(axis=(1, 3)).astype(np.uint8))
    path = tmp_path / "levels.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for k, level in enumerate(levels):
            tiff.write(
                level,
                tile=(256, 256),
                photometric="rgb",
                compression="deflate",
                metadata=None,
                subfiletype=int(k > 0),
                resolution=(1e4 / mpp[1], 1e4 / mpp[0]),
                resolutionunit="CENTIMETER",
            )
    viewer = make_napari_viewer(show=True)
    layer = add(viewer, read_slides(str(path))[0])
    bare(viewer)
    for level, n in enumerate((1, *factors)[: len(layer.data)]):
        layer.locked_data_level = level
        zoom = 4 / (n * max(mpp))
        for row, col in places:
            canvas = grab(viewer, (row * mpp[0], col * mpp[1]), zoom)
            per_px = np.array(mpp) * zoom
            # the square and some glass, not the black around the slide
            reach = 1.5 * half * per_px
            middle = (np.array(canvas.shape[:2]) - 1) / 2
            top, left = np.maximum(0, np.floor(middle - reach)).astype(int)
            window = canvas[top : canvas.shape[0] - top, left : canvas.shape[1] - left, :3].max(axis=2)
            # by its ink: half covered pixels count half
            ink = np.clip(240.0 - window, 0, None)
            found = [(ink.sum(1 - axis) * np.arange(ink.shape[axis])).sum() / ink.sum() for axis in (0, 1)]
            level_px = (np.array(found) - (np.array(ink.shape) - 1) / 2) / per_px / n
            assert np.abs(level_px).max() < 0.5, f"level {level}: {(row, col)} is {level_px} level pixels off"


def test_overlay_tile_is_centred_on_its_cross(
    make_napari_viewer: Callable[..., napari.Viewer], fiducials: tuple[Path, list[tuple[int, int]]]
) -> None:
    """One tile is placed around each cross; on the screen the tile's middle and the cross's must be one."""
    path, crosses = fiducials
    viewer = make_napari_viewer(show=True)
    bare_slide = add(viewer, read_slides(str(path))[0])
    bare(viewer)
    for row, col in crosses:
        corner = np.array([[round(row + 0.5 - TILE_L0 / 2), round(col + 0.5 - TILE_L0 / 2)]], np.int64)
        overlay = add(viewer, overlay_layer_data(lone_tile_map(path, corner, TILE_L0)))
        overlay.opacity = 1.0
        bare_slide.visible = False
        zoom = 4 / MPP  # four canvas pixels per level-0 pixel
        canvas = grab(viewer, (row * MPP, col * MPP), zoom)
        tile = canvas[..., :3].max(axis=2) > 0
        # the corner is a whole pixel, so up to half a pixel off is the grid's, not the display's
        expected = corner[0] + TILE_L0 / 2 - 0.5 - np.array([row, col])
        np.testing.assert_allclose(off_centre_px(tile) / 4, expected, atol=0.3)
        assert np.sqrt(tile.sum()) / 4 == pytest.approx(TILE_L0, abs=0.5)
        viewer.layers.remove(overlay)
        bare_slide.visible = True


def test_annotation_runs_around_its_cross(
    make_napari_viewer: Callable[..., napari.Viewer], fiducials: tuple[Path, list[tuple[int, int]]], tmp_path: Path
) -> None:
    """A square drawn in QuPath's coordinates from pixel edge to pixel edge is centred on the pixel it encloses."""
    path, crosses = fiducials
    row, col = crosses[1]
    x0, y0, edge = col - 10, row - 10, 21
    ring = [[x0, y0], [x0 + edge, y0], [x0 + edge, y0 + edge], [x0, y0 + edge], [x0, y0]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    viewer = make_napari_viewer(show=True)
    slide = add(viewer, read_slides(str(path))[0])
    bare(viewer)
    add(viewer, annotation_layer_data(read_annotations(tmp_path / "a.geojson"), (MPP, MPP), max(SHAPE), "square"))
    slide.visible = False
    canvas = grab(viewer, (row * MPP, col * MPP), 4 / MPP)
    line = canvas[..., :3].max(axis=2) > 60
    np.testing.assert_allclose(off_centre_px(line) / 4, 0.0, atol=0.3)


def test_world_to_tile_round_trip(fiducials: tuple[Path, list[tuple[int, int]]]) -> None:
    """The overlay's own transform takes each tile's centre (microns) to its own pixel of the raster."""
    from napari.layers import Layer

    path, _ = fiducials
    stride = TILE_L0
    cells = np.array([(r, c) for r in range(0, 60, 7) for c in range(3, 80, 9)])
    l0_rc = np.rint(cells * stride).astype(np.int64)
    amap = lone_tile_map(path, l0_rc, stride)
    layer = Layer.create(*overlay_layer_data(amap))
    values = amap.display()
    for centre, value in zip(amap.grid.l0_centres(), values, strict=True):
        pixel = np.array(layer.world_to_data(centre * MPP))
        np.testing.assert_allclose(pixel, np.rint(pixel), atol=0.5 / stride + 1e-6)
        assert layer.data[tuple(np.rint(pixel).astype(int))] == value
