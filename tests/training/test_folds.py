"""Folds: no patient twice, every slide tested once, classes spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mil.errors import CohortError
from napari_mil.training import Cohort, make_folds


def cohort_of(patients, labels, splits=None):
    slides = tuple(f"s{i}" for i in range(len(patients)))
    return Cohort(slides, tuple(labels), tuple(patients), splits, tuple(sorted(set(labels))), {})


@settings(deadline=None, max_examples=40)
@given(
    k=st.integers(2, 5),
    seed=st.integers(0, 2**31),
    slides_per_patient=st.lists(st.integers(1, 4), min_size=24, max_size=40),
)
def test_folds_never_share_a_patient_and_test_everyone_once(k, seed, slides_per_patient):
    patients = [f"p{i}" for i, n in enumerate(slides_per_patient) for _ in range(n)]
    labels = ["ab"[i % 2] for i, n in enumerate(slides_per_patient) for _ in range(n)]
    cohort = cohort_of(patients, labels)
    folds = make_folds(cohort, k, seed)
    assert len(folds) == k
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(len(cohort)))
    for fold in folds:
        parts = [fold.train, fold.val, fold.test]
        np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(cohort)))
        held = [patient for part in parts for patient in {patients[row] for row in part}]
        assert len(held) == len(set(held))
        assert {labels[row] for row in fold.train} == {"a", "b"}


def test_classes_are_spread_evenly():
    cohort = cohort_of([f"p{i}" for i in range(50)], ["a"] * 40 + ["b"] * 10)
    for fold in make_folds(cohort, 5, 0):
        assert [cohort.labels[row] for row in fold.test].count("b") == 2
        assert len(fold.test) == 10
        assert [cohort.labels[row] for row in fold.val].count("b") in (1, 2)


def test_seed_decides_the_division():
    cohort = cohort_of([f"p{i}" for i in range(30)], ["a", "b"] * 15)
    one, same, other = (make_folds(cohort, 3, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.test, b.test) and np.array_equal(a.val, b.val) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.test, b.test) for a, b in zip(one, other, strict=True))


def test_given_split_is_the_only_fold():
    splits = ("train", "train", "val", "test", "test", "val")
    (fold,) = make_folds(cohort_of("abcdef", "010101", splits), 5, 0)
    np.testing.assert_array_equal(fold.train, [0, 1])
    np.testing.assert_array_equal(fold.val, [2, 5])
    np.testing.assert_array_equal(fold.test, [3, 4])


def test_given_split_without_validation_takes_it_from_train_alone():
    patients = [f"p{i // 2}" for i in range(24)]
    labels = ["ab"[i // 2 % 2] for i in range(24)]
    splits = ("train",) * 20 + ("test",) * 4
    (fold,) = make_folds(cohort_of(patients, labels, splits), 5, 0)
    np.testing.assert_array_equal(fold.test, [20, 21, 22, 23])
    np.testing.assert_array_equal(np.sort(np.concatenate([fold.train, fold.val])), np.arange(20))
    assert not {patients[row] for row in fold.train} & {patients[row] for row in fold.val}
    assert 2 <= len(fold.val) <= 6


def test_too_few_patients_are_refused_in_words():
    patients = ["p0", "p0", "p0", "p1", "p2", "p3", "p4", "p5"]
    labels = ["a", "a", "a", "a", "b", "b", "b", "b"]
    with pytest.raises(CohortError, match="Class a has 2 patients, too few for 3 folds"):
        make_folds(cohort_of(patients, labels), 3, 0)
    with pytest.raises(CohortError, match="Class a has too few patients"):
        make_folds(cohort_of(patients, labels), 2, 0)
    with pytest.raises(ValueError, match="k must be"):
        make_folds(cohort_of(patients, labels), 1, 0)
