"""The map of a run that is going: the same as that of its patches alone, drawn coarsely, gone in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_mil.features import EncoderInfo, Features
from napari_mil.maps import LiveMap, attention_map, ensemble_map, interest
from napari_mil.maps import _live_bag as live_bag_module
from napari_mil.maps._coarse import fill_between
from napari_mil.maps._live_bag import ReadAnew, ReadOnce, live_bag
from napari_mil.models import MODEL_NAMES, MILModel, create_model
from napari_mil.slides import SlideRef
from napari_mil.tiling import TileGrid

ALONE = {
    "mean",
    "max",
    "lse",
    "noisy-and",
    "attention",
    "gated-attention",
    "softmax-attention",
    "softmax-mean",
    "clam-sb",
    "clam-mb",
}
OWN = [name for name in MODEL_NAMES if not name.startswith("torchmil")]
ENCODER = EncoderInfo("test", "1", "", 6, 50, 1.0)
SLIDE = SlideRef("/slides/a b.svs", "c0ffee", (0.5, 0.5), (5000, 6000))
Lattice = Callable[..., TileGrid]


def bag_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 6)).astype(np.float32)


def model_of(name: str, seed: int = 5) -> MILModel:
    return create_model(name, in_features=6, n_classes=3, seed=seed).eval()


def assert_same(found: object, wanted: object) -> None:
    np.testing.assert_array_equal(found.grid.l0_rc, wanted.grid.l0_rc)
    np.testing.assert_allclose(found.prediction.logits, wanted.prediction.logits, rtol=1e-4, atol=1e-5)
    assert set(found.scores) == set(wanted.scores)
    for name, score in wanted.scores.items():
        np.testing.assert_allclose(found.scores[name].raw, score.raw, rtol=1e-4, atol=1e-6)
    assert found.default_score == wanted.default_score


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.01)


@pytest.mark.parametrize("name", OWN)
def test_models_that_read_each_patch_alone_say_so_and_do(name: str) -> None:
    """Reading in pieces, in any order, and pooling then is predicting the bag."""
    model, bag = model_of(name), torch.from_numpy(bag_of(23))
    assert model.reads_each_alone == (name in ALONE)
    if not model.reads_each_alone:
        with pytest.raises(TypeError, match="by itself"):
            model.read_patches(bag)
        with pytest.raises(TypeError, match="by itself"):
            model.pool_patches(bag)
        return
    order = torch.randperm(23, generator=torch.Generator().manual_seed(1))
    read = [model.read_patches(bag[rows]) for rows in order.split(5)]
    joined = [torch.cat(parts)[order.argsort()] for parts in zip(*read, strict=True)]
    pooled, whole = model.pool_patches(*joined), model(bag)
    np.testing.assert_allclose(pooled.logits.detach(), whole.logits.detach(), rtol=1e-5, atol=1e-6)
    assert set(pooled.scores) == set(whole.scores)
    for key, score in whole.scores.items():
        assert pooled.scores[key].kind == score.kind
        np.testing.assert_allclose(pooled.scores[key].raw, score.raw, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["clam-mb", "gated-attention", "dsmil", "additive"])
def test_each_map_is_that_of_the_patches_so_far(name: str, lattice: Lattice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_bag_module, "_EVERY_S", 0.0)
    model, values = model_of(name), bag_of(30)
    grid = lattice([(k // 6, k % 6) for k in range(30)])
    bag = live_bag([model], grid, SLIDE, ENCODER)
    assert isinstance(bag, ReadOnce if name in ALONE else ReadAnew)
    order = np.random.default_rng(2).permutation(30)
    done = np.empty(0, np.int64)
    for tiles in np.split(order, [1, 8, 19]):
        half = len(tiles) // 2
        amap, places = bag.add([(part, values[part]) for part in (tiles[:half], tiles[half:]) if len(part)])
        done = np.sort(np.concatenate([done, tiles]))
        np.testing.assert_array_equal(places, done)
        part = replace(grid, l0_rc=grid.l0_rc[done], tissue_fraction=grid.tissue_fraction[done])
        assert_same(amap, attention_map(model, Features(values[done], part, ENCODER, SLIDE)))


def test_several_models_are_taken_together(lattice: Lattice, monkeypatch: pytest.MonkeyPatch) -> None:
    models, values, grid = [model_of("mean", 1), model_of("mean", 2)], bag_of(8), lattice([(0, k) for k in range(8)])
    amap, _ = live_bag(models, grid, SLIDE, ENCODER).add([(np.arange(8), values)])
    assert_same(amap, ensemble_map(models, Features(values, grid, ENCODER, SLIDE)))
    assert amap.prediction.spread is not None


def test_what_would_take_long_is_left_for_the_end(lattice: Lattice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many patches read before a few are tried first; then it is known how long all would take."""
    monkeypatch.setattr(live_bag_module, "_EVERY_S", 0.0)
    monkeypatch.setattr(live_bag_module, "_TRIAL", 10)
    monkeypatch.setattr(live_bag_module, "_LONG_S", 1e-9)
    values, grid = bag_of(40), lattice([(0, k) for k in range(40)])
    bag = live_bag([model_of("transmil")], grid, SLIDE, ENCODER)
    for begin, end in ((0, 20), (20, 30)):  # the first of all says nothing of how long a run takes
        found = bag.add([(np.arange(begin, end), values[begin:end])])
        assert found is not None
        assert found[1].tolist() == list(range(10))
        assert not bag.settled
    assert bag.add([(np.arange(30, 40), values[30:])]) is None
    assert bag.settled


def test_a_model_is_run_anew_every_few_seconds_only(lattice: Lattice) -> None:
    values, grid = bag_of(9), lattice([(0, k) for k in range(9)])
    bag = live_bag([model_of("dsmil")], grid, SLIDE, ENCODER)
    assert bag.add([(np.arange(4), values[:4])]) is not None
    assert bag.add([(np.arange(4, 7), values[4:7])]) is None
    assert bag.add([(np.arange(7, 9), values[7:])]) is not None  # twice as many
    assert not bag.settled


def test_a_run_is_followed_from_thread_to_thread(lattice: Lattice) -> None:
    model, values = model_of("attention"), bag_of(24)
    grid = lattice([(k // 6, k % 6) for k in range(24)])
    live = LiveMap()
    assert live.grid is None
    assert live.latest is None
    assert live.priority() is None
    with live.following([model], grid, SLIDE, ENCODER):
        assert live.grid is grid
        live.take(np.array([3, 20]), values[[3, 20]])
        wait_until(lambda: live.latest is not None)
        first = live.latest
        assert first.sentence == "Provisional: 2 of 24 patches"
        assert "So far: class" in first.legend()
        assert "not a diagnosis" in first.legend()
        rows, cols = first.raster.values.shape
        assert (rows, cols) == (4, 6)
        assert first.strength[0, 3] == first.strength[3, 2] == 1
        assert sorted(np.unique(first.raster.values)) == sorted(set(first.view.values))
        others = np.setdiff1d(np.arange(24), [3, 20])
        for part in np.array_split(others, 5):
            live.take(part, values[part])
        wait_until(lambda: len(live.latest.map) == 24)
        last = live.latest
        assert_same(last.map, attention_map(model, Features(values, grid, ENCODER, SLIDE)))
        np.testing.assert_array_equal(last.raster.values, last.map.raster().values)
        assert (last.strength == 1).all()
        wanted = np.ones(24)
        live.want(wanted)
        assert live.priority() is wanted
        with pytest.raises(ValueError, match=r"\(24,\)"):
            live.want(np.ones(3))
    assert live.grid is None
    assert live.latest is None
    assert live.priority() is None
    assert not [thread for thread in threading.enumerate() if thread.name == "napari-mil-live"]


def test_features_that_no_model_can_score_do_not_stop_the_run(lattice: Lattice) -> None:
    values, grid = bag_of(9), lattice([(0, k) for k in range(9)])
    live = LiveMap()
    with live.following([model_of("attention")], grid, SLIDE, ENCODER):
        live.take(np.arange(4), values[:4])
        wait_until(lambda: live.latest is not None)
        live.take(np.arange(4, 6), np.full((2, 6), np.nan, np.float32))
        wait_until(lambda: live.latest.settled)
        live.take(np.arange(6, 9), values[6:])
        assert len(live.latest.map) == 4
        assert "at the end" in live.latest.legend()


def test_an_interrupted_run_leaves_no_thread(lattice: Lattice) -> None:
    live, grid = LiveMap(), lattice([(0, 0)])
    with pytest.raises(OSError, match="gone"), live.following([model_of("mean")], grid, SLIDE, ENCODER):
        raise OSError("gone")
    assert live.grid is None
    assert not [thread for thread in threading.enumerate() if thread.name == "napari-mil-live"]


@given(
    known=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 11)), min_size=1, max_size=30, unique=True),
    hole=st.integers(0, 9),
)
def test_gaps_take_the_nearest_value_and_no_other(known: list[tuple[int, int]], hole: int) -> None:
    values, whole = np.full((10, 12), np.nan, np.float32), np.ones((10, 12), bool)
    whole[hole] = False
    places = np.array([one for one in known if one[0] != hole], np.int64).reshape(-1, 2)
    values[tuple(places.T)] = np.arange(len(places))
    filled, strength = fill_between(values, whole)
    np.testing.assert_array_equal(filled[tuple(places.T)], np.arange(len(places)))
    assert (strength[tuple(places.T)] == 1).all()
    assert np.isnan(filled[~whole]).all()
    np.testing.assert_array_equal(strength > 0, np.isfinite(filled))
    for row, col in np.argwhere(np.isfinite(filled) & np.isnan(values)):
        away = np.hypot(*(places - (row, col)).T)
        assert away[int(filled[row, col])] == pytest.approx(away.min())
        assert 0.25 <= strength[row, col] < 0.6


def test_what_was_drawn_comes_before_what_is_looked_at(lattice: Lattice) -> None:
    grid = lattice([(r, c) for r in range(4) for c in range(5)])  # of 100 pixels
    assert interest(grid) is None
    assert interest(grid, (-1000, -1000, 1000, 1000)) is None  # all of it is nothing more
    seen = interest(grid, (150, 150, 250, 390)).reshape(4, 5)
    np.testing.assert_array_equal(np.argwhere(seen == 1), [(r, c) for r in (1, 2) for c in (1, 2, 3)])
    assert interest(grid, (100, 100, 200, 200)).sum() == 1  # neighbours only share an edge with it
    drawn = interest(grid, (150, 150, 250, 390), [shapely.box(310, 10, 390, 90)]).reshape(4, 5)
    assert drawn[0, 3] == 2
    np.testing.assert_array_equal(drawn[1:], seen[1:])
    assert (drawn == 2).sum() == 1
    both = interest(grid, (0, 0, 150, 150), [shapely.box(-10, -10, 510, 410)])
    assert sorted(both.tolist()) == [2] * 16 + [3] * 4  # all of it drawn: what is looked at still comes first
