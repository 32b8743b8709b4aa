"""Cohorts: the table, the labels, the patients, and lesions beside the slides that have them."""

from __future__ import annotations

import csv
import json
from collections import Counter

import numpy as np
import openslide
import pytest
import shapely

from sample_data import make_cohort
from sample_data.cohort import _assign

SIZE = (800, 900)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return make_cohort(tmp_path_factory.mktemp("cohort"), 4, 2, SIZE)


def test_table_names_the_slides(cohort):
    rows = list(csv.DictReader(cohort.read_text().splitlines()))
    assert cohort.name == "cohort.csv"
    assert list(rows[0]) == ["slide", "label", "patient"]
    assert Counter(row["label"] for row in rows) == {"tumour": 2, "normal": 2}
    for row in rows:
        path = cohort.parent / row["slide"]
        with openslide.OpenSlide(path) as slide:
            assert slide.dimensions == SIZE[::-1]
            assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert path.with_suffix(".geojson").is_file() == (row["label"] == "tumour")


def test_lesions_are_qupath_annotations_on_the_slide(cohort):
    ids = []
    for path in cohort.parent.glob("*.geojson"):
        collection = json.loads(path.read_text())
        assert collection["type"] == "FeatureCollection"
        for feature in collection["features"]:
            ids.append(feature["id"])
            assert feature["properties"]["objectType"] == "annotation"
            assert feature["properties"]["classification"] == {"name": "Tumor", "color": [200, 0, 0]}
            polygon = shapely.geometry.shape(feature["geometry"])
            assert polygon.is_valid
            assert shapely.box(0, 0, SIZE[1], SIZE[0]).contains(polygon)
    assert len(ids) == len(set(ids)) >= 2


def test_same_seed_same_bytes(cohort, tmp_path):
    again = make_cohort(tmp_path, 4, 2, SIZE)
    files = sorted(path.name for path in cohort.parent.iterdir())
    assert files == sorted(path.name for path in again.parent.iterdir())
    for name in files:
        assert (cohort.parent / name).read_bytes() == (tmp_path / name).read_bytes()


def test_slides_are_stained_differently(cohort):
    means = []
    for path in sorted(cohort.parent.glob("*.tif")):
        with openslide.OpenSlide(path) as slide:
            rgb = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"), float)
        means.append(rgb[rgb.min(-1) < 215].mean(0))
    assert np.ptp(means, axis=0).max() > 4


@pytest.mark.parametrize(("n", "fraction", "tumour"), [(1, 1.0, 1), (7, 0.0, 0), (10, 0.5, 5), (11, 0.3, 3)])
def test_labels_and_patients(n, fraction, tumour):
    rows = _assign(n, 0, fraction)
    assert Counter(label for label, _ in rows)["tumour"] == tumour
    assert len(rows) == n
    slides_of = Counter(patient for _, patient in rows)
    assert max(slides_of.values()) <= 2
    assert (max(slides_of.values()) == 2) == (n >= 7)
    assert len({(patient, label) for label, patient in rows}) == len(slides_of)


@pytest.mark.parametrize(("n", "fraction"), [(0, 0.5), (3, -0.1), (3, 1.2), (3, float("nan"))])
def test_impossible_cohorts_are_refused(tmp_path, n, fraction):
    with pytest.raises(ValueError, match=r"at least one slide|must lie in \[0, 1\]"):
        make_cohort(tmp_path, n, 0, SIZE, fraction)
