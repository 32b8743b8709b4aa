"""The gallery in the real window: pictures, flights, ticks, tags, hot spots, files, and what it says without them."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_mil._napari.launch import add, show_gallery
from napari_mil._napari.layers import slide_layer_data
from napari_mil._napari.overlay import overlay_of
from napari_mil._napari.overlay_data import overlay_layer_data
from napari_mil._napari.session import attach
from napari_mil._napari.thumbnails import Square, Thumbnails
from napari_mil._napari.viewers import camera
from napari_mil._napari.widgets.gallery_model import COLOUR, PICTURE, PICTURE_PX
from napari_mil.features import EncoderInfo
from napari_mil.maps import (
    AttentionMap,
    MapScore,
    Prediction,
    Provenance,
    format_areas,
    hot_spots,
    read_tags,
    spaced_patches,
)
from napari_mil.models import ModelCard
from napari_mil.slides import open_slide
from napari_mil.tiling import TileGrid

ROWS, COLS, EDGE = 9, 13, 128.0  # the last column and row leave the slide of 1200 x 1600 px
MPP = 0.5


@pytest.fixture(scope="module")
def raw() -> Any:
    """Two bumps on a slope: scores that all differ."""
    r, c = np.divmod(np.arange(ROWS * COLS), COLS)
    bumps = np.exp(-((r - 2) ** 2 + (c - 3) ** 2) / 3) + 0.7 * np.exp(-((r - 6) ** 2 + (c - 9) ** 2) / 3)
    values = bumps + 1e-3 * c + 1e-4 * r
    return (values / values.sum()).astype(np.float32)


def map_of(slide: Path, raw: Any, mpp: float | None = MPP, title: str = "By hand") -> AttentionMap:
    with open_slide(slide) as opened:
        ref = replace(opened.ref, mpp=None if mpp is None else (mpp, mpp))
    l0_rc = np.array([(r * EDGE, c * EDGE) for r in range(ROWS) for c in range(COLS)], np.int64)
    scale = 1.0 if mpp is None else mpp
    return AttentionMap(
        scores={
            "attention": MapScore(raw, "attention"),
            "contribution": MapScore(np.stack([raw, -raw]), "contribution"),
        },
        grid=TileGrid(l0_rc, EDGE, EDGE, 64, 2 * scale, np.ones(len(raw), np.float32)),
        prediction=Prediction(("normal", "tumour"), np.float32([0, 1]), np.float32([0.3, 0.7])),
        slide=ref,
        encoder=EncoderInfo("colour-texture", "1", "", 96, 64, 2 * scale),
        model=ModelCard("gated-attention", 96, {}, ("normal", "tumour"), title=title),
        default_score="attention",
        provenance=Provenance("0", "2", "3.11", "cpu", None, ""),
    )


@pytest.fixture
def slide(small_slide: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(small_slide, tmp_path / "the slide.tif"))


@pytest.fixture
def window(make_napari_viewer: Any, own_folders: Path) -> Any:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1366, 768)
    attach(viewer)
    return viewer


@pytest.fixture
def settled(qtbot: Any) -> Any:
    def wait(gallery: Any) -> None:
        qtbot.wait(10)
        # pictures are asked for by drawing, which follows when patches have come
        for _ in range(2):
            qtbot.waitUntil(lambda: not gallery.waiting, timeout=20_000)
            gallery.list.viewport().repaint()
        qtbot.waitUntil(lambda: not gallery.waiting, timeout=20_000)

    return wait


@pytest.fixture
def opened(window: Any, slide: Path, raw: Any, settled: Any) -> Any:
    """Return a function that opens slide, map and gallery; what a fixture itself returns would outlive the window."""

    def open_all() -> Any:
        add(window, slide_layer_data(open_slide(slide)))
        overlay = overlay_of(add(window, overlay_layer_data(map_of(slide, raw))))
        gallery = show_gallery(window)
        settled(gallery)
        return window, gallery, overlay

    return open_all


def pixels(picture: Any) -> Any:
    """The pixels of a picture as (rows, cols, 3)."""
    image = picture.convertToFormat(picture.Format.Format_RGB888)
    size = image.width()
    data = np.frombuffer(image.constBits().asarray(image.sizeInBytes()), np.uint8)
    return data.reshape(size, -1)[:, : 3 * size].reshape(size, size, 3).copy()


def boxed(patch: int) -> Any:
    """Edges of a patch in microns: top, left, bottom, right."""
    row, col = divmod(patch, COLS)
    return np.array([row * EDGE - 0.5, col * EDGE - 0.5, (row + 1) * EDGE - 0.5, (col + 1) * EDGE - 0.5]) * MPP


def framed(gallery: Any) -> Any:
    corners = gallery.flight.frame.corners
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)]) if len(corners) else corners


def test_top_and_bottom_with_spacing_scores_and_the_slides_own_pixels(opened: Any, settled: Any, raw: Any) -> None:
    _, gallery, overlay = opened()
    model, grid = gallery.model, overlay.map.grid
    assert model.patches.tolist() == spaced_patches(raw, grid, 50, spacing_l0=2 * EDGE).tolist()
    assert gallery.bar.note.text() == f"{len(model.patches)} so far apart"
    assert gallery.bar.apart.text() == "≥2 (128 µm)"
    first = model.index(0)
    assert (first.data(), model.index(1).data()) == ("1.000", f"{overlay.view.values[model.patches[1]]:.3f}")
    assert f"raw {raw.max():.3g}" in first.data(Qt.ItemDataRole.ToolTipRole)
    assert first.data(COLOUR).name() == "#fde725"  # the upper end of viridis
    with open_slide(overlay.map.slide.path) as slide:
        for row, field in ((0, 1), (1, 4)):
            gallery.bar.field.choose(field)
            gallery.list.viewport().repaint()
            settled(gallery)
            r, c = grid.l0_rc[model.patches[row]] - (field - 1) / 2 * EDGE
            expected = slide.read_patch(r, c, field * EDGE, round(PICTURE_PX * model.density))
            assert np.array_equal(pixels(model.index(row).data(PICTURE)), expected)
    gallery.bar.choose("bottom")
    gallery.bar.apart.setValue(0)
    gallery.bar.k.setValue(7)
    settled(gallery)
    assert model.patches.tolist() == spaced_patches(raw, grid, 7, lowest=True).tolist()
    overlay.choose(score="contribution", class_index=1)
    settled(gallery)
    assert model.patches.tolist() == spaced_patches(-raw, grid, 7, lowest=True).tolist()
    assert gallery.bar.note.text() == ""
    gallery.bar.k.setValue(500)
    settled(gallery)
    assert (model.rowCount(), gallery.bar.note.text()) == (ROWS * COLS, f"all {ROWS * COLS}")
    # patches at the slide's edge: the last row and column reach beyond it, where the background goes on
    corner = model.row_of(ROWS * COLS - 1)
    gallery.list.scrollTo(model.index(corner))
    gallery.list.viewport().repaint()
    settled(gallery)
    assert pixels(model.index(corner).data(PICTURE)).shape[0] == round(PICTURE_PX * model.density)


def test_it_lies_low_in_a_small_window(opened: Any) -> None:
    viewer, gallery, _ = opened()
    window = viewer.window._qt_window
    dock = gallery.parent()
    assert window.dockWidgetArea(dock) == Qt.DockWidgetArea.BottomDockWidgetArea
    assert (window.width(), window.height()) == (1366, 768)
    assert gallery.minimumSizeHint().width() <= 600
    assert gallery.height() <= 160
    # a whole row of patches is seen
    assert gallery.list.visualRect(gallery.model.index(0)).height() <= gallery.list.viewport().height()
    assert show_gallery(viewer) is gallery
    dock.hide()
    assert not gallery.flight.frame.shown
    show_gallery(viewer)
    assert dock.isVisible()


def test_flights_by_key_click_and_button_frame_the_patch(opened: Any, qtbot: Any) -> None:
    viewer, gallery, overlay = opened()
    patches, keys = gallery.model.patches, Qt.Key
    gallery.list.setFocus()
    seen = []
    for key in (keys.Key_N, keys.Key_N, keys.Key_N, keys.Key_P):
        QTest.keyClick(gallery.list, key)
        seen.append(int(gallery.list.currentIndex().row()))
        box = boxed(int(patches[seen[-1]]))
        np.testing.assert_allclose(camera(viewer).center[-2:], (box[:2] + box[2:]) / 2)
        np.testing.assert_allclose(framed(gallery), box, atol=1e-3)
    assert seen == [0, 1, 2, 1]
    # as many screen pixels as the encoder saw, but at least a quarter of the canvas
    canvas = viewer.window._qt_window.centralWidget().size()
    shorter = min(canvas.width(), canvas.height())
    assert camera(viewer).zoom == pytest.approx(max(64, 0.25 * shorter) / (EDGE * MPP))
    gallery.bar.next.click()
    assert gallery.list.currentIndex().row() == 2
    # arrows choose and frame, and the view stays until Enter
    here = tuple(camera(viewer).center)
    QTest.keyClick(gallery.list, keys.Key_Left)
    assert tuple(camera(viewer).center) == here
    np.testing.assert_allclose(framed(gallery), boxed(int(patches[1])), atol=1e-3)
    QTest.keyClick(gallery.list, keys.Key_Return)
    assert tuple(camera(viewer).center) != here
    rect = gallery.list.visualRect(gallery.model.index(0))
    QTest.mouseClick(gallery.list.viewport(), Qt.MouseButton.LeftButton, pos=rect.center())
    np.testing.assert_allclose(framed(gallery), boxed(int(patches[0])), atol=1e-3)
    # the map's layer and the slide's agree on where that is
    assert overlay.patch_at(np.asarray(camera(viewer).center[-2:])) == patches[0]
    viewer.layers.remove(overlay.layer)
    qtbot.waitUntil(lambda: not gallery.flight.frame.shown, timeout=5000)


def test_ticks_and_tags_by_mouse_and_keys_are_shared_by_maps_and_kept_as_a_record(
    opened: Any, settled: Any, raw: Any, slide: Path, qtbot: Any
) -> None:
    viewer, gallery, overlay = opened()
    model, before = gallery.model, tuple(camera(viewer).center)
    box = gallery.list.tile.tick_box(gallery.list.visualRect(model.index(1)))
    QTest.mouseClick(gallery.list.viewport(), Qt.MouseButton.LeftButton, pos=box.center())
    assert model.mark(1).ticked
    assert tuple(camera(viewer).center) == before
    gallery.list.setFocus()
    QTest.keyClick(gallery.list, Qt.Key.Key_N)
    row = gallery.list.currentIndex().row()
    QTest.keyClick(gallery.list, Qt.Key.Key_Space)
    assert model.mark(row).ticked
    QTest.keyClick(gallery.list, Qt.Key.Key_T)
    mitosis = next(action for action in gallery.marking.menu.actions() if action.text() == "&mitosis")
    mitosis.trigger()
    gallery.marking.menu.close()
    gallery._offer_tags()
    line = gallery.marking.menu.actions()[-1].defaultWidget()
    line.setText(" apoptosis;  maybe ")
    QTest.keyClick(line, Qt.Key.Key_Return)
    assert model.mark(row).tags == ("mitosis", "apoptosis, maybe")
    assert "ticked, mitosis, apoptosis, maybe" in model.index(row).data(Qt.ItemDataRole.ToolTipRole)
    assert gallery.bar.tabs.tabText(3) == f"Ticked ({len({1, row})})"
    gallery._offer_tags()
    checked = {action.text(): action.isChecked() for action in gallery.marking.menu.actions() if action.isCheckable()}
    assert checked == {"&mitosis": True, "&artefact": False, "apoptosis, maybe": True}
    gallery.marking.menu.close()
    marked = {int(model.patches[r]) for r in (1, row)}
    # another map of the same patches
    other = overlay_of(add(viewer, overlay_layer_data(map_of(slide, raw[::-1].copy(), title="Other"))))
    viewer.layers.selection.active = other.layer
    gallery.bar.choose("ticked")
    settled(gallery)
    assert gallery.overlay is other
    assert set(model.patches.tolist()) == marked
    session, quickhash = attach(viewer), overlay.map.slide.quickhash
    record = session.tags.of(quickhash).to_record()
    session.tags.keep(quickhash, read_tags([]))
    settled(gallery)
    assert (model.rowCount(), gallery.bar.save.isEnabled()) == (0, False)
    assert "Nothing is ticked yet" in gallery.message.words.text()
    session.tags.keep(quickhash, read_tags(record))
    settled(gallery)
    assert set(model.patches.tolist()) == marked
    assert gallery.list.isVisible()


def test_areas_of_hot_spots_share_a_unit_and_sort_by_size_not_by_letter(qtbot: Any) -> None:
    from qtpy.QtWidgets import QWidget

    from napari_mil._napari.widgets.gallery_table import HotSpotTable
    from napari_mil.maps import HotSpot

    parent = QWidget()
    qtbot.addWidget(parent)
    table = HotSpotTable(parent)
    sizes = (2.05, 12.0, 0.0164, 100.5)
    table.show_spots([HotSpot(np.arange(1), n, 0.5, 0.5, mm2, (0.0, 0.0), None) for n, mm2 in enumerate(sizes)])
    table.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    assert table.model().headerData(2, Qt.Orientation.Horizontal) == "Area mm²"
    assert [table.model().index(r, 2).data() for r in range(4)] == ["0.016", "2.050", "12.000", "100.500"]
    table.show_spots([HotSpot(np.arange(1), 0, 0.5, 0.5, 0.004096, (0.0, 0.0), None)])
    assert table.model().headerData(2, Qt.Orientation.Horizontal) == "Area µm²"
    assert table.model().index(0, 2).data() == "4,096"


def test_hot_spots_follow_the_threshold_sort_and_fly(opened: Any, settled: Any, raw: Any) -> None:
    viewer, gallery, overlay = opened()
    gallery.bar.choose("spots")
    settled(gallery)
    assert "Raise the threshold" in gallery.message.words.text()
    assert not gallery.table.isVisible()
    gallery.message.raised.click()
    settled(gallery)
    assert overlay.summary().count == round(0.05 * len(raw))

    def expected(below: bool = False) -> Any:
        view = overlay.view
        return hot_spots(view.values, overlay.map.grid, overlay.settings.threshold, below=below)

    overlay.cut("count", 18)
    settled(gallery)
    table, spots = gallery.table, expected()
    assert len(spots) == 2
    assert [s.patches.tolist() for s in table.spots.spots] == [s.patches.tolist() for s in spots]
    unit, wanted = format_areas([spot.area_mm2 for spot in spots])
    cells = [[table.model().index(r, c).data() for c in range(4)] for r in range(2)]
    assert [row[0] for row in cells] == [f"{s.peak:.3f}" for s in spots]
    assert [row[3] for row in cells] == [str(s.n_patches) for s in spots]
    head, areas = table.model().headerData(2, Qt.Orientation.Horizontal), [row[2] for row in cells]
    assert (head, areas) == (f"Area {unit}", wanted)
    table.sortByColumn(3, Qt.SortOrder.AscendingOrder)
    assert [table.model().index(r, 3).data() for r in range(2)] == sorted((row[3] for row in cells), key=int)
    table.sortByColumn(0, Qt.SortOrder.AscendingOrder)
    table.setFocus()
    QTest.keyClick(table, Qt.Key.Key_N)
    lower = min(spots, key=lambda s: s.peak)
    assert table.current.peak_patch == lower.peak_patch
    boxes = np.array([boxed(int(p)) for p in lower.patches])
    outer = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    np.testing.assert_allclose(framed(gallery), outer, atol=1e-3)
    np.testing.assert_allclose(camera(viewer).center[-2:], (outer[:2] + outer[2:]) / 2)
    # its patches beside it, the highest first
    assert gallery.model.patches.tolist() == sorted(lower.patches.tolist(), key=lambda p: -raw[p])
    QTest.keyClick(table, Qt.Key.Key_N)
    assert table.current.peak_patch == spots[0].peak_patch
    overlay.cut("count", 10)
    settled(gallery)
    assert len(table.spots.spots) == len(expected())
    assert table.current.peak_patch == spots[0].peak_patch  # the same one stays chosen
    gallery.bar.least.setValue(9)
    settled(gallery)
    assert len(table.spots.spots) == sum(s.n_patches >= 9 for s in expected())
    gallery.bar.least.setValue(1)
    overlay.settings.inverted = True
    settled(gallery)
    assert [s.n_patches for s in table.spots.spots] == [s.n_patches for s in expected(below=True)]


def test_ticked_patches_are_saved_with_tags_or_not_at_all(opened: Any, tmp_path: Path, qtbot: Any) -> None:
    _, gallery, overlay = opened()
    gallery.model.tick([0, 2], True)
    gallery.model.tag([2], "mitosis", True)
    gallery.model.tag([1], "artefact", True)  # not ticked
    gallery.save_to(tmp_path / "cancelled")
    assert gallery.saving
    assert gallery.bar.save.text() == "Cancel"
    gallery.bar.save.click()
    qtbot.waitUntil(lambda: not gallery.saving, timeout=20_000)
    assert not any(tmp_path.glob("cancelled/*/*.png"))
    assert "nothing was saved" in gallery.bar.note.text()
    gallery.save_to(tmp_path / "out")
    qtbot.waitUntil(lambda: not gallery.saving, timeout=20_000)
    (folder,) = (tmp_path / "out").iterdir()
    with (folder / "patches.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(int(r["y"]), int(r["x"]), r["tags"]) for r in rows] == [
        (*overlay.map.grid.l0_rc[gallery.model.patches[0]], ""),
        (*overlay.map.grid.l0_rc[gallery.model.patches[2]], "mitosis"),
    ]
    for row in rows:
        with Image.open(folder / row["file"]) as picture:
            assert picture.size == (64, 64)


def test_without_map_or_slide_it_says_what_to_do_and_nothing_is_read(
    window: Any, slide: Path, raw: Any, settled: Any, qtbot: Any
) -> None:
    gallery = show_gallery(window)
    settled(gallery)
    assert "No map yet" in gallery.message.words.text()
    gallery.step(1)
    gallery._offer_tags()
    overlay = overlay_of(add(window, overlay_layer_data(map_of(slide, raw, mpp=None))))
    settled(gallery)
    assert "not open: the slide.tif" in gallery.message.words.text()
    assert not gallery.bar.save.isEnabled()
    gallery.message.open.click()
    settled(gallery)
    assert gallery.list.isVisible()
    assert gallery.bar.apart.text() == "≥2 patches"  # without scale no microns
    assert "px" in gallery.model.index(0).data(Qt.ItemDataRole.ToolTipRole)
    gallery.step(1)
    row, col = divmod(int(gallery.model.patches[0]), COLS)
    np.testing.assert_allclose(framed(gallery), np.array([row, col, row + 1, col + 1]) * EDGE - 0.5, atol=1e-2)
    # removed while its pictures are being read
    gallery.bar.field.choose(4)
    gallery.list.viewport().repaint()
    layer = next(one for one in window.layers if one is not overlay.layer)
    window.layers.remove(layer)
    assert gallery.pictures.kept == 0
    assert not gallery.pictures.waiting
    settled(gallery)
    assert "not open" in gallery.message.words.text()
    slide.unlink()
    window.layers.remove(overlay.layer)
    settled(gallery)
    assert "No map yet" in gallery.message.words.text()
    overlay_of(add(window, overlay_layer_data(overlay.map)))
    settled(gallery)
    assert not gallery.message.open.isVisible()  # there is nothing left to open


def test_it_follows_the_map_in_front_but_not_a_key_that_hides_it(
    opened: Any, settled: Any, raw: Any, small_slide: Path
) -> None:
    viewer, gallery, overlay = opened()
    overlay.layer.visible = False
    settled(gallery)
    assert gallery.overlay is overlay
    assert gallery.model.rowCount() > 0
    overlay.layer.visible = True
    copy = next(path for path in sorted(small_slide.parent.glob("*.tif")) if path != small_slide)
    second = add(viewer, slide_layer_data(open_slide(copy)))
    settled(gallery)
    assert gallery.overlay is None
    assert "No map yet" in gallery.message.words.text()
    other = overlay_of(add(viewer, overlay_layer_data(map_of(copy, raw[::-1].copy()))))
    settled(gallery)
    assert gallery.overlay is other
    attach(viewer).tags.keep(
        other.map.slide.quickhash, attach(viewer).tags.of("").ticked([gallery.model.place(0)], True)
    )
    assert gallery.bar.tabs.tabText(3) == "Ticked (1)"
    first = next(one for one in viewer.layers if one is not second and one.metadata["napari_mil"].get("slide"))
    attach(viewer).bring_forward(first)
    settled(gallery)
    assert gallery.overlay is overlay
    assert gallery.bar.tabs.tabText(3) == "Ticked"


def test_only_what_is_wanted_last_is_read_and_little_is_kept(slide: Path, qtbot: Any, monkeypatch: Any) -> None:
    from qtpy.QtCore import QObject

    from napari_mil._napari import thumbnails

    monkeypatch.setattr(thumbnails, "_CACHE_BYTES", 4 * 32**2 * 10)
    owner = QObject()
    pictures = Thumbnails(owner)
    squares = [Square(float(r), 0.0, 64.0, 32) for r in range(40)]
    opened = open_slide(slide)
    try:
        assert pictures.get(squares[0]) is None  # there is no slide
        assert pictures.follow(opened, srgb=False)
        assert not pictures.follow(opened, srgb=False)
        for square in squares:
            pictures.get(square)
        qtbot.waitUntil(lambda: not pictures.waiting, timeout=20_000)
        assert pictures.kept == 10
        with open_slide(slide) as again:
            found = {square: pictures.get(square) for square in squares}
            shown = {square: picture for square, picture in found.items() if picture is not None}
            assert len(shown) == 10
            for square, picture in shown.items():
                assert np.array_equal(pixels(picture), again.read_patch(square.l0_row, 0, 64, 32))
        pictures.cancel()
        qtbot.waitUntil(lambda: not pictures.waiting, timeout=20_000)
        opened.close()
        late = Square(5.0, 5.0, 64.0, 32)
        pictures.get(late)
        qtbot.waitUntil(lambda: not pictures.waiting, timeout=20_000)
        qtbot.waitUntil(lambda: isinstance(pictures.get(late), str), timeout=20_000)
        assert "closed" in pictures.get(late)
    finally:
        pictures.close()
        opened.close()
