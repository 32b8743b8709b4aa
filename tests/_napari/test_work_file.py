"""Work saved and reopened in the real window; recent slides, help and tour."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_mil._napari.keys import SAVE_KEY
from napari_mil._napari.layers import mpp_of, slide_of
from napari_mil._napari.measuring import Answer
from napari_mil._napari.outline_layers import annotated_slide, annotations_in, drawn_layer_data
from napari_mil._napari.overlay import overlay_of
from napari_mil._napari.overlay_data import overlay_layer_data
from napari_mil._napari.reader import get_reader
from napari_mil._napari.session import attach
from napari_mil._napari.tissue import mask_layer_data, mask_of
from napari_mil._napari.viewers import camera
from napari_mil.annotations import Annotation
from napari_mil.errors import WorkError
from napari_mil.features import EncoderInfo
from napari_mil.help_pages import help_pages
from napari_mil.maps import AttentionMap, MapScore, PatchPlace, PatchTags, Prediction, Provenance
from napari_mil.models import ModelCard
from napari_mil.preferences import MOST_RECENT, keep_recent, read_preferences
from napari_mil.slides import SlideRef, open_slide
from napari_mil.tiling import TileGrid, find_tissue
from napari_mil.work_file import read_work

RAW = np.array([0.05, 0.4, 0.1, 0.2, 0.15, 0.1], np.float32)


def amap_of(slide: SlideRef) -> AttentionMap:
    l0_rc = np.array([(r * 128, c * 128) for r in range(2) for c in range(3)], np.int64)
    return AttentionMap(
        scores={"attention": MapScore(RAW, "attention")},
        grid=TileGrid(l0_rc, 128.0, 128.0, 64, 1.0, np.ones(6, np.float32)),
        prediction=Prediction(("normal", "tumour"), np.float32([0, 1]), np.float32([0.3, 0.7])),
        slide=slide,
        encoder=EncoderInfo("colour-texture", "1", "", 96, 64, 1.0),
        model=ModelCard("gated-attention", 96, {}, ("normal", "tumour"), title="By hand"),
        default_score="attention",
        provenance=Provenance("0", "2", "3.11", "cpu", None, ""),
    )


@pytest.fixture
def case(small_slide: Path, tmp_path: Path) -> Path:
    """A slide of the test's own."""
    folder = tmp_path / "case"
    folder.mkdir()
    return Path(shutil.copy(small_slide, folder / "case-17.tif"))


def work_on(viewer: Any, case: Path) -> None:
    """Do all that can be saved: a map above a threshold, outlines, tags, painted tissue, a place."""
    from napari_mil._napari.launch import add

    with open_slide(case) as slide:
        ref, mask = slide.ref, find_tissue(slide)
    overlay = overlay_of(add(viewer, overlay_layer_data(amap_of(ref))))
    assert overlay is not None
    overlay.choose(scale="ratio")
    overlay.cut("count", 2)
    overlay.settings.opacity = 0.35
    outlines = [Annotation("A", "Tumor", shapely.box(0, 0, 128, 128), (9, 8, 7))]
    layer = add(viewer, drawn_layer_data(outlines, ref, "mine"))
    layer.metadata["napari_mil"]["roles"] = {"Tumor": "exclude"}
    painted = add(viewer, mask_layer_data(mask, ref))
    painted.data[:3, :3] = 1
    session = attach(viewer)
    assert session is not None
    session.tags.keep(ref.quickhash, PatchTags().tagged([PatchPlace(0, 128, 128.0)], "mitosis"))
    camera(viewer).center, camera(viewer).zoom = (0, 33.0, 44.0), 3.5


def save(qtbot: Any, viewer: Any, path: Path) -> None:
    session = attach(viewer)
    assert session is not None
    session.work.save(path)
    qtbot.waitUntil(lambda: not session.work.busy, timeout=20_000)


def reopen(qtbot: Any, viewer: Any, path: Path) -> None:
    reader = get_reader(str(path))
    assert reader is not None
    assert reader(str(path)) == [(None,)]
    session = attach(viewer)
    assert session is not None
    qtbot.waitUntil(lambda: not session.work.busy, timeout=20_000)


def test_work_is_saved_and_reopened_in_another_window(
    qtbot: Any, open_window: Any, make_napari_viewer: Any, case: Path, tmp_path: Path
) -> None:
    viewer, panel = open_window(case)
    work_on(viewer, case)
    panel.tabs.setCurrentWidget(panel.annotate_tab)
    file = tmp_path / "case-17.napari-mil"
    save(qtbot, viewer, file)
    before = {layer.name for layer in viewer.layers}
    quickhash = slide_of(viewer.layers[0]).quickhash
    painted = next(one.data.copy() for one in viewer.layers if mask_of(one))
    viewer.close()

    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1366, 768)
    reopen(qtbot, viewer, file)
    assert {layer.name for layer in viewer.layers} == before
    overlay = next(overlay_of(one) for one in viewer.layers if overlay_of(one))
    assert (overlay.settings.scale, overlay.summary().count, overlay.settings.opacity) == ("ratio", 2, 0.35)
    assert overlay.map.scores["attention"].raw.tobytes() == RAW.tobytes()
    drawn = next(one for one in viewer.layers if annotated_slide(one) == quickhash)
    slide_layer = next(one for one in viewer.layers if slide_of(one))
    [outline] = annotations_in(drawn, slide_layer)()
    assert outline.geometry.equals(shapely.box(0, 0, 128, 128))
    assert (outline.class_name, outline.color) == ("Tumor", (9, 8, 7))
    assert drawn.metadata["napari_mil"]["roles"] == {"Tumor": "exclude"}
    assert np.array_equal(next(one.data for one in viewer.layers if mask_of(one)) != 0, painted != 0)
    session = attach(viewer)
    assert session is not None
    assert session.tags.of(quickhash).names() == ["mitosis"]
    assert tuple(camera(viewer).center[-2:]) == pytest.approx((33.0, 44.0))
    assert camera(viewer).zoom == pytest.approx(3.5)
    from napari_mil._napari.launch import show_panel

    tabs = show_panel(viewer).tabs
    assert tabs.tabText(tabs.currentIndex()) == "Annotate"


def folder_of(file: Path) -> set[str]:
    return {path.name for path in file.parent.iterdir() if path.is_file()}


@pytest.mark.parametrize("in_front", [True, False])
def test_work_opened_again_over_its_open_slide_changes_nothing_and_doubles_nothing(
    qtbot: Any, open_window: Any, case: Path, tmp_path: Path, in_front: bool, sparse_slide: Any
) -> None:
    """In the window in which it was saved, where layers were drawn and made, not read."""
    from napari_mil._napari.launch import add
    from napari_mil._napari.reader import read_slides

    viewer, _ = open_window(case)
    work_on(viewer, case)
    # drawn by hand, in a layer that does not say whose it is
    viewer.add_shapes([np.array([(9, 9), (9, 60.123), (50, 50)], float)], shape_type="polygon", scale=(0.5, 0.5))
    file = tmp_path / "case-17.napari-mil"
    save(qtbot, viewer, file)
    if not in_front:
        for data in read_slides(str(sparse_slide(tmp_path / "other.tif", (300, 400), 0.5))):
            add(viewer, data)
    before, files = [*viewer.layers], folder_of(file)
    shown = next(overlay_of(one) for one in before if overlay_of(one))
    for _ in range(2):
        shown.cut("count", 5)
        shown.settings.opacity = 0.9
        camera(viewer).zoom = 1.0
        reopen(qtbot, viewer, file)
        assert [*viewer.layers] == before
        assert (shown.summary().count, shown.settings.opacity, camera(viewer).zoom) == (2, 0.35, pytest.approx(3.5))
        assert slide_of(before[0]).path == case
        assert before[0].visible
    assert folder_of(file) == files, "all of it was in the file: nothing had to be set aside"


def test_what_came_since_is_set_aside_whole_before_the_slide_is_as_it_was(
    qtbot: Any, open_window: Any, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_mil._napari.launch import add

    said: list[str] = []
    monkeypatch.setattr("napari_mil._napari.work_file.show_info", said.append)
    viewer, _ = open_window(case)
    work_on(viewer, case)
    file = tmp_path / "a.napari-mil"
    save(qtbot, viewer, file)
    names = sorted(layer.name for layer in viewer.layers)
    session = attach(viewer)
    assert session is not None
    ref, quickhash = slide_of(viewer.layers[0]).ref, slide_of(viewer.layers[0]).quickhash
    drawn = next(one for one in viewer.layers if annotated_slide(one))
    drawn.add_polygons([np.array([(0, 0), (0, 50), (50, 50)], float)])
    next(one for one in viewer.layers if mask_of(one)).data[:9, :9] = 1
    other = amap_of(ref)
    turned = {"attention": MapScore(RAW[::-1].copy(), "attention")}
    add(viewer, overlay_layer_data(replace(other, scores=turned)))
    session.tags.keep(quickhash, session.tags.of(quickhash).tagged([PatchPlace(128, 0, 128.0)], "artefact"))

    reopen(qtbot, viewer, file)
    assert sorted(layer.name for layer in viewer.layers) == names
    assert session.tags.of(quickhash).names() == ["mitosis"]
    assert len(next(one for one in viewer.layers if annotated_slide(one)).data) == 1
    [aside] = folder_of(file) - {"a.napari-mil"}
    words = "1 map, 1 layer of annotations, the tissue as painted, ticks and tags"
    assert said[-1].startswith(f"Set aside: {words}, kept in {tmp_path / aside}. The slide is as in a.napari-mil again")
    kept = read_work(tmp_path / aside)
    assert [len(one.annotations) for one in kept.annotations] == [2]
    assert [one.map.scores["attention"].raw.tobytes() for one in kept.maps] == [RAW.tobytes(), RAW[::-1].tobytes()]
    assert kept.tags.names() == ["artefact", "mitosis"]

    # and back again: that is in the file opened before, so nothing more is set aside
    reopen(qtbot, viewer, tmp_path / aside)
    assert len(viewer.layers) == len(names) + 1
    assert session.tags.of(quickhash).names() == ["artefact", "mitosis"]
    assert folder_of(file) == {"a.napari-mil", aside}


def test_what_is_left_of_a_slide_that_was_closed_is_neither_doubled_nor_lost(
    qtbot: Any, open_window: Any, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari_mil._napari.work_file.show_info", said.append)
    viewer, _ = open_window(case)
    work_on(viewer, case)
    file = tmp_path / "a.napari-mil"
    save(qtbot, viewer, file)
    names = sorted(layer.name for layer in viewer.layers)
    session, quickhash = attach(viewer), slide_of(viewer.layers[0]).quickhash
    assert session is not None
    session.tags.keep(quickhash, session.tags.of(quickhash).tagged([PatchPlace(128, 0, 128.0)], "artefact"))
    viewer.layers.remove(viewer.layers[0])
    somebodys = viewer.add_shapes([np.array([(9, 9), (9, 60), (50, 50)], float)], shape_type="polygon")

    reopen(qtbot, viewer, file)
    assert somebodys in viewer.layers, "drawn while no slide was open"
    viewer.layers.remove(somebodys)
    assert sorted(layer.name for layer in viewer.layers) == names
    [aside] = folder_of(file) - {"a.napari-mil"}
    assert said[-1].startswith(f"Set aside: ticks and tags, kept in {tmp_path / aside}.")
    assert read_work(tmp_path / aside).tags.names() == ["artefact", "mitosis"]
    assert session.tags.of(quickhash).names() == ["mitosis"]


def test_where_nothing_can_be_set_aside_nothing_changes(
    qtbot: Any, open_window: Any, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari_mil._napari.work_file.show_error", said.append)
    viewer, _ = open_window(case)
    work_on(viewer, case)
    save(qtbot, viewer, tmp_path / "a.napari-mil")
    next(one for one in viewer.layers if annotated_slide(one)).add_polygons([np.eye(3, 2) * 50])
    before = [*viewer.layers]

    def full(*_: Any) -> None:
        raise WorkError("Cannot write it: No space left on device.")

    monkeypatch.setattr("napari_mil._napari.work_file.write_work", full)
    reopen(qtbot, viewer, tmp_path / "a.napari-mil")
    assert [*viewer.layers] == before
    assert len(said) == 1
    assert "a.napari-mil was not opened" in said[0]
    assert "1 layer of annotations" in said[0]
    assert "No space left" in said[0]


def test_what_is_drawn_while_files_are_read_is_not_lost(
    qtbot: Any, open_window: Any, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_mil._napari import work_file

    viewer, _ = open_window(case)
    work_on(viewer, case)
    file = tmp_path / "a.napari-mil"
    save(qtbot, viewer, file)
    drawn = next(one for one in viewer.layers if annotated_slide(one))
    real, gathered = work_file.gather, []

    def gather(*args: Any, **options: Any) -> Any:
        found = real(*args, **options)
        gathered.append(found)
        if len(gathered) == 1:
            drawn.add_polygons([np.array([(0, 0), (0, 50), (50, 50)], float)])
        return found

    monkeypatch.setattr(work_file, "gather", gather)
    reopen(qtbot, viewer, file)
    assert len(gathered) == 2
    [aside] = folder_of(file) - {"a.napari-mil"}
    assert [len(one.annotations) for one in read_work(tmp_path / aside).annotations] == [2]


def test_a_moved_slide_is_asked_for_and_another_one_refused(
    qtbot: Any, open_window: Any, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_cohort: Path
) -> None:
    viewer, _ = open_window(case)
    work_on(viewer, case)
    file = tmp_path / "moved.napari-mil"
    save(qtbot, viewer, file)
    viewer.layers.clear()
    away = case.rename(tmp_path / "now-here.tif")
    asked: list[str] = []
    said: list[str] = []
    monkeypatch.setattr("napari_mil._napari.work_file.show_error", said.append)

    def answer(path: Path) -> Callable[..., tuple[str, str]]:
        return lambda _parent, title, *_: (asked.append(title), (str(path), ""))[1]

    from sample_data import write_sparse_pyramid

    other = write_sparse_pyramid(tmp_path / "other.tif", (300, 400), 0.5)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", answer(other))
    reopen(qtbot, viewer, file)
    qtbot.waitUntil(lambda: bool(said), timeout=20_000)
    assert "another slide" in said[0]
    assert len(viewer.layers) == 0
    monkeypatch.setattr(QFileDialog, "getOpenFileName", answer(away))
    reopen(qtbot, viewer, file)
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=20_000)
    assert "Where is the slide of moved.napari-mil?" in asked


def test_work_at_another_scale_than_the_open_slide_brings_its_scale(
    qtbot: Any, open_window: Any, case: Path, tmp_path: Path
) -> None:
    from napari_mil._napari.rescale import change_scale

    viewer, _ = open_window(case)
    work_on(viewer, case)
    file = tmp_path / "a.napari-mil"
    save(qtbot, viewer, file)
    names, scale = sorted(layer.name for layer in viewer.layers), mpp_of(viewer.layers[0])
    change_scale(viewer, viewer.layers[0], (0.7, 0.7))
    assert len(viewer.layers) == len(names) - 1, "the map was made at the other scale"
    reopen(qtbot, viewer, file)
    assert (sorted(layer.name for layer in viewer.layers), mpp_of(viewer.layers[0])) == (names, scale)
    drawn = next(one for one in viewer.layers if annotated_slide(one))
    [outline] = annotations_in(drawn, viewer.layers[0])()
    assert outline.geometry.equals(shapely.box(0, 0, 128, 128))
    assert folder_of(file) == {"a.napari-mil"}


def test_the_key_asks_where_to_save(
    qtbot: Any, open_window: Any, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, _ = open_window(case)
    usual: list[str] = []
    target = tmp_path / "by-key"

    def answer(dialog: QFileDialog) -> bool:
        usual.append(dialog.selectedFiles()[0])
        dialog.selectFile(str(target))
        return True

    monkeypatch.setattr(QFileDialog, "exec", answer)
    [bound] = [action for key, action in viewer.keymap.items() if str(key) == "Alt+S"]
    assert SAVE_KEY.combination == "Alt-S"
    bound(viewer)
    session = attach(viewer)
    assert session is not None
    qtbot.waitUntil(lambda: not session.work.busy, timeout=20_000)
    assert usual == [str(case.with_name("case-17.napari-mil"))]
    saved = target.with_name("by-key.napari-mil")
    assert saved.is_file()
    assert read_preferences().recent == (str(saved), str(case))


def test_recent_slides_are_listed_while_none_is_open(qtbot: Any, open_window: Any, case: Path) -> None:
    keep_recent(case.with_name("gone.tif"))
    viewer, panel = open_window(case)
    assert panel.run_tab.recent.isHidden()
    viewer.layers.clear()
    [button] = panel.run_tab.recent.buttons  # not the one that is gone
    assert (button.text(), button.toolTip()) == ("case-17.tif", str(case))
    button.click()
    assert [slide_of(layer).path for layer in viewer.layers] == [case]
    assert panel.run_tab.recent.isHidden()


def test_the_list_of_recent_slides_is_short_and_holds_each_once(tmp_path: Path) -> None:
    for number in range(MOST_RECENT + 3):
        keep_recent(tmp_path / f"{number}.tif")
    keep_recent(tmp_path / "7.tif")
    recent = read_preferences().recent
    assert len(recent) == len(set(recent)) == MOST_RECENT
    assert recent[:2] == (str(tmp_path / "7.tif"), str(tmp_path / f"{MOST_RECENT + 2}.tif"))


def test_every_tab_has_a_page_of_help(open_window: Any, case: Path) -> None:
    pages = help_pages()
    assert not [title for title, text in pages.items() if "](" in text.replace("](http", "")]
    viewer, panel = open_window(case)
    tabs = panel.tabs
    session = attach(viewer)
    assert session is not None
    for index in range(tabs.count()):
        tabs.setCurrentIndex(index)
        panel.help.click()
        assert session.help is not None
        assert session.help.page.current.label == tabs.tabText(index)
        assert session.help.text.toPlainText().startswith(tabs.tabText(index))
    assert {"Gallery", "Train a model", "Keys"} <= set(pages)


def test_the_tour_comes_once_with_the_sample_and_again_when_asked_for(
    qtbot: Any, make_napari_viewer: Any, own_folders: Path
) -> None:
    from napari_mil._napari.launch import add, show_panel
    from napari_mil._napari.samples import lesion

    viewer = make_napari_viewer(show=True)
    for data in lesion():
        add(viewer, data)
    panel = show_panel(viewer)
    qtbot.waitUntil(lambda: panel.tour is not None)
    tour = panel.tour
    assert tour.isVisible()
    assert read_preferences().tour_seen
    seen = []
    while tour.isVisible():
        seen.append((panel.tabs.tabText(panel.tabs.currentIndex()), tour.title.text()))
        assert tour.text.height() >= tour.text.heightForWidth(tour.text.width())
        tour.next.click()
    assert [tab for tab, _ in seen] == ["Run", "Heatmap", "Annotate"]
    assert [title[:6] for _, title in seen] == ["1 of 3", "2 of 3", "3 of 3"]
    panel.start_tour()
    assert tour.isVisible()
    qtbot.keyClick(tour, Qt.Key.Key_Escape)
    assert not tour.isVisible()
    # the sample's own outlines are the target
    qtbot.waitUntil(lambda: not panel.annotate_tab.measuring, timeout=20_000)
    answer: Answer = panel.annotate_tab._answer
    assert answer.roles.target == {"Tumor"}


def test_no_tour_on_other_slides(open_window: Any, case: Path) -> None:
    _, panel = open_window(case)
    assert not panel.tour.isVisible()
    assert not read_preferences().tour_seen
