"""Numbers for people: never rounded to certainty, always with a unit."""

from __future__ import annotations

import pytest

from napari_mil.maps import format_area, format_areas, format_probability, format_share, format_threshold


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
    ("mm2", "unit", "words"),
    [
        ([1.2, 0.004096, 34.5], "mm²", ["1.2000", "0.0041", "34.5000"]),
        ([0.2048, 0.0164, 12.0], "mm²", ["0.205", "0.016", "12.000"]),
        ([1234.5, 15.04], "mm²", ["1,234.5", "15.0"]),
        ([0.004096, 0.008192], "µm²", ["4,096", "8,192"]),
        ([0.01, 0.000001], "mm²", ["0.0100", "0.0000"]),
        ([0.0], "mm²", ["0.00"]),
        ([], "mm²", []),
    ],
)
def test_a_column_of_areas_has_one_unit_and_as_many_decimals_throughout(
    mm2: list[float], unit: str, words: list[str]
) -> None:
    assert format_areas(mm2) == (unit, words)


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
