"""Every pixel of every level lies where it was made from, whichever way its writer cut and rounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mil.slides import open_slide
from napari_mil.slides._geometry import level_scales, shown_shape

ROUND: dict[str, Callable[[float], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round": lambda v: math.floor(v + 0.5),
}
NINE = [(row, col) for row in (0.08, 0.5, 0.92) for col in (0.08, 0.5, 0.92)]


def mean_ratio(l0_shape: tuple[int, int], shape: tuple[int, int]) -> float:
    """What OpenSlide reports where the file states no downsample."""
    return (l0_shape[0] / shape[0] + l0_shape[1] / shape[1]) / 2


@given(
    l0_shape=st.tuples(st.integers(1, 300_000), st.integers(1, 300_000)),
    step=st.sampled_from([2, 4]),
    rounding=st.sampled_from(sorted(ROUND)),
    chained=st.booleans(),
)
def test_whole_factors_are_found_down_to_the_last_pixel(
    l0_shape: tuple[int, int], step: int, rounding: str, chained: bool
) -> None:
    """Halved or quartered as writers do, each level from level 0 or from the level above."""
    shapes, factors = [l0_shape], [1]
    while max(shapes[-1]) > 3:
        factors.append(factors[-1] * step)
        of, by = (shapes[-1], step) if chained else (l0_shape, factors[-1])
        shapes.append((max(1, ROUND[rounding](of[0] / by)), max(1, ROUND[rounding](of[1] / by))))
    shapes, factors = shapes[:-1] or shapes, factors[:-1] or factors
    if min(min(shape) for shape in shapes) < 3:
        # a strip: its short edge has shrunk to nothing and says nothing
        return
    scales = level_scales(shapes, [mean_ratio(l0_shape, shape) for shape in shapes])
    assert scales == tuple((n, n) for n in factors)
    for shape, n in zip(shapes, factors, strict=True):
        shown = shown_shape(l0_shape, shape, (n, n))
        for full, edge, stored in zip(l0_shape, shown, shape, strict=True):
            assert abs(edge - stored) <= 1
            # the last pixel's far edge as stretched over level 0, and where it belongs: half a level pixel at most
            assert abs(full - edge * n) <= n / 2


def test_sixteen_levels_down_to_stamps_of_one_pixel() -> None:
    """The sizes of a real DICOM folder, whose ratios are off by hundreds at the end."""
    shapes = [(2967 >> k or 1, 2220 >> k or 1) for k in range(16)]
    scales = level_scales(shapes, [mean_ratio(shapes[0], shape) for shape in shapes])
    assert [row for row, _ in scales[:12]] == [2**k for k in range(12)]
    assert all(row == col and row >= 2**11 for row, col in scales[12:])


def test_what_is_not_whole_keeps_both_ratios() -> None:
    shapes = [(1000, 4001), (398, 1600)]
    assert level_scales(shapes, [1, mean_ratio(*shapes)]) == ((1, 1), (1000 / 398, 4001 / 1600))
    assert shown_shape(shapes[0], shapes[1], (1000 / 398, 4001 / 1600)) == shapes[1]


def test_what_the_file_states_is_believed() -> None:
    """MIRAX states its downsamples; the levels then end where its tiles do."""
    assert level_scales([(1000, 2000), (512, 1024)], [1, 2.0]) == ((1, 1), (2, 2))
    assert shown_shape((1000, 2000), (512, 1024), (2, 2)) == (500, 1000)


def blobs(shape: tuple[int, int], sigma: float) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Return glass with nine dark spots, and their centres: level-0 pixels, edges on whole numbers."""
    places = [(shape[0] * row, shape[1] * col) for row, col in NINE]
    rows, cols = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    ink = sum(
        np.exp(-((rows - r) ** 2) / (2 * sigma**2))[:, None] * np.exp(-((cols - c) ** 2) / (2 * sigma**2))
        for r, c in places
    )
    return np.repeat((230 - 200 * ink)[..., None], 3, axis=2), places


def halved(rgb: np.ndarray, n: int, rounding: str) -> np.ndarray:
    """Average whole blocks of n x n as writers do, cutting off what is left over or filling it up."""
    shape = tuple(max(1, ROUND[rounding](edge / n)) for edge in rgb.shape[:2])
    missing = [(0, max(0, n * new - old)) for new, old in zip(shape, rgb.shape[:2], strict=True)]
    whole = np.pad(rgb, (*missing, (0, 0)), mode="edge")[: shape[0] * n, : shape[1] * n]
    return whole.reshape(shape[0], n, shape[1], n, 3).mean(axis=(1, 3))


def stretched(l0_shape: tuple[int, int], downsample: float, sigma: float) -> np.ndarray:
    """Sample the same spots at a level whose ratios are what its rounded size makes them."""
    shape = tuple(round(edge / downsample) for edge in l0_shape)
    step = [full / edge for full, edge in zip(l0_shape, shape, strict=True)]
    rows, cols = ((np.arange(edge) + 0.5) * by for edge, by in zip(shape, step, strict=True))
    ink = sum(
        np.exp(-((rows - l0_shape[0] * r) ** 2) / (2 * sigma**2))[:, None]
        * np.exp(-((cols - l0_shape[1] * c) ** 2) / (2 * sigma**2))
        for r, c in NINE
    )
    return np.repeat((230 - 200 * ink)[..., None], 3, axis=2)


def off_centre(rgb: np.ndarray) -> float:
    """Return how far from the middle of a patch the ink's centroid lies, pixels of the patch."""
    ink = 230.0 - rgb[..., 0]
    ink[ink < 8] = 0
    middle = [(edge - 1) / 2 for edge in ink.shape]
    found = [(ink.sum(axis=1 - axis) * np.arange(ink.shape[axis])).sum() / ink.sum() for axis in (0, 1)]
    return max(abs(a - b) for a, b in zip(found, middle, strict=True))


@pytest.mark.parametrize(
    ("shape", "factors", "how"),
    [
        ((2047, 3071), (2, 4, 8, 16), "floor"),
        ((2049, 3073), (2, 4, 8, 16), "ceil"),
        ((2055, 3063), (4, 16), "floor"),
        ((2041, 3079), (2, 4, 8, 16), "round"),
        ((1801, 3203), (2.5, 5.3, 11.7), "stretched"),
        ((901, 4507), (1.5, 3.1, 7.3), "stretched"),
    ],
)
def test_patches_of_every_level_agree_at_nine_places(
    write_slide: Callable[..., Path], tmp_path: Path, shape: tuple[int, int], factors: tuple[float, ...], how: str
) -> None:
    """To a tenth of a level pixel, and to the half level-0 pixel that OpenSlide's whole coordinates may cost."""
    sigma = 1.3 * max(factors)
    l0, places = blobs(shape, sigma)
    levels = [stretched(shape, f, sigma) if how == "stretched" else halved(l0, int(f), how) for f in factors]
    path = write_slide(tmp_path / "a.tif", [np.rint(rgb).astype(np.uint8) for rgb in (l0, *levels)])
    with open_slide(path) as slide:
        for level, (down_r, down_c) in enumerate(slide.level_scales):
            down = max(down_r, down_c)
            # patches as wide as the spot, a level pixel each: read from that level
            half = round(5 * sigma / down) * down
            for row, col in places:
                patch = slide.read_patch(row - half, col - half, 2 * half, round(2 * half / down))
                assert off_centre(patch) < 0.1 + (0.5 / down if level else 0)


def test_the_picture_napari_stretches_is_in_place(write_slide: Callable[..., Path], tmp_path: Path) -> None:
    """napari knows sizes alone: level over level-0 size is its downsample."""
    shape, sigma = (2063, 3087), 20.0
    l0, places = blobs(shape, sigma)
    levels = [halved(l0, n, how) for n, how in ((2, "ceil"), (4, "floor"), (8, "floor"), (16, "ceil"))]
    path = write_slide(tmp_path / "a.tif", [np.rint(rgb).astype(np.uint8) for rgb in (l0, *levels)])
    with open_slide(path) as slide:
        shown = slide.levels()
        assert len(shown) >= 3
        for level in shown[1:]:
            step = [full / edge for full, edge in zip(shape, level.shape, strict=False)]
            for row, col in places:
                r, c = row / step[0], col / step[1]
                half = 100 / step[0]
                top, left = (max(0, round(v - half)) for v in (r, c))
                bottom, right = round(r + half), round(c + half)
                ink = 230.0 - level[top:bottom, left:right, 0]
                ink[ink < 8] = 0
                found = [
                    (ink.sum(axis=1 - axis) * (np.arange(ink.shape[axis]) + 0.5)).sum() / ink.sum() for axis in (0, 1)
                ]
                assert abs(top + found[0] - r) <= 0.5
                assert abs(left + found[1] - c) <= 0.5


@pytest.mark.parametrize("how", ["floor", "ceil"])
def test_a_level_reaches_the_slides_far_edge(write_slide: Callable[..., Path], tmp_path: Path, how: str) -> None:
    """Where the last row and column were dropped, the ones before go on; no background shines through."""
    l0 = np.full((1607, 1807, 3), 60.0)
    levels = [halved(l0, 8, how)]
    path = write_slide(tmp_path / "a.tif", [np.rint(rgb).astype(np.uint8) for rgb in (l0, *levels)])
    with open_slide(path) as slide:
        assert slide.level_scales[1] == (8, 8)
        assert slide.shown_shapes[1] == (201, 226)
        # OpenSlide shifts by fractions of a pixel, which at rims may cost a grey level
        assert (slide.read(1, 0, 0, 201, 226) == 60).all()
        assert np.abs(slide.read(1, 190, 220, 20, 20)[:11, :6] - 60.0).max() <= 1
        assert (slide.read(1, 190, 220, 20, 20)[11:] == 255).all()
        assert np.abs(slide.read(1, 200, 225, 1, 1) - 60.0).max() <= 1
        assert np.abs(slide.read_patch(1560, 1760, 40, 5) - 60.0).max() <= 1


def test_large_reads_do_not_drift(write_slide: Callable[..., Path], tmp_path: Path) -> None:
    """OpenSlide cuts reads into pieces of 4096 px and rounds their corners down: up to a level-0 pixel off."""
    level = np.full((4300, 300, 3), 200, np.uint8)
    level[4200:] = 0
    path = write_slide(tmp_path / "a.tif", [np.zeros((8599, 599, 3), np.uint8), level])
    with open_slide(path) as slide:
        column = slide.read(1, 0, 0, 4300, 300)[:, 150, 0]
    assert (column[:4199] == 200).all()
    assert (column[4201:] == 0).all()
    # half a level-0 pixel is a quarter of a level pixel
    assert min(column[4199], 200 - column[4200]) >= 0.7 * 200


def test_real_slides_whose_writers_are_known(shared_data: Path) -> None:
    """Measured in their pixels by phase correlation: true to 0.01 of a level pixel, at every corner."""
    with open_slide(shared_data / "slides" / "duodenum-giardiasis-40x.tif") as slide:
        assert slide.level_downsamples == (1, 2, 4, 8, 16, 32)
    with open_slide(shared_data / "slides" / "tcga-jp2k-no-mpp.svs") as slide:
        assert slide.level_downsamples == (1, 2)
    with open_slide(shared_data / "slides" / "cmu-1-dicom") as slide:
        assert slide.level_downsamples == tuple(2**k for k in range(12))
