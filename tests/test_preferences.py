"""What a person has set is found again, and a broken file costs no more than itself."""

from __future__ import annotations

import json
import logging
import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_mil import preferences
from napari_mil.errors import NapariMilError
from napari_mil.preferences import (
    LEGEND_CORNERS,
    OwnScale,
    Preferences,
    keep_legend,
    keep_scale,
    keep_true_colours,
    read_preferences,
)

FILE = "preferences.json"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_MIL_CONFIG", str(tmp_path / "deep" / "config"))
    return tmp_path / "deep" / "config"


def test_nothing_set_is_nothing(folder: Path) -> None:
    assert read_preferences() == Preferences({}, True)
    assert not folder.exists()


def test_what_is_set_is_found_again(folder: Path) -> None:
    keep_scale("aa", (0.5, 0.25))
    keep_scale("bb", (1.0, 1.0))
    keep_true_colours(False)
    today = date.today().isoformat()
    assert read_preferences() == Preferences(
        {"aa": OwnScale((0.5, 0.25), today), "bb": OwnScale((1.0, 1.0), today)}, False
    )
    keep_scale("aa", None)
    keep_scale("cc", None)
    assert list(read_preferences().scales) == ["bb"]
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_the_legends_place_is_found_again_beside_all_else(folder: Path) -> None:
    keep_true_colours(False)
    for corner in LEGEND_CORNERS:
        keep_legend(corner, folded=corner.startswith("bottom"))
        assert read_preferences() == Preferences(
            {}, False, legend_corner=corner, legend_folded=corner.startswith("bottom")
        )
    (folder / FILE).write_text(json.dumps({"legend_corner": "middle", "legend_folded": 1}))
    assert read_preferences() == Preferences()
    with pytest.raises(ValueError, match="middle"):
        keep_legend("middle", folded=False)


def test_the_file_stays_small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preferences, "MOST_SCALES", 3)
    for name in "abcd":
        keep_scale(name, (0.25, 0.25))
    keep_scale("b", (0.5, 0.5))
    keep_scale("e", (0.5, 0.5))
    assert list(read_preferences().scales) == ["d", "b", "e"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"x"', "[" * 100_000, "\udcff", "x" * 1_000_001])
def test_a_broken_file_is_noted_and_replaced(folder: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    with caplog.at_level(logging.WARNING):
        assert read_preferences() == Preferences()
    assert f"{folder / FILE} cannot be read" in caplog.text
    keep_scale("aa", (0.5, 0.5))
    assert list(read_preferences().scales) == ["aa"]


def test_single_entries_that_make_no_sense_are_left_out(folder: Path) -> None:
    folder.mkdir(parents=True)
    scales = {
        "good": {"mpp": [0.25, 0.5], "day": "2026-01-31"},
        "zero": {"mpp": [0, 0.5], "day": ""},
        "nan": {"mpp": [float("nan"), 1], "day": ""},
        "one": {"mpp": [1], "day": ""},
        "words": {"mpp": ["a", "b"], "day": ""},
        "bare": 3,
    }
    (folder / FILE).write_text(json.dumps({"scales": scales, "true_colours": "yes", "later": 1}))
    assert read_preferences() == Preferences({"good": OwnScale((0.25, 0.5), "2026-01-31")}, True)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values | st.fixed_dictionaries({"scales": json_values, "true_colours": json_values}))
def test_no_content_is_an_error(folder: Path, value: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(json.dumps(value))
    assert isinstance(read_preferences(), Preferences)


@pytest.mark.skipif(os.name == "nt", reason="needs a path through a file")
def test_a_refusing_disk_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NAPARI_MIL_CONFIG", str(tmp_path / "file" / "config"))
    assert read_preferences() == Preferences()
    with pytest.raises(NapariMilError, match="what you set is not kept"):
        keep_true_colours(True)
