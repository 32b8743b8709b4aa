"""Ticks and tags: kept by place, read back as they were, and harmless whatever a file holds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mil.maps import PatchMark, PatchPlace, PatchTags, read_tags


@pytest.fixture
def grid(lattice):
    return lattice([(r, c) for r in range(3) for c in range(4)], stride=100.4)


def test_ticks_and_tags_of_a_grid(grid):
    places = [PatchPlace.of(grid, patch) for patch in range(len(grid))]
    assert (places[5].l0_row, places[5].l0_col, places[5].tile_l0) == (100, 100, 100.4)
    tags = PatchTags().ticked(places[5:7], True).tagged([places[6], places[2]], "  mitosis\n", True)
    tags = tags.tagged([places[6]], "my; own").tagged([places[6]], "mitosis")
    assert tags.at(places[6]) == PatchMark(True, ("mitosis", "my, own"))
    assert tags.on_grid(grid) == {
        2: PatchMark(False, ("mitosis",)),
        5: PatchMark(True, ()),
        6: PatchMark(True, ("mitosis", "my, own")),
    }
    assert tags.names() == ["mitosis", "my, own"]
    gone = tags.ticked(places, False).tagged(places, "mitosis", False).tagged(places, "my, own", False)
    assert gone == PatchTags()
    assert tags.tagged(places, " \t") == tags


def test_patches_of_another_size_or_place_share_nothing(grid, lattice):
    tags = PatchTags().ticked([PatchPlace.of(grid, 0), PatchPlace.of(grid, 5)], True)
    assert list(tags.on_grid(lattice([(0, 0), (5, 5)], stride=100.4))) == [0]
    assert tags.on_grid(lattice([(0, 0), (1, 1)], stride=100.0)) == {}
    assert PatchTags().on_grid(grid) == {}


_places = st.builds(
    PatchPlace, st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.sampled_from([64.0, 100.4, 253.968])
)
_words = st.text("abc µ-,", min_size=1, max_size=20).map(lambda s: " ".join(s.split())).filter(bool)
_marks = st.builds(PatchMark, st.booleans(), st.lists(_words, max_size=3, unique=True).map(tuple))


@given(st.dictionaries(_places, _marks.filter(lambda mark: mark != PatchMark()), max_size=6))
def test_a_record_comes_back_through_json(marks):
    tags = PatchTags(marks)
    assert read_tags(json.loads(json.dumps(tags.to_record(), allow_nan=False))) == tags


@pytest.mark.parametrize(
    "record",
    [
        None,
        "tags",
        {"x": 1},
        [7, None, {}],
        [{"x": 1, "y": 2}],
        [{"x": "1", "y": 2, "width": 3, "ticked": True}],
        [{"x": True, "y": 2, "width": 3, "ticked": True}],
        [{"x": float("inf"), "y": 2, "width": 3, "ticked": True}],
        [{"x": 1, "y": 2, "width": 3, "ticked": "yes", "tags": "mitosis"}],
    ],
)
def test_what_a_file_should_not_hold_gives_no_tags(record):
    assert read_tags(record) == PatchTags()


def test_what_can_be_understood_of_a_file_is():
    found = read_tags([{"x": 4, "y": 3, "width": 64, "tags": ["a", 7, " a ", "\x00b;", "x" * 99]}, "junk"])
    assert found.at(PatchPlace(3, 4, 64.0)) == PatchMark(False, ("a", "b,", "x" * 60))
