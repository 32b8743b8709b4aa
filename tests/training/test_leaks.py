"""No patient and no slide in two parts, under whatever name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_mil.errors import CohortError
from napari_mil.progress import finish
from napari_mil.training import Bags, Fold, iter_train, make_folds
from napari_mil.training._leaks import check_leaks


def fold(train, val, test):
    return Fold(*(np.array(rows, dtype=np.int64) for rows in (train, val, test)))


def test_folds_of_a_sound_cohort_pass(separable):
    cohort, _ = separable()
    hashes = {slide: f"hash of {slide}" for slide in cohort.slides}
    check_leaks(cohort, make_folds(cohort, 4, 0), hashes)


@pytest.mark.parametrize("parts", [([0, 2], [1], [3]), ([2], [0, 3], [1]), ([0], [2], [1, 3])])
def test_a_patient_in_two_parts_is_an_error_that_names_the_slides(separable, parts):
    cohort, _ = separable(4)
    shared = replace(cohort, patients=("p0", "p0", "p2", "p3"))
    with pytest.raises(CohortError, match=r"same patient is in more than one .* (s00 and s01|s01 and s00)"):
        check_leaks(shared, [fold(*parts)], {})
    check_leaks(shared, [fold([0, 1], [2], [3])], {})


def test_a_scan_under_two_names_is_found_by_its_hash(separable):
    cohort, bags = separable(4)
    hashes = {"s00": "abc", "s01": "", "s02": "", "s03": "abc"}
    with pytest.raises(CohortError, match=r"same slide \(by its hash\) .*: s00 and s03\. Keep them"):
        check_leaks(cohort, [fold([0, 1], [2], [3])], hashes)
    check_leaks(cohort, [fold([0, 3], [1], [2])], hashes)
    with pytest.raises(CohortError, match=r"several names .*: s00 and s03\. Keep one row"):
        Bags(bags.values, bags.encoder, hashes)


def test_training_refuses_a_given_split_that_leaks(separable, tmp_path):
    cohort, bags = separable()
    splits = tuple("test" if i >= 18 else "val" if i >= 12 else "train" for i in range(24))
    leaking = replace(cohort, splits=splits, patients=(*cohort.patients[:23], cohort.patients[0]))
    with pytest.raises(CohortError, match=r"same patient .*: s00 and s23"):
        finish(iter_train(leaking, bags, "mean", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_many_leaks_are_counted(separable):
    cohort, _ = separable(16)
    twins = replace(cohort, patients=tuple(f"p{i % 8}" for i in range(16)))
    with pytest.raises(CohortError, match="s04 and s12; and 3 more"):
        check_leaks(twins, [fold(range(8), [], range(8, 16))], {})
