"""The order of reading: a few batches from all over first, what is wanted before the rest, and the same bits in any."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_mil.features import Encoder, iter_extract
from napari_mil.features._order import ordered, wanted_first
from napari_mil.features._patches import plan_batches
from napari_mil.progress import finish
from napari_mil.slides import Slide
from napari_mil.tiling import TileGrid, spread_out


@given(
    places=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=120),
    spacing=st.floats(1.0, 200.0),
)
def test_each_place_comes_once_and_every_pass_covers_all(places: list[tuple[int, int]], spacing: float) -> None:
    found = np.array(places, float)
    order = spread_out(found, spacing)
    assert sorted(order.tolist()) == list(range(len(found)))
    extent = np.ptp(found, axis=0).max()
    edge = spacing * 2 ** max(0, np.ceil(np.log2(max(extent, spacing) / spacing)))
    while edge >= spacing:
        squares = np.floor((found - found.min(axis=0)) / edge)
        occupied = len(np.unique(squares, axis=0))
        # squares lie in one another, so that after each pass every square has exactly one
        assert len(np.unique(squares[order[:occupied]], axis=0)) == occupied
        edge /= 2


def test_a_full_square_is_taken_by_halves() -> None:
    places = np.argwhere(np.ones((16, 16))).astype(float)
    order = spread_out(places, 2.0)
    for edge, count in ((16, 1), (8, 4), (4, 16), (2, 64)):
        taken = np.unique(places[order[:count]] // edge, axis=0)
        assert len(taken) == count == (16 // edge) ** 2
    rest = order[64:]
    np.testing.assert_array_equal(rest, np.sort(rest))  # the last pass goes row by row


def test_no_places_and_no_spacing() -> None:
    assert spread_out(np.empty((0, 2)), 1.0).tolist() == []
    assert spread_out(np.zeros((3, 2)), 5.0).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="positive"):
        spread_out(np.zeros((3, 2)), 0.0)


def test_spread_batches_are_the_planned_ones(slide: Slide, grid: TileGrid) -> None:
    plan = plan_batches(slide, grid, batch_size=8, block_px=512)
    spread = ordered(plan, grid, "spread")
    assert sorted(map(tuple, spread)) == sorted(map(tuple, plan))
    assert [tuple(tiles) for tiles in spread] != [tuple(tiles) for tiles in plan]
    first = np.array([grid.l0_rc[tiles].mean(axis=0) for tiles in spread[: len(plan) // 8]])
    assert (np.ptp(first, axis=0) > 0.6 * np.ptp(grid.l0_rc, axis=0)).all()
    assert [tuple(tiles) for tiles in ordered(plan, grid, "raster")] == [tuple(tiles) for tiles in plan]


def test_what_is_wanted_comes_first_and_may_change_midway() -> None:
    batches = [np.arange(k, k + 4) for k in range(0, 40, 4)]
    wishes: list[NDArray[np.generic] | None] = [None]
    taken = []
    for tiles in wanted_first(batches, 40, lambda: wishes[0]):
        taken.append(int(tiles[0]) // 4)
        if len(taken) == 2:
            wishes[0] = np.zeros(40, np.uint8)
            wishes[0][[23, 38]] = 1, 2
        if len(taken) == 5:
            wishes[0] = None
    assert taken == [0, 1, 9, 5, 2, 3, 4, 6, 7, 8]
    with pytest.raises(ValueError, match=r"\(40,\)"):
        list(wanted_first(batches, 40, lambda: np.zeros(3)))
    assert list(wanted_first([], 0, None)) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_any_order_gives_the_same_file(
    slide: Slide, grid: TileGrid, quarters: Encoder, tmp_path: Path, threads: int
) -> None:
    headless = finish(iter_extract(slide, grid, quarters, device="cpu", out=tmp_path / "a.h5", batch_size=8))
    rng = np.random.default_rng(0)
    told: list[NDArray[np.int64]] = []
    live = finish(
        iter_extract(
            slide,
            grid,
            quarters,
            device="cpu",
            out=tmp_path / "b.h5",
            batch_size=8,
            threads=threads,
            order="spread",
            priority=lambda: rng.random(len(grid)),
            arrived=lambda tiles, values: told.append(tiles),
        )
    )
    np.testing.assert_array_equal(live.values, headless.values)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    np.testing.assert_array_equal(np.sort(np.concatenate(told)), np.arange(len(grid)))


def test_a_cut_off_run_tells_what_it_had_and_ends_the_same(
    slide: Slide, grid: TileGrid, quarters: Encoder, tmp_path: Path
) -> None:
    """Begun in one order, gone on in the other: the same rows."""
    whole = finish(iter_extract(slide, grid, quarters, device="cpu", batch_size=8))
    told: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    options = {"device": "cpu", "out": tmp_path / "f.h5", "batch_size": 8}
    steps = iter_extract(
        slide, grid, quarters, **options, order="spread", arrived=lambda *rows: told.append(rows), threads=1
    )
    for _ in steps:
        if len(told) > 5:
            break
    steps.close()
    before = np.concatenate([tiles for tiles, _ in told])
    again: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    features = finish(iter_extract(slide, grid, quarters, **options, arrived=lambda *rows: again.append(rows)))
    np.testing.assert_array_equal(features.values, whole.values)
    np.testing.assert_array_equal(again[0][0], np.sort(before))
    np.testing.assert_array_equal(again[0][1], whole.values[again[0][0]])
    np.testing.assert_array_equal(np.sort(np.concatenate([tiles for tiles, _ in again])), np.arange(len(grid)))


def test_the_region_that_is_wanted_is_read_at_once(
    slide: Slide, grid: TileGrid, quarters: Encoder, tools: SimpleNamespace
) -> None:
    """A corner asked for midway is done a few batches later, though it would have come last."""
    corner = np.flatnonzero((grid.l0_rc > np.quantile(grid.l0_rc, 0.85, axis=0)).all(axis=1))
    wanted = np.zeros(len(grid), np.uint8)
    wanted[corner] = 1
    done: list[int] = []
    steps = iter_extract(
        slide,
        grid,
        quarters,
        device="cpu",
        batch_size=8,
        threads=1,
        order="raster",
        priority=lambda: wanted if len(done) > 40 else None,
        arrived=lambda tiles, values: done.extend(tiles.tolist()),
    )
    finish(steps)
    batches = plan_batches(slide, grid, batch_size=8, block_px=512)
    of_corner = sum(bool(np.isin(tiles, corner).any()) for tiles in batches)
    ahead = 16  # batches that were read or under way before anybody asked, generously
    assert set(corner.tolist()) <= set(done[: 40 + 8 * (of_corner + ahead)])
    assert len(done) > 40 + 8 * (of_corner + ahead) + 100
