"""Cohorts larger than memory: bags come from their files, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mil.errors import CohortError, FeaturesError
from napari_mil.features import EncoderInfo, Features, write_features
from napari_mil.progress import finish
from napari_mil.slides import SlideRef
from napari_mil.tiling import TileGrid
from napari_mil.training import Recipe, iter_train, load_bags

ENCODER = EncoderInfo("toy", "1", "0123456789abcdef", 4, 64, 1.0)


def write(path, values, quickhash):
    n = len(values)
    l0_rc = np.stack([np.zeros(n, np.int64), 64 * np.arange(n, dtype=np.int64)], axis=1)
    grid = TileGrid(l0_rc, 64.0, 64.0, 64, 1.0, np.ones(n, np.float32))
    write_features(path, Features(values, grid, ENCODER, SlideRef("s.tif", quickhash, (1.0, 1.0), (64, 64 * n))))


@pytest.fixture
def folder(separable, tmp_path):
    cohort, bags = separable(12)
    for slide, values in bags.values.items():
        write(tmp_path / f"{slide}.h5", values, f"hash of {slide}")
    return cohort, bags, tmp_path


def test_no_more_is_kept_than_asked_for(folder):
    cohort, bags, path = folder
    most = 2 * max(bag.nbytes for bag in bags.values.values())
    stored = load_bags(cohort, path, memory=most)
    assert stored.sizes == bags.sizes
    for slide in [*cohort.slides, *cohort.slides[::-1]]:
        np.testing.assert_array_equal(stored.values[slide], bags.values[slide])
        assert sum(bag.nbytes for bag in stored.values._kept.values()) == stored.values._bytes <= most
    last = cohort.slides[0]
    for slide in cohort.slides:
        (path / f"{slide}.h5").unlink()
    np.testing.assert_array_equal(stored.values[last], bags.values[last])  # still in memory
    with pytest.raises(FeaturesError, match="no feature file"):
        stored.values[cohort.slides[6]]


def test_training_from_files_ends_as_training_from_memory(folder):
    cohort, _, path = folder
    recipe = Recipe(epochs=3, max_patches=5)
    for name, some in (("a", load_bags(cohort, path)), ("b", load_bags(cohort, path, memory=1))):
        finish(
            iter_train(cohort, some, "mean", path / name, recipe=recipe, folds=2, device="cpu", config={"hidden": 4})
        )
    for name in ("model.safetensors", "predictions.csv", "validation.csv", "summary.json"):
        assert (path / "a" / name).read_bytes() == (path / "b" / name).read_bytes()


def test_a_slide_under_two_names_is_refused(folder):
    cohort, bags, path = folder
    write(path / "s07.h5", bags.values["s07"], "hash of s02")
    with pytest.raises(CohortError, match=r"several names .*: s02 and s07"):
        load_bags(cohort, path)


def test_bags_that_are_not_finite_are_named_when_read(folder):
    cohort, _, path = folder
    write(path / "s03.h5", np.full((2, 4), np.inf, np.float32), "other")
    with pytest.raises(CohortError, match="s03 are not all finite"):
        load_bags(cohort, path)
