"""Feature files dropped on an open slide: patches in place, attention as without a window, words where not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_mil._napari.bags import fit_width, fitting_model, grid_lines
from napari_mil._napari.layers import KEY
from napari_mil._napari.reader import get_reader, read_bags, read_models
from napari_mil._napari.rescale import change_scale
from napari_mil._napari.session import attach
from napari_mil._napari.viewers import camera, canvas_overlay
from napari_mil.errors import FeaturesError
from napari_mil.features import EncoderInfo, Features, write_features, write_foreign
from napari_mil.models import ModelCard, ModelEntry
from napari_mil.pipeline import run
from napari_mil.slides import open_slide
from napari_mil.tiling import TileGrid

Opener = Callable[[Path], Any]

MPP = 0.5
ANOTHER = "#ff0000"


def grids(viewer: Any) -> list[Any]:
    return [layer for layer in viewer.layers if "bag_of" in layer.metadata.get(KEY, {})]


def maps(viewer: Any) -> list[Any]:
    return [layer.metadata[KEY]["map"] for layer in viewer.layers if "map" in layer.metadata.get(KEY, {})]


def some_features(slide: Path, l0_rc: NDArray[np.int64], tile_l0: float, numbers: int = 3) -> Features:
    tile_px, mpp = 16, tile_l0 * MPP / 16
    grid = TileGrid(l0_rc, tile_l0, tile_l0, tile_px, mpp, np.full(len(l0_rc), np.nan, np.float32))
    values = np.random.default_rng(0).standard_normal((len(l0_rc), numbers)).astype(np.float32)
    with open_slide(slide) as opened:
        return Features(values, grid, EncoderInfo("none", "1", "", numbers, tile_px, mpp), opened.ref)


@pytest.fixture(scope="module")
def extracted(small_slide: Path, untrained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Features:
    file = tmp_path_factory.mktemp("bag") / "f.h5"
    return run(small_slide, model=untrained_model, features_file=file, device="cpu").features


def drop(viewer: Any, path: Path) -> None:
    viewer.open(str(path), plugin="napari-mil")


places = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=30, unique=True)


@settings(max_examples=100, deadline=None)
@given(places)
def test_lines_are_the_edges_of_the_tiles_and_nothing_else(cells: list[tuple[int, int]]) -> None:
    """Tiles of six pixels, three apart or more: every pixel edge of theirs once, joined where they touch."""
    l0_rc = np.array(sorted(cells), np.int64) * 3
    grid = TileGrid(l0_rc, 6.0, 6.0, 6, 0.5, np.ones(len(l0_rc), np.float32))
    lines = grid_lines(grid)
    found = []
    for (row, col), (down, across) in lines.tolist():
        found += [("v", row + k, col) for k in range(int(down))] + [("h", row, col + k) for k in range(int(across))]
    expected = set()
    for row, col in l0_rc.tolist():
        for k in range(6):
            expected |= {("h", row, col + k), ("h", row + 6, col + k), ("v", row + k, col), ("v", row + k, col + 6)}
    assert sorted(found) == sorted(expected)


def test_a_whole_field_of_rounded_tiles_is_few_lines() -> None:
    """100 x 100 tiles 506.3 px apart, at whole pixels as tools write them: two lines for each border at most."""
    cells = np.argwhere(np.ones((100, 100), np.bool_))
    l0_rc = np.rint(cells * 506.3).astype(np.int64)
    grid = TileGrid(l0_rc, 506.3, 506.3, 256, 0.5, np.ones(len(l0_rc), np.float32))
    lines = grid_lines(grid)
    assert len(lines) <= 400
    np.testing.assert_allclose(lines[:, 1].max(axis=1), np.rint(99 * 506.3) + 506.3, atol=1.0)


def test_a_patch_lies_at_its_pixels(open_window: Opener, qtbot: Any, small_slide: Path, tmp_path: Path) -> None:
    """The outline of a lone patch of 37.6 px on the screen, at both ends of the slide: to a third of a pixel."""
    viewer, _ = open_window(small_slide)
    slide = viewer.layers[0]
    for name, corner in (("a", (0, 0)), ("b", (601, 803)), ("c", (1150, 1560))):
        file = tmp_path / f"{name}.h5"
        write_features(file, some_features(small_slide, np.array([corner], np.int64), 37.6))
        drop(viewer, file)
        qtbot.waitUntil(lambda: bool(grids(viewer)), timeout=30_000)
        [grid] = grids(viewer)
        assert grid.name == f"Patches: {name}.h5 (TRIDENT)"
        assert grid.metadata[KEY]["source"] == str(file)
        assert grid.metadata[KEY]["tile_um"] == pytest.approx(37.6 * MPP)
        slide.visible, grid.opacity, grid.edge_color = False, 1.0, ANOTHER
        for overlay in ("scale_bar", "text"):
            canvas_overlay(viewer, overlay).visible = False
        centre = (np.array(corner) + 37.6 / 2 - 0.5) * MPP
        camera(viewer).center = (0.0, *centre)
        camera(viewer).zoom = 4 / MPP
        fit_width(grid, 4 / MPP)
        picture = np.asarray(viewer.screenshot(canvas_only=True, flash=False)).astype(int)
        red = (picture[..., 0] > 120) & (picture[..., 1] < 60)
        rows, cols = np.nonzero(red)
        for along, size in ((rows, red.shape[0]), (cols, red.shape[1])):
            middle, edge = (along.min() + along.max()) / 2, along.max() - along.min() + 1
            assert abs(middle - (size - 1) / 2) / 4 < 0.34
            assert edge / 4 == pytest.approx(37.6, abs=0.75)  # line and half a pixel on either side
        assert not red[
            red.shape[0] // 2 - 20 : red.shape[0] // 2 + 20, red.shape[1] // 2 - 20 : red.shape[1] // 2 + 20
        ].any()
        viewer.layers.remove(grid)
        slide.visible = True


def test_clam_without_sizes_is_asked_for_once_and_gives_the_headless_attention(
    open_window: Opener, qtbot: Any, extracted: Features, small_slide: Path, untrained_model: Path, tmp_path: Path
) -> None:
    viewer, panel = open_window(small_slide)
    file = tmp_path / "h5_files" / "one.h5"
    write_foreign(file, extracted, "clam")
    (tmp_path / "patches" / "one.h5").unlink()
    session = attach(viewer)
    assert session is not None
    row = session.bags.row
    drop(viewer, file)
    qtbot.waitUntil(row.isVisible, timeout=30_000)
    assert "one.h5 does not say how wide its patches are" in row.text.text()
    assert not row.use.isEnabled(), "a size is never guessed"
    row.size.setValue(128)
    assert row.microns.text() == "= 64 µm"
    row.use.click()
    qtbot.waitUntil(lambda: bool(maps(viewer)), timeout=60_000)
    assert not row.isVisible()
    headless = run(small_slide, model=untrained_model, features=file, patch_size=128, device="cpu")
    [amap] = maps(viewer)
    np.testing.assert_array_equal(amap.grid.l0_rc, headless.map.grid.l0_rc)
    np.testing.assert_allclose(
        amap.scores["attention"].raw, headless.map.scores["attention"].raw, rtol=1e-6, atol=1e-12
    )
    assert amap.model.title == "Untrained", "the model chosen in the Run tab"
    assert panel.heatmap_tab.overlay is not None
    assert panel.heatmap_tab.overlay.map is amap
    said = panel.run_tab.status.text()
    assert f"{len(extracted):,} patches of 64 µm from CLAM" in said
    assert "does not say which encoder" in said
    assert viewer.layers[0].name == small_slide.stem
    assert viewer.layers[-1] is grids(viewer)[0], "lines lie above the map"
    drop(viewer, file)
    qtbot.waitUntil(row.isVisible, timeout=30_000)
    assert row.size.value() == 128, "what was said for this folder is offered"


def test_features_of_another_slide_or_scale_are_refused_in_a_sentence(
    open_window: Opener, qtbot: Any, extracted: Features, small_slide: Path, tmp_path: Path
) -> None:
    viewer, panel = open_window(small_slide)
    status = panel.run_tab.status
    ref = extracted.slide
    for change, words in (
        ({"quickhash": "another"}, "made from another slide"),
        ({"mpp": (0.25, 0.25)}, "made at 0.25 microns per pixel of the slide, which is 0.5 now"),
        ({"shape": (9, 9)}, "slide of 9 x 9 px"),
    ):
        file = tmp_path / "x.h5"
        write_features(file, replace(extracted, slide=replace(ref, **change)))
        drop(viewer, file)
        qtbot.waitUntil(lambda words=words: words in status.text(), timeout=30_000)
        assert "--" not in status.text(), "no option of the command line in a window"
        assert not grids(viewer)
        assert not maps(viewer)


def test_where_no_model_fits_the_sizes_at_hand_are_said(
    open_window: Opener, qtbot: Any, small_slide: Path, tmp_path: Path
) -> None:
    viewer, panel = open_window(small_slide)
    file = tmp_path / "f.h5"
    write_features(file, some_features(small_slide, np.array([[0, 0], [0, 64]], np.int64), 64.0, numbers=1024))
    drop(viewer, file)
    qtbot.waitUntil(lambda: bool(grids(viewer)), timeout=30_000)
    said = panel.run_tab.status.text()
    assert "No model at hand takes these 1,024 numbers per patch of none: those at hand take 102" in said
    assert not maps(viewer)


def test_patches_go_with_their_slide(
    open_window: Opener, qtbot: Any, small_slide: Path, small_cohort: Path, tmp_path: Path
) -> None:
    """Hidden with it, shown with it, taken away when its scale changes; as wide on the screen at every zoom."""
    viewer, _ = open_window(small_slide)
    file = tmp_path / "f.h5"
    write_features(file, some_features(small_slide, np.array([[0, 0], [0, 64]], np.int64), 64.0))
    drop(viewer, file)
    qtbot.waitUntil(lambda: bool(grids(viewer)), timeout=30_000)
    [grid], slide = grids(viewer), viewer.layers[0]
    for zoom in (2.0, 40.0):
        camera(viewer).zoom = zoom
        qtbot.waitUntil(lambda zoom=zoom: grid.edge_width * MPP * zoom == pytest.approx(1.5, rel=0.25), timeout=20_000)
    other = next(path for path in small_cohort.parent.glob("*.tif") if path != small_slide)
    [second] = viewer.open(str(other), plugin="napari-mil")
    assert not grid.visible
    session = attach(viewer)
    assert session is not None
    session.overview.chosen.emit(slide)
    assert grid.visible
    assert not second.visible
    change_scale(viewer, slide, (0.25, 0.25))
    assert not grids(viewer)


def test_without_a_slide_a_sentence_says_to_open_it(
    make_napari_viewer: Any, extracted: Features, tmp_path: Path
) -> None:
    write_features(tmp_path / "f.h5", extracted)
    with pytest.raises(FeaturesError, match=r"Open the slide first, then drop f\.h5 on it"):
        read_bags(str(tmp_path / "f.h5"))
    viewer = make_napari_viewer()
    with pytest.raises(FeaturesError, match="Open the slide first"):
        drop(viewer, tmp_path / "f.h5")


@pytest.mark.parametrize("tool", ["trident", "clam", "stamp", "slideflow", "wsidata"])
def test_files_of_every_tool_are_taken(extracted: Features, tmp_path: Path, tool: str) -> None:
    path = tmp_path / {"wsidata": "store", "slideflow": "a.pt"}.get(tool, "a.h5")
    write_foreign(path, extracted, tool)
    assert get_reader(str(path)) is read_bags


def test_what_is_no_feature_file_is_left_to_others(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.pt")
    torch.save(torch.zeros(2, 3), tmp_path / "tensor without places.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, but what people have
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["cells"] = np.zeros(3)
    (tmp_path / "plain.zarr").mkdir()
    (tmp_path / "plain.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    for path in tmp_path.iterdir():
        assert get_reader(str(path)) is (read_models if path.suffix == ".pt" else None), path.name


def test_the_chosen_model_comes_before_others_that_fit() -> None:
    card = ModelCard("mean", 8, {}, ("a", "b"), title="First", encoder="uni")
    models = [
        ModelEntry(Path("first"), card, ""),
        ModelEntry(Path("second"), replace(card, title="Second", encoder=""), ""),
        ModelEntry(Path("broken"), None, "It is damaged."),
    ]
    unnamed, named = EncoderInfo("", "", "", 8, 224, 0.5), EncoderInfo("uni", "", "", 8, 224, 0.5)
    assert fitting_model(named, models, Path("second")) == (Path("second"), "")
    assert fitting_model(named, models, Path("broken")) == (Path("first"), "")
    path, note = fitting_model(unnamed, models, None)
    assert path == Path("first")
    assert "First" in note
    assert "uni" in note
    path, note = fitting_model(EncoderInfo("conch", "", "", 9, 224, 0.5), models, None)
    assert path is None
    assert "those at hand take 8, 8 (uni)" in note
    assert "none" in fitting_model(named, [], None)[1]
