"""Whether a model takes an encoder's features, and why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_mil.features import EncoderInfo
from napari_mil.models import ModelCard, check_fit

ENCODER = EncoderInfo("idc_cnn", "1", "0123456789abcdef", 256, 50, 4.0)
CARD = ModelCard(
    "mean", 256, {}, ("a", "b"), encoder="idc_cnn", encoder_hash="0123456789abcdef", encoder_version="1",
    tile_px=50, mpp=4.0,
)  # fmt: skip


def test_the_encoder_it_was_trained_with_fits():
    assert check_fit(CARD, ENCODER) is None
    assert check_fit(CARD, replace(ENCODER, mpp=4.04)) is None  # a scanner's percent


def test_what_the_card_does_not_know_is_not_held_against_the_encoder():
    assert check_fit(ModelCard("mean", 256, {}, ("a", "b")), ENCODER) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "colour-texture", "dim": 96}, ["idc_cnn", "colour-texture"]),
        ({"dim": 96}, ["256", "96"]),
        ({"weights_hash": "ffff"}, ["other weights"]),
        ({"version": "2"}, ["version 1", "2"]),
        ({"tile_px": 224}, ["50 px", "224 px"]),
        ({"mpp": 0.5}, ["4 µm/px", "0.5 µm/px"]),
    ],
)
def test_each_difference_is_one_sentence(change, words):
    reason = check_fit(CARD, replace(ENCODER, **change))
    assert reason is not None
    assert reason.endswith(".")
    assert reason.count(". ") == 0
    for word in words:
        assert word in reason


ELSEWHERE = replace(ENCODER, weights_hash="", version="")


def test_of_another_tools_file_name_length_and_microns_count():
    """It knows neither weights nor version, and may have scaled its patches: 100 px at 2 um are the same 200 um."""
    assert check_fit(CARD, ELSEWHERE) is None
    assert check_fit(CARD, replace(ELSEWHERE, name="")) is None
    assert check_fit(CARD, replace(ELSEWHERE, tile_px=100, mpp=2.0)) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "uni_v1"}, ["idc_cnn", "uni_v1"]),
        ({"name": "", "dim": 96}, ["256", "these features have 96"]),
        ({"tile_px": 100}, ["200 µm", "400 µm"]),
    ],
)
def test_what_another_tools_file_does_know_must_agree(change, words):
    reason = check_fit(CARD, replace(ELSEWHERE, **change))
    assert reason is not None
    for word in words:
        assert word in reason
