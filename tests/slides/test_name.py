"""What a slide is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_mil.slides import open_slide, slide_name


def test_a_dicom_folder_named_by_its_uid_keeps_its_whole_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "1.2.840.10008.1"
    folder.mkdir()
    assert slide_name(folder) == "1.2.840.10008.1"
    monkeypatch.chdir(folder)
    assert slide_name(".") == "1.2.840.10008.1"


def test_a_dicom_folder_is_the_slide_that_was_asked_for(shared_data: Path) -> None:
    folder = shared_data / "slides" / "cmu-1-dicom"
    with open_slide(folder) as slide:
        assert slide.path == folder
        assert slide.name == "cmu-1-dicom"
        assert slide.ref.path == str(folder)
        with open_slide(slide.ref.path) as again:
            assert again.quickhash == slide.quickhash


def test_a_relative_path_is_remembered_whole(small_slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_slide.parent)
    with open_slide(small_slide.name) as slide:
        assert slide.ref.path == str(small_slide)


@pytest.mark.parametrize(
    ("stated", "origin"),
    [({}, (0, 0)), ({"x": "120", "y": "40"}, (120, 40)), ({"x": "a"}, (0, 0)), ({"x": "inf"}, (0, 0))],
)
def test_corner_of_what_was_scanned(small_slide: Path, stated: dict[str, str], origin: tuple[float, float]) -> None:
    with open_slide(small_slide) as slide:
        slide.properties = {f"openslide.bounds-{axis}": value for axis, value in stated.items()}
        assert slide.bounds_origin_xy == origin


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("slides/a.b.SVS", "a.b"),
        ("slides/ä ß.ndpi", "ä ß"),
        ("C:\\slides\\x.mrxs", "x"),
        ("TCGA-A1.5F2C", "TCGA-A1.5F2C"),
        ("1.2.840.10008.1/1.2.840.10008.7.dcm", "1.2.840.10008.7"),
    ],
)
def test_a_name_as_a_table_states_it(path: str, name: str) -> None:
    assert slide_name(path) == name


@pytest.mark.parametrize(
    ("stated", "area"),
    [
        (None, (0, 0, 1200, 1600)),
        (("100", "40", "1500", "1160"), (40, 100, 1160, 1500)),
        (("100", "40", "1501", "1160"), (0, 0, 1200, 1600)),
        (("-1", "40", "15", "11"), (0, 0, 1200, 1600)),
        (("1", "4", "0", "11"), (0, 0, 1200, 1600)),
        (("1", "4", "a", "nan"), (0, 0, 1200, 1600)),
    ],
)
def test_what_was_scanned(small_slide: Path, stated: tuple[str, ...] | None, area: tuple[float, ...]) -> None:
    names = ("x", "y", "width", "height")
    with open_slide(small_slide) as slide:
        slide.properties = {f"openslide.bounds-{k}": v for k, v in zip(names, stated or (), strict=False)}
        assert slide.scanned == area
