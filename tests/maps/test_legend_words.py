"""Numbers for people: never rounded to certainty, always with a unit."""

from __future__ import annotations

import pytest

from napari_mil.maps import format_area, format_probability


@pytest.mark.parametrize(
    ("p", "words"),
    [(0.0, "<0.1%"), (0.0004, "<0.1%"), (0.0005, "0.1%"), (0.5, "50.0%"), (0.9994, "99.9%"), (1.0, ">99.9%")],
)
def test_probability_is_never_rounded_to_certainty(p: float, words: str) -> None:
    assert format_probability(p) == words


@pytest.mark.parametrize(
    ("mm2", "words"), [(0.0, "0.00 mm²"), (0.004096, "4,096 µm²"), (0.55, "0.55 mm²"), (45.04, "45.0 mm²")]
)
def test_area_carries_its_unit(mm2: float, words: str) -> None:
    assert format_area(mm2) == words
