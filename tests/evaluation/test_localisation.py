"""Agreement of one score with outlines: hand-made cases, scikit-learn, and every threshold by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, roc_auc_score

from napari_mil.annotations import Annotation, label_patches
from napari_mil.evaluation import OverlapCurve, average_precisions, lesion_overlaps, localise, overlap_picture
from napari_mil.evaluation._overlap_picture import FALSE_ALARM, HIT, MISS, PATCH
from napari_mil.maps import SCALES, MapView, hot_spots
from napari_mil.tiling import TileGrid


def row_of(n, edge=100.0):
    l0_rc = np.stack([np.zeros(n), np.arange(n) * edge], 1).astype(np.int64)
    return TileGrid(l0_rc, edge, edge, 50, edge / 100, np.ones(n, np.float32))


def labels_of(target, grid=None):
    """Return the labels of a row of patches of which those named are outlined."""
    grid = grid or row_of(len(target))
    boxes = [shapely.box(c, r, c + 100, r + 100) for (r, c), chosen in zip(grid.l0_rc, target, strict=True) if chosen]
    return label_patches([Annotation("", "Tumor", box, None) for box in boxes], grid)


def view_of(raw, kind="attention"):
    raw = np.asarray(raw, np.float32)
    return MapView(kind, kind, SCALES["rank"], None, "", raw, raw)


def test_by_hand():
    target = [True, False, True, False, False]
    found = localise(view_of([0.4, 0.3, 0.2, 0.1, 0.0]), labels_of(target), top_k=(1, 2, 3, 5, 10))
    assert (found.n, found.n_target, found.prevalence) == (5, 2, 0.4)
    assert found.auroc == pytest.approx(5 / 6)
    assert found.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert found.mass_inside == pytest.approx(0.6)
    assert found.enrichment == pytest.approx(1.5)
    assert found.pointing == 1
    assert found.hit_rates == ((1, 1.0), (2, 0.5), (3, pytest.approx(2 / 3)), (5, 0.4))
    at = found.curve.at(0.15)
    assert (at.hits, at.false_alarms, at.misses, at.rest) == (2, 1, 0, 2)
    assert (at.dice, at.iou) == (pytest.approx(0.8), pytest.approx(2 / 3))
    assert (at.precision, at.sensitivity, at.specificity) == (pytest.approx(2 / 3), 1, pytest.approx(2 / 3))
    below = found.curve.at(0.15, below=True)
    assert (below.hits, below.false_alarms, below.misses, below.rest) == (0, 2, 2, 1)
    assert found.notes == ()


def test_signed_scores_count_what_speaks_for_the_class_and_sums_without_meaning_are_not_given():
    labels = labels_of([True, False, False])
    assert localise(view_of([3, 1, -9], "contribution"), labels).mass_inside == pytest.approx(0.75)
    assert np.isnan(localise(view_of([3, 1, -9], "instance_logit"), labels).mass_inside)
    assert "disagree" in localise(view_of([3, 1, 2], "spread"), labels).notes[0]


def test_ties_count_in_proportion():
    found = localise(view_of([1, 1, 1, 0]), labels_of([True, False, False, True]), top_k=(2,))
    assert found.pointing == pytest.approx(1 / 3)
    assert found.hit_rates == ((2, pytest.approx(1 / 3)),)


def test_degenerate_cases_are_said_in_words():
    none = localise(view_of([1, 2]), labels_of([False, False]))
    assert none.notes == (
        "Nothing is outlined as the target on this slide: there is nothing to find, and no figure to give.",
    )
    assert np.isnan([none.auroc, none.average_precision, none.mass_inside, none.pointing, none.enrichment]).all()
    assert np.isnan([none.curve.at(1).dice, none.curve.at(1).pixel_iou, none.curve.at(1).sensitivity]).all()
    assert none.curve.best() is None
    everything = localise(view_of([1, 2]), labels_of([True, True]))
    assert np.isnan(everything.auroc)
    assert everything.average_precision == everything.pointing == everything.curve.best().dice == 1
    assert everything.notes[0].startswith("All patches are target")
    beside = label_patches([Annotation("", "Tumor", shapely.box(0, 500, 9, 509), None)], row_of(2))
    assert localise(view_of([1, 2]), beside).notes == (
        "The outlines of the target lie beside all patches: no figure to give.",
    )
    grazed = label_patches([Annotation("", "Tumor", shapely.box(0, 0, 40, 100), None)], row_of(2))
    assert "none by 50%" in localise(view_of([1, 2]), grazed).notes[0]
    partly = label_patches([Annotation("", "Tumor", shapely.box(100, 0, 300, 100), None)], row_of(2))
    found = localise(view_of([1, np.nan]), partly)
    assert found.notes == (
        "The target touches patches, but none by 50% of its area: no figure to give. "
        "Lower the share, or use smaller patches.",
        "50% of the target's area lies in no patch.",
        "1 patch without a value is left out.",
    )
    empty = localise(view_of([]), labels_of([], row_of(0)))
    assert (empty.n, empty.notes[0][:7]) == (0, "Nothing")


patches = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30)


@settings(max_examples=60)
@given(patches, st.floats(-1, 6))
def test_agrees_with_scikit_learn_and_brute_force_at_every_threshold(drawn, threshold):
    raw, target = np.array([v for v, _ in drawn], np.float32), np.array([t for _, t in drawn])
    found = localise(view_of(raw), labels_of(target))
    if 0 < target.sum() < len(target):
        assert found.auroc == pytest.approx(roc_auc_score(target, raw))
    if target.any():
        assert found.average_precision == pytest.approx(average_precision_score(target, raw))
        for at, dice, iou, count in zip(
            found.curve.thresholds, found.curve.dice, found.curve.iou, found.curve.counts, strict=True
        ):
            assert count == (raw >= at).sum()
            assert dice == pytest.approx(f1_score(target, raw >= at))
            assert iou == pytest.approx(jaccard_score(target, raw >= at))
        assert found.curve.best().dice == pytest.approx(found.curve.dice.max())
        one = found.curve.at(threshold)
        assert one.dice == pytest.approx(f1_score(target, raw >= np.float32(threshold), zero_division=0))
        # outlines along the edges of patches: areas agree as patches do
        assert (one.pixel_dice, one.pixel_iou) == (pytest.approx(one.dice), pytest.approx(one.iou))
        assert (one.hits + one.misses, one.hits + one.false_alarms) == (target.sum(), (raw >= threshold).sum())
    above, below = found.curve.at(threshold), found.curve.at(threshold, below=True)
    assert above.hits + below.hits == target.sum()
    assert above.false_alarms + below.false_alarms == (~target).sum()


def test_areas_count_every_pixel_also_where_there_is_no_patch():
    outlines = [Annotation("", "Tumor", shapely.box(50, 0, 350, 100), None)]
    labels = label_patches(outlines, row_of(3))  # 300 wide, of which the patches cover 250
    at = OverlapCurve(np.array([5, 4, 1], np.float32), labels).at(4)
    assert at.pixel_dice == pytest.approx(2 * 150 / (200 + 300))
    assert at.pixel_iou == pytest.approx(150 / 350)
    assert labels.covered == pytest.approx(5 / 6)
    picture = overlap_picture(np.array([5, 4, 1], np.float32), row_of(3), labels, 4)
    assert picture.kinds.shape == (100, 350)
    assert [int((picture.kinds == kind).sum()) // 100 for kind in (HIT, FALSE_ALARM, MISS, PATCH)] == [150, 50, 150, 0]
    assert picture.dice == pytest.approx(at.pixel_dice)
    assert (picture.l0_first_rc, picture.mpp) == ((0, 0), 0.5)


@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_the_picture_counts_what_the_curve_computes(seed):
    rng = np.random.default_rng(seed)
    rows, cols = np.divmod(np.arange(30), 6)
    grid = TileGrid(
        np.stack([rows, cols], 1).astype(np.int64) * 100 + 1000, 100.0, 100.0, 50, 1.0, np.ones(30, np.float32)
    )
    blob = shapely.Point(*rng.uniform(1100, 1500, 2)).buffer(rng.uniform(80, 200))
    labels = label_patches([Annotation("", "Tumor", blob, None)], grid)
    values = rng.random(30).astype(np.float32)
    at = OverlapCurve(values, labels).at(0.5)
    assert overlap_picture(values, grid, labels, 0.5).dice == pytest.approx(at.pixel_dice, abs=0.01)


def test_mean_average_precision_by_hand():
    # hot spots: patches 0-1 (peak 9), 4 (peak 8), 7-8 (peak 7); lesions: patch 0-1 (IoU 1), patches 6-9 (IoU 1/2)
    values = np.array([9, 9, 0, 0, 8, 0, 0, 7, 7, 0], np.float32)
    spots = hot_spots(values, row_of(10), 1)
    area = shapely.MultiPolygon([shapely.box(0, 0, 200, 100), shapely.box(600, 0, 1000, 100)])
    one = lesion_overlaps(spots, area)
    np.testing.assert_allclose(one.iou, [[1, 0], [0, 0], [0, 0.5]])
    # both found, one false alarm between them: precision 1 at half of the lesions, 2/3 at all
    np.testing.assert_allclose(average_precisions([one]), [(1 + 2 / 3) / 2] * 5)
    smaller = lesion_overlaps(
        spots, shapely.MultiPolygon([shapely.box(0, 0, 200, 100), shapely.box(600, 0, 1100, 100)])
    )
    np.testing.assert_allclose(average_precisions([smaller]), [5 / 6, 5 / 6, 5 / 6, 5 / 6, 0.5])
    # a slide without lesions, whose hot spot ranks second, only adds a false alarm; a lesion is found once
    normal = lesion_overlaps(hot_spots(np.array([8.5], np.float32), row_of(1), 1), shapely.Polygon())
    np.testing.assert_allclose(average_precisions([one, normal]), [(1 + 2 / 4) / 2] * 5)
    assert np.isnan(average_precisions([normal])).all()
    assert average_precisions([lesion_overlaps([], area)]).tolist() == [0] * 5
