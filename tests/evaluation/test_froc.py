"""FROC: the challenge's constants, its rules by hand, and its way of counting done again the long way."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops

from napari_mil.annotations import read_annotations, suggest_roles, target_area
from napari_mil.evaluation import FALSE_POSITIVES, SlideHits, froc, lesion_mask, match_lesions

MPP = 0.243
PX = 32  # level-0 pixels per mask pixel


def bar(x, length_um, y=3200.0):
    return shapely.box(x, y, x + length_um / MPP, y + 40 * PX)


def test_constants_of_the_challenge():
    # what is nearer than 75 / 2 um = 4.8225 mask pixels joins in: four pixels to either side
    for gap, count in ((8, 1), (9, 2)):
        left = shapely.box(3200, 3200, 3200 + 60 * PX, 3200 + 60 * PX)
        right = shapely.box(3200 + (60 + gap) * PX, 3200, 3200 + (120 + gap) * PX, 3200 + 60 * PX)
        assert lesion_mask(shapely.union_all([left, right]), MPP).labels.max() == count
    outcomes = set()
    for side in range(14, 30):
        found = lesion_mask(shapely.box(3200, 3200, 3200 + side * PX, 3200 + side * PX), MPP)
        (region,) = regionprops(found.labels)
        assert region.bbox[2] - region.bbox[0] == side + 8
        assert bool(found.isolated) == (region.axis_major_length < 35.365)
        outcomes.add(bool(found.isolated))
    assert outcomes == {True, False}


def test_holes_are_filled_and_detections_hit_within_reach():
    ring = shapely.box(3200, 3200, 3200 + 100 * PX, 3200 + 100 * PX)
    holed = ring.difference(shapely.box(3200 + 30 * PX, 3200 + 30 * PX, 3200 + 70 * PX, 3200 + 70 * PX))
    lesions = lesion_mask(holed, MPP)
    assert (lesions.labels.max(), lesions.l0_per_px) == (1, 32)
    assert lesions.at(3200 + 50 * PX, 3200 + 50 * PX) == 1  # in the hole
    assert lesions.at(3200 - 4 * PX, 3300) == 1
    assert lesions.at(3200 - 6 * PX, 3300) == 0
    assert lesions.at(1e9, 0) == lesions.at(-1e9, 0) == 0


@pytest.mark.parametrize(("mpp", "edge"), [(0.243, 32), (0.226, 32), (0.5, 16), (1.0112, 8), (20.0, 1)])
def test_the_mask_is_as_fine_on_other_slides(mpp, edge):
    assert lesion_mask(shapely.box(0, 0, 9000, 9000), mpp).l0_per_px == edge


def test_match_by_hand_and_isolated_cells_do_not_count():
    lesions = lesion_mask(
        shapely.union_all([bar(3200, 600), bar(30_000, 600), shapely.Point(60_000, 3200).buffer(100)]), MPP
    )
    assert lesions.labels.max() == 3
    assert len(lesions.isolated) == 1
    xy = [(3300, 3300), (3400, 3300), (60_000, 3200), (90_000, 0), (0, 0)]
    hits = match_lesions([0.3, 0.9, 0.8, 0.7, 0.2], xy, lesions)
    assert hits.lesions.tolist() == [0.9, -np.inf]
    assert hits.false_positives.tolist() == [0.7, 0.2]
    assert hits.n_isolated == 1


def test_no_lesions():
    empty = lesion_mask(shapely.Polygon(), MPP)
    assert (empty.numbers, empty.at(0, 0)) == ([], 0)
    found = froc([match_lesions([0.5], [(3, 3)], empty)])
    assert (found.n_lesions, found.n_slides) == (0, 1)
    assert np.isnan(found.score)
    assert found.false_positives_per_slide.tolist() == [0, 1]
    with pytest.raises(ValueError, match="no slides"):
        froc([])


def test_score_by_hand():
    # four slides, four lesions; false positives at 0.95, 0.8, 0.4 (0.25, 0.5, 0.75 a slide)
    slides = [
        SlideHits(np.array([0.99, 0.9]), np.array([0.95]), 0),
        SlideHits(np.array([0.5, -np.inf]), np.array([0.8]), 0),
        SlideHits(np.zeros(0), np.array([0.4]), 1),
        SlideHits(np.zeros(0), np.zeros(0), 0),
    ]
    found = froc(slides)
    assert found.thresholds.tolist() == [np.inf, 0.99, 0.95, 0.9, 0.8, 0.5, 0.4]
    assert found.sensitivity.tolist() == [0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    assert found.false_positives_per_slide.tolist() == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75]
    assert found.sensitivities.tolist() == [0.5, 0.75, 0.75, 0.75, 0.75, 0.75]
    assert found.score == pytest.approx((0.5 + 5 * 0.75) / 6)
    assert (found.n_lesions, found.n_isolated) == (4, 1)


scores = st.lists(st.integers(1, 9).map(lambda v: v / 10), max_size=12)
slides = st.lists(st.tuples(scores, st.integers(0, 3), scores), min_size=1, max_size=5)


@settings(max_examples=80)
@given(slides)
def test_counts_as_the_challenge_does_one_threshold_at_a_time(drawn):
    hits = [
        SlideHits(np.array([*found, *[-np.inf] * missed], np.float64), np.array(wrong, np.float64), 0)
        for found, missed, wrong in drawn
    ]
    lesions = sum(len(found) + missed for found, missed, _ in drawn)
    if not lesions:
        return
    best = []
    for level in FALSE_POSITIVES:
        reached = [0.0]
        for threshold in {score for found, _, wrong in drawn for score in (*found, *wrong)}:
            wrong = sum(score >= threshold for _, _, some in drawn for score in some)
            found = sum(score >= threshold for some, _, _ in drawn for score in some)
            if wrong / len(drawn) <= level:
                reached.append(found / lesions)
        best.append(max(reached))
    assert froc(hits).sensitivities.tolist() == pytest.approx(best)


def test_real_lesions(shared_data):
    found = read_annotations(shared_data / "annotations" / "tumor_085.xml")
    lesions = lesion_mask(target_area(found, suggest_roles(found)), MPP)
    # fifty outlines, most within 75 um of another or shorter than 275 um
    assert (int(lesions.labels.max()), len(lesions.isolated), len(lesions.numbers)) == (18, 16, 2)
