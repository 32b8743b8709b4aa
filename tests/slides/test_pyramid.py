"""The lazy pyramid: right shapes and values, nothing read before its time, memory within bounds."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mil.slides import PyramidLevel, Slide, open_slide, resize_area
from napari_mil.slides._cache import Budget, TileCache, default_cache_bytes, limit_tile_cache, tile_budget


@pytest.fixture(scope="module")
def noise(noise_slide):
    with open_slide(noise_slide) as slide:
        yield slide


def test_levels_go_down_to_an_overview(noise, fiducial_slide):
    assert [level.shape for level in noise.pyramid()] == [(1301, 2699, 3), (650, 1350, 3), (325, 675, 3)]
    with open_slide(fiducial_slide) as slide:
        levels = slide.pyramid()
    # the third stored level already fits, nothing is computed; the second goes on to the slide's edge by one pixel
    assert [level.shape for level in levels] == [(1801, 2203, 3), (901, 1102, 3), (333, 408, 3)]
    for level in levels:
        assert level.dtype == np.uint8
        assert level.chunksize[0] <= 512
        assert level.chunksize[1] <= 512
        assert level.chunksize[2] == 3


def test_stored_levels_are_the_stored_pixels(noise, noise_levels, fiducial_slide, fiducial_levels):
    assert np.array_equal(noise.pyramid()[0].compute(), noise_levels[0])
    with open_slide(fiducial_slide) as slide:
        for level, truth in zip(slide.pyramid(), fiducial_levels, strict=True):
            whole = level.compute().astype(int)
            assert np.abs(whole[: len(truth), : truth.shape[1]] - truth).max() <= 3


def test_computed_levels_are_means_over_area_without_seams(noise, noise_levels):
    first, second = (noise.levels()[k][:] for k in (1, 2))
    # tile by tile gives what the whole at once gives
    assert np.array_equal(first, resize_area(noise_levels[0], 0, 0, 1301, 2699, (650, 1350)))
    assert np.array_equal(second, resize_area(first, 0, 0, 650, 1350, (325, 675)))


def test_computed_levels_do_not_drift(write_slide, tmp_path):
    """Odd sizes halved again and again: a mark stays where it was, to half a pixel of the level."""
    picture = np.full((2049, 4099, 3), 250, np.uint8)
    marks = [(2040, 4090), (1025, 2050), (8, 8)]
    for row, col in marks:
        picture[row - 4 : row + 4, col - 4 : col + 4] = 0
    with open_slide(write_slide(tmp_path / "marks.tif", [picture])) as slide:
        for level in slide.levels():
            ratio = 2049 / level.shape[0], 4099 / level.shape[1]
            darkness = 250.0 - level[:, :, 0]
            for row, col in marks:
                r, c = int(row / ratio[0]), int(col / ratio[1])
                top, left = max(0, r - 8), max(0, c - 8)
                part = darkness[top : r + 9, left : c + 9]
                rows, cols = np.indices(part.shape)
                assert top + (rows * part).sum() / part.sum() + 0.5 == pytest.approx(row / ratio[0], abs=0.25)
                assert left + (cols * part).sum() / part.sum() + 0.5 == pytest.approx(col / ratio[1], abs=0.25)


indices = st.one_of(
    st.integers(-325, 324),
    st.slices(325),
)


@settings(deadline=None, max_examples=80)
@given(row=indices, col=indices, channel=st.one_of(st.integers(-3, 2), st.slices(3)))
def test_slicing_is_numpys(noise, row, col, channel):
    level = noise.levels()[2]
    truth = level[:]
    for key in ((row, col, channel), (row, col), (row,), row, (row, ...), (..., channel), (row, ..., channel)):
        assert np.array_equal(level[key], truth[key])


def test_level_is_an_array_to_others(noise):
    level = noise.levels()[2]
    assert len(level) == 325
    assert level.ndim == 3
    assert level.size == level[:].size
    assert level.chunks == (325, 512, 3)
    assert np.array_equal(np.asarray(level), level[:])
    assert np.asarray(level, dtype=np.float32).dtype == np.float32
    assert "computed" in repr(level)
    with pytest.raises(IndexError):
        level[400]
    with pytest.raises(IndexError, match="3 axes"):
        level[0, 0, 0, 0]


def test_nothing_is_read_before_it_is_looked_at(noise_slide, monkeypatch):
    reads = []
    real = Slide.read
    monkeypatch.setattr(Slide, "read", lambda self, *args: reads.append(args) or real(self, *args))
    with open_slide(noise_slide) as slide:
        levels = slide.pyramid()
        assert reads == []
        levels[0][600:700, 600:1100].compute()
        assert sorted(reads) == [(0, 512, 512, 512, 512), (0, 512, 1024, 512, 512)]
        levels[0][650:660, 700:710].compute()
        assert len(reads) == 2  # from the cache
        levels[1][0:10, 0:10].compute()
        # its first tile looks at the upper left quarter and no further
        assert all(row <= 1024 and col <= 1024 for _, row, col, _, _ in reads)


def test_a_huge_slide_opens_as_a_small_graph(write_slide, tmp_path):
    path = write_slide(tmp_path / "huge.tif", [(80_000, 100_000), (20_000, 25_000)])
    with open_slide(path) as slide:
        levels = slide.pyramid()
        assert [level.shape[:2] for level in levels] == [
            (80_000, 100_000),
            (40_000, 50_000),
            (20_000, 25_000),
            (10_000, 12_500),
            (5000, 6250),
            (2500, 3125),
            (1250, 1562),
            (625, 781),
        ]
        # the work of opening must not grow with the number of tiles
        assert not any(layer.is_materialized() and len(layer) > 10 for layer in levels[0].dask.layers.values())
        assert (levels[0][79_990:, 99_990:].compute() == 255).all()


def test_the_cache_stays_within_its_bytes(noise_slide):
    budget = 12 * 512 * 512 * 3
    with open_slide(noise_slide, cache_bytes=budget) as slide:
        most = 0
        levels = slide.levels()
        caches = {level._cache for level in levels}
        assert sum(cache.max_bytes for cache in caches) <= budget
        for level in levels:
            for row in range(0, level.shape[0], 100):
                level[row : row + 100]
                most = max(most, sum(cache.nbytes for cache in caches))
        assert 0 < most <= budget
    assert sum(cache.nbytes for cache in caches) == 0
    with pytest.raises(ValueError, match="cache_bytes"):
        open_slide(noise_slide, cache_bytes=0)


def test_default_cache_is_at_most_a_gigabyte():
    assert 0 < default_cache_bytes() <= 1_000_000_000


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 60))))
def test_cache_is_bounded_and_forgets_the_oldest(steps):
    cache, used = TileCache(100), []
    for put, name, size in steps:
        key = (0, 0, name)
        if put:
            cache.put(key, np.full(size, name, np.uint8))
            used = [k for k in used if k != key] + [key]
        elif (tile := cache.get(key)) is not None:
            assert (tile == name).all()
            used = [k for k in used if k != key] + [key]
        kept = [k for k in used if k in cache]
        assert cache.nbytes == sum(cache._tiles[k][1].nbytes for k in kept) <= 100
        # whatever is kept was used later than whatever was dropped
        assert kept == used[len(used) - len(kept) :]
    cache.clear()
    assert cache.nbytes == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "get", "clear"]), st.integers(0, 2), st.integers(0, 9)), max_size=60))
def test_caches_of_one_budget_keep_to_it_and_drop_the_oldest_of_all(steps):
    """The third is spared: its tiles go only when the others have none."""
    budget = Budget(100)
    caches = [TileCache(80, budget), TileCache(80, budget), TileCache(80, budget, spared=True)]
    used: list[tuple[int, int]] = []
    for what, which, name in steps:
        if what == "put":
            caches[which].put((0, 0, name), np.full(10 + name, name, np.uint8))
        elif what == "clear":
            caches[which].clear()
        if what != "clear" and caches[which].get((0, 0, name)) is not None:
            used = [one for one in used if one != (which, name)] + [(which, name)]
        assert budget.nbytes == sum(cache.nbytes for cache in caches) <= 100
        used = [one for one in used if one[1] in [key[2] for key in caches[one[0]]._tiles]]
        for which_one, cache in enumerate(caches):
            assert [key[2] for key in cache._tiles] == [name for one, name in used if one == which_one]


def test_the_oldest_tile_of_all_slides_goes_and_computed_ones_last():
    budget = Budget(30)
    first, second, computed = TileCache(30, budget), TileCache(30, budget), TileCache(30, budget, spared=True)
    for cache, name in ((computed, 0), (first, 1), (second, 2)):
        cache.put((0, 0, name), np.zeros(10, np.uint8))
    first.get((0, 0, 1))
    first.put((0, 0, 3), np.zeros(10, np.uint8))
    assert (0, 0, 2) not in second
    second.put((0, 0, 4), np.zeros(20, np.uint8))
    assert first.nbytes == 0
    assert (0, 0, 0) in computed
    budget.resize(20)
    assert (0, 0, 0) in computed
    assert second.nbytes == 0
    del computed, cache
    assert budget.nbytes == 0


def test_all_slides_share_one_bound_which_can_be_set(noise_slide):
    limit_tile_cache(9 * 512 * 512 * 3)
    try:
        with open_slide(noise_slide) as one, open_slide(noise_slide) as other:
            one.levels()[0][:]
            held = sum(level._cache.nbytes for level in one.levels()[:1])
            assert held > 4 * 512 * 512 * 3
            other.levels()[0][:]
            assert sum(level._cache.nbytes for level in one.levels()[:1]) < held
            assert 0 < tile_budget().nbytes <= 9 * 512 * 512 * 3
            limit_tile_cache(2 * 512 * 512 * 3)
            assert tile_budget().nbytes <= 2 * 512 * 512 * 3
        assert not any(level._cache.nbytes for slide in (one, other) for level in slide.levels())
    finally:
        limit_tile_cache(None)
    assert tile_budget().max_bytes == default_cache_bytes()
    with pytest.raises(ValueError, match="must be positive"):
        limit_tile_cache(0)


def test_a_tile_larger_than_the_cache_is_not_kept():
    cache = TileCache(10)
    cache.put((0, 0, 0), np.zeros(11, np.uint8))
    assert cache.get((0, 0, 0)) is None
    assert cache.nbytes == 0


def test_threads_share_the_pyramid(noise_slide, noise_levels):
    with open_slide(noise_slide, cache_bytes=3_000_000) as slide, ThreadPoolExecutor(8) as threads:
        level = slide.levels()[0]
        tops = [17 * k for k in range(70)] * 2
        for top, got in zip(tops, threads.map(lambda r: level[r : r + 100, 300:900], tops), strict=True):
            assert np.array_equal(got, noise_levels[0][top : top + 100, 300:900])


def test_a_damaged_tile_is_hatched_and_named_and_the_rest_is_seen(broken_tile_slide, noise_levels, caplog):
    with open_slide(broken_tile_slide) as slide, caplog.at_level(logging.WARNING):
        level = slide.levels()[0]
        shown = level[:]
        assert np.array_equal(shown[:512], noise_levels[0][:512])
        assert set(np.unique(shown[512:1024, 512:1024])) == {150, 200}
        assert "cannot be read" in caplog.text
        assert slide.levels()[-1][:].shape == (325, 675, 3)


def test_computed_tiles_survive_a_look_around(noise_slide, monkeypatch):
    with open_slide(noise_slide, cache_bytes=8_000_000) as slide:
        levels: list[PyramidLevel] = slide.levels()
        overview = levels[-1][:]
        levels[0][:]
        monkeypatch.setattr(Slide, "read", lambda *args: pytest.fail("the overview was computed anew"))
        assert np.array_equal(levels[-1][:], overview)


def test_real_dicom_pyramid_leaves_out_the_stamps(shared_data):
    with open_slide(shared_data / "slides" / "cmu-1-dicom") as slide:
        assert [level.shape for level in slide.levels()] == [(2967, 2220, 3), (1484, 1110, 3), (742, 555, 3)]


@pytest.mark.parametrize("name", ["breast-lobular-10x.tif", "duodenum-giardiasis-40x.tif"])
def test_real_levels_show_the_same_tissue(shared_data, name):
    with open_slide(shared_data / "slides" / name) as slide:
        levels = slide.levels()[2:]
        for above, level in pairwise(levels):
            made = resize_area(above[:], 0, 0, *above.shape[:2], level.shape[:2]).astype(int)
            stored = level[:].astype(int)
            miss = {
                (r, c): np.abs(stored - np.roll(made, (r, c), (0, 1)))[2:-2, 2:-2].mean()
                for r in (-1, 0, 1)
                for c in (-1, 0, 1)
            }
            # the scanner resampled in its own way, but not to another place
            assert min(miss, key=miss.__getitem__) == (0, 0)
