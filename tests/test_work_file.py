"""The work on a slide in one file, without a window: what goes in comes out, what is no work is refused in words."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
import shapely.affinity

from napari_mil.annotations import Annotation
from napari_mil.errors import SlideMovedError, WorkError
from napari_mil.features import EncoderInfo
from napari_mil.maps import AttentionMap, MapScore, PatchPlace, PatchTags, Prediction, Provenance
from napari_mil.models import ModelCard
from napari_mil.slides import SlideRef, open_slide
from napari_mil.tiling import TileGrid, TissueMask
from napari_mil.work import DockPlace, Outlined, ShownMap, View, Work, held_by
from napari_mil.work_file import (
    FORMAT_VERSION,
    is_work_file,
    open_work_slide,
    read_work,
    write_work,
)

RAW = np.array([0.1, np.nan, 1 / 3, 0.4], np.float32)


def amap_of(slide: SlideRef) -> AttentionMap:
    grid = TileGrid(np.array([(0, 0), (0, 64), (64, 0), (64, 64)]), 64.0, 64.0, 64, 0.5, np.ones(4, np.float32))
    return AttentionMap(
        scores={"attention": MapScore(RAW, "attention")},
        grid=grid,
        prediction=Prediction(("normal", "tumour"), np.float32([0, 1]), np.float32([0.3, 0.7])),
        slide=slide,
        encoder=EncoderInfo("colour-texture", "1", "", 96, 64, 0.5),
        model=ModelCard("gated-attention", 96, {}, ("normal", "tumour"), title="By hand"),
        default_score="attention",
        provenance=Provenance("0", "2", "3.11", "cpu", None, ""),
    )


@pytest.fixture
def work(small_slide: Path, tmp_path: Path) -> Work:
    slide_file = shutil.copy(small_slide, tmp_path / "case 17.tif")
    with open_slide(slide_file) as slide:
        ref = slide.ref
    holed = shapely.box(0, 0, 100, 80.25).difference(shapely.box(10, 10, 20, 20))
    tissue = TissueMask.from_labels(np.arange(600).reshape(20, 30) % 7 > 3, ref.shape, ref.mpp, origin="painted")
    return Work(
        ref,
        [ShownMap(amap_of(ref), "First", {"score": "attention", "threshold": 0.25}, False)],
        [
            Outlined([Annotation("A", "Tumor", holed, (1, 2, 3))], "mine", {"Tumor": "exclude"}),
            Outlined([], "empty", {}, False),
        ],
        PatchTags().ticked([PatchPlace(0, 64, 64.0)], True).tagged([PatchPlace(0, 64, 64.0)], "mitosis"),
        tissue,
        View((12.5, 99.0), 0.125),
        (
            DockPlace("MILPanel", "right", False, (1000, 40, 366, 700), tab="Annotate"),
            DockPlace("HelpPage", "right", True, (-30, 20, 560, 600), front=False),
        ),
    )


def test_all_of_it_comes_back(work: Work, tmp_path: Path) -> None:
    file = write_work(tmp_path / "case 17", work)
    assert (file.name, is_work_file(file)) == ("case 17.napari-mil", True)
    assert file.stat().st_size < 50_000
    back = read_work(file)
    assert (back.slide, back.tags, back.view, back.docks) == (work.slide, work.tags, work.view, work.docks)
    [shown] = back.maps
    assert shown.map.scores["attention"].raw.tobytes() == RAW.tobytes()
    assert (shown.name, shown.settings, shown.visible) == ("First", {"score": "attention", "threshold": 0.25}, False)
    mine, empty = back.annotations
    [outline] = mine.annotations
    assert outline.geometry.equals(work.annotations[0].annotations[0].geometry)
    assert (outline.name, outline.class_name, outline.color) == ("A", "Tumor", (1, 2, 3))
    assert (mine.name, mine.roles, mine.visible) == ("mine", {"Tumor": "exclude"}, True)
    assert (list(empty.annotations), empty.visible) == ([], False)
    assert back.tissue is not None
    assert work.tissue is not None
    assert np.array_equal(back.tissue.mask, work.tissue.mask)
    assert back.tissue.origin == "painted"


def test_little_work_is_work_too(tmp_path: Path) -> None:
    bare = Work(SlideRef(str(tmp_path / "x.tif"), "hash", None, (10, 20)))
    back = read_work(write_work(tmp_path / "bare.napari-mil", bare))
    assert (back.slide, back.maps, back.annotations, back.tissue, back.view) == (bare.slide, [], [], None, None)


def test_the_slide_is_found_where_it_was_or_beside_the_file_and_nothing_else_passes_for_it(
    work: Work, tmp_path: Path, small_cohort: Path
) -> None:
    file = write_work(tmp_path / "a.napari-mil", work)
    with open_work_slide(file, read_work(file)) as slide:
        assert slide.path.name == "case 17.tif"
    away = tmp_path / "elsewhere"
    away.mkdir()
    Path(work.slide.path).rename(away / "case 17.tif")
    with pytest.raises(SlideMovedError, match="no longer at"):
        open_work_slide(file, read_work(file))
    with open_work_slide(file, read_work(file), away / "case 17.tif") as slide:
        assert slide.quickhash == work.slide.quickhash
    moved = Path(shutil.move(file, away / "a.napari-mil"))
    with open_work_slide(moved, read_work(moved)) as slide:
        assert slide.path.parent == away
    from sample_data import write_sparse_pyramid

    other = write_sparse_pyramid(tmp_path / "case 17.tif", (300, 400), 0.5)  # of the same name
    with pytest.raises(WorkError, match="another slide"):
        open_work_slide(moved, read_work(moved), other)
    (away / "case 17.tif").unlink()
    with pytest.raises(SlideMovedError, match="another slide"):
        open_work_slide(moved, read_work(moved))


def test_the_scale_that_was_set_is_kept(work: Work, tmp_path: Path) -> None:
    file = write_work(tmp_path / "a", replace(work, slide=replace(work.slide, mpp=(0.31, 0.32)), maps=(), tissue=None))
    with open_work_slide(file, read_work(file)) as slide:
        assert slide.mpp == (0.31, 0.32)


def rewritten(file: Path, **changes: object) -> Path:
    """Put other values into a file's index."""
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["work.json"] = json.dumps(json.loads(parts["work.json"]) | changes).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return file


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": FORMAT_VERSION + 1, "napari_mil": "9.9"}, "newer napari-mil .9.9.*Update"),
        ({"format": "something else"}, "holds no work on a slide"),
        ({"slide": None}, "is damaged"),
        ({"slide": {"path": "x"}}, "is damaged"),
        ({"maps": [{"file": "maps/7.h5", "name": "", "visible": True, "settings": {}}]}, "is damaged"),
        ({"maps": [{"file": "work.json", "name": "", "visible": True, "settings": {}}]}, "is damaged"),
        ({"annotations": 7}, "is damaged"),
        ({"view": {"l0_center": "here", "zoom": 1}}, "is damaged"),
        ({"view": {"l0_center": [10**400, 0], "zoom": 1}}, "is damaged"),
    ],
)
def test_what_is_newer_damaged_or_of_another_kind_is_refused_in_words(
    work: Work, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    file = rewritten(write_work(tmp_path / "a", work), **changes)
    with pytest.raises(WorkError, match=words):
        read_work(file)


def test_other_files_are_refused_in_words(work: Work, tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="There is no file"):
        read_work(tmp_path / "none.napari-mil")
    text = tmp_path / "text.napari-mil"
    text.write_text("hello")
    with pytest.raises(WorkError, match="damaged, or no work"):
        read_work(text)
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(WorkError, match="holds no work"):
        read_work(text)
    file = write_work(tmp_path / "a", work)
    data = file.read_bytes()
    for cut in (10, len(data) // 2, len(data) - 5):
        file.write_bytes(data[:cut])
        with pytest.raises(WorkError, match="damaged"):
            read_work(file)
    spoilt = bytearray(data)
    spoilt[len(data) // 3 : len(data) // 3 + 40] = bytes(40)
    file.write_bytes(spoilt)
    with pytest.raises(WorkError, match="damaged"):
        read_work(file)


def test_a_save_that_fails_leaves_the_older_file(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_work(tmp_path / "a", work)
    before = file.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "write", full)
    with pytest.raises(WorkError, match="No space left"):
        write_work(file, work)
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.napari-mil", "case 17.tif"]


def test_work_that_was_written_and_read_is_held_by_itself_and_changes_are_named(work: Work, tmp_path: Path) -> None:
    back = read_work(write_work(tmp_path / "a", work))
    held = held_by(back, work)
    assert (held.maps, held.annotations, held.tissue, held.lost) == ((0,), (0, 1), True, ())
    nothing = replace(work, maps=(), annotations=(), tags=PatchTags(), tissue=None)
    assert held_by(back, nothing).lost == ()
    assert held_by(nothing, back).lost == (
        "1 map",
        "1 layer of annotations",  # the empty one is no loss
        "the tissue as painted",
        "ticks and tags",
    )
    [shown], [mine, empty] = work.maps, work.annotations
    [outline] = mine.annotations
    raw = RAW.copy()
    raw[0] = np.nextafter(raw[0], 1)
    other = replace(shown.map, scores={"attention": MapScore(raw, "attention")})
    assert held_by(back, replace(work, maps=[replace(shown, map=other)])).lost == ("1 map",)
    assert held_by(back, replace(work, maps=[shown, shown])).lost == ("1 map",)
    for changed in (
        replace(outline, class_name="Stroma"),
        replace(outline, name="B"),
        replace(outline, color=(1, 2, 4)),
        replace(outline, geometry=shapely.affinity.translate(outline.geometry, 0.1)),
        replace(outline, geometry=shapely.box(0, 0, 100, 80.25)),
    ):
        edited = replace(work, annotations=[replace(mine, annotations=[changed]), empty])
        assert held_by(back, edited).lost == ("1 layer of annotations",)
        assert held_by(back, edited).annotations[0] is None
    two = replace(work, annotations=[empty, replace(mine, name="copy"), mine])
    assert held_by(back, two).annotations == (2, 0), "the one of the same name first"
    assert held_by(back, two).lost == ("1 layer of annotations",)


def test_where_docks_were_is_left_out_where_it_cannot_be_understood(work: Work, tmp_path: Path) -> None:
    file = write_work(tmp_path / "a", work)
    assert read_work(rewritten(file, docks=["MILPanel", "tab:Run"])).docks is None
    good = {"name": "Gallery", "area": "bottom", "floating": False, "geometry": [0, 0, 9, 9], "front": True}
    bad = [{"name": "x"}, {**good, "area": "middle"}]
    bad += [
        {**good, "geometry": wrong} for wrong in ([1], [0, 0, "wide", 9], [0, 0, float("inf"), 9], [0, 0, 1 << 40, 9])
    ]
    assert read_work(rewritten(file, docks=[*bad, good])).docks == (
        DockPlace("Gallery", "bottom", False, (0, 0, 9, 9)),
    )
