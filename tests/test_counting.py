"""Numbers and their nouns."""

from __future__ import annotations

import pytest

from napari_mil.counting import agreed, counted


@pytest.mark.parametrize(
    ("n", "noun", "words"),
    [
        (1, "patient", "1 patient"),
        (0, "patient", "0 patients"),
        (2, "epoch", "2 epochs"),
        (1200, "patch", "1,200 patches"),
        (1, "class", "1 class"),
        (3, "class", "3 classes"),
        (2, "pass", "2 passes"),
        (2, "entry", "2 entries"),
        (2, "day", "2 days"),
        (5, "level-0 pixel", "5 level-0 pixels"),
    ],
)
def test_the_noun_goes_with_the_number(n: int, noun: str, words: str) -> None:
    assert counted(n, noun) == words


def test_a_plural_of_its_own() -> None:
    assert counted(1, "file of outlines", "files of outlines") == "1 file of outlines"
    assert counted(4, "file of outlines", "files of outlines") == "4 files of outlines"


def test_the_verb_goes_with_the_number() -> None:
    assert [agreed(n, "is", "are") for n in (0, 1, 2)] == ["are", "is", "are"]
