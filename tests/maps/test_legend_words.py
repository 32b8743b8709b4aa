"""Numbers for people: never rounded to certainty, always with a unit."""

from __future__ import annotations

import pytest

from napari_mil.maps import format_area, format_probability, format_share, format_threshold


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


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0%"), (0.0004, "<0.1%"), (0.002, "0.2%"), (0.0099, "1.0%"), (0.01, "1%"), (0.304, "30%"), (1.0, "100%")],
)
def test_a_few_patches_are_not_called_none_of_the_tissue(share: float, words: str) -> None:
    assert format_share(share) == words


@pytest.mark.parametrize(
    ("threshold", "words"),
    [(0.95, "0.95"), (0.99997, "0.99997"), (0.9999999, "0.9999999"), (1.0, "1"), (12.59, "12.6"), (-0.0034, "-0.0034")],
)
def test_a_threshold_below_1_is_never_written_as_1(threshold: float, words: str) -> None:
    assert format_threshold(threshold) == words
