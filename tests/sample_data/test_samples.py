"""The files that ship: there, small, what their script makes, and with lesions where the annotation says."""

from __future__ import annotations

import json

import numpy as np
import openslide
import pytest
import shapely

from napari_mil.errors import NapariMilError
from napari_mil.samples import sample_file
from sample_data.make_sample import MPP, SEEDS, SHAPE, make_sample
from sample_data.painter import paint_block, plan_slide


@pytest.fixture(scope="module")
def plan():
    return plan_slide(SHAPE, MPP, SEEDS["sample-lesion"], lesion=True)


@pytest.mark.parametrize("name", ["sample-lesion.tif", "sample-normal.tif"])
def test_slides_ship(name):
    path = sample_file(name)
    assert path.stat().st_size < 3.5e6
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == SHAPE[::-1]
        np.testing.assert_array_equal(slide.level_downsamples, [1, 2, 4, 8, 16])
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert slide.properties["openslide.quickhash-1"]


def test_shipped_annotation_is_the_plan(plan):
    features = json.loads(sample_file("sample-lesion.geojson").read_text())["features"]
    assert 2 <= len(features) == len(plan.outlines_rc)
    for feature, outline in zip(features, plan.outlines_rc, strict=True):
        xy = np.array(feature["geometry"]["coordinates"][0])
        np.testing.assert_allclose(xy, outline[:, ::-1], atol=0.006)
        assert shapely.Polygon(xy).is_valid


def test_shipped_slide_is_what_the_script_paints(plan):
    row, col = (int(v) - 128 for v in plan.outlines_rc[0].mean(0))
    with openslide.OpenSlide(sample_file("sample-lesion.tif")) as slide:
        shipped = np.asarray(slide.read_region((col, row), 0, (256, 256)).convert("L"), float)
    painted = paint_block(plan, row, col, 256, 256).astype(float) @ [0.299, 0.587, 0.114]
    assert np.corrcoef(shipped.ravel(), painted.ravel())[0, 1] > 0.98


def test_script_writes_the_same_bytes_twice(tmp_path):
    first = make_sample(tmp_path / "a", (900, 1000))
    second = make_sample(tmp_path / "b", (900, 1000))
    assert [path.name for path in first] == ["sample-lesion.tif", "sample-lesion.geojson", "sample-normal.tif"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_unknown_sample_is_said_in_words():
    with pytest.raises(NapariMilError, match=r"sample file x\.tif is missing"):
        sample_file("x.tif")
