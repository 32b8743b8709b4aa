from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mil.errors import FeaturesError, MapError, ModelError
from napari_mil.features import EncoderInfo, Features
from napari_mil.maps import SCALES, attention_map
from napari_mil.models import create_model
from napari_mil.slides import SlideRef


@pytest.fixture(scope="module")
def bag(lattice):
    values = np.random.default_rng(1).standard_normal((12, 8)).astype(np.float32)
    grid = lattice([(0, k) for k in range(12)])
    return Features(
        values, grid, EncoderInfo("e", "1", "", 8, 50, 1.0), SlideRef("s.svs", "q", (0.5, 0.5), (500, 2000))
    )


@pytest.fixture
def model():
    return create_model("gated-attention", in_features=8, n_classes=2, class_names=("normal", "tumour"), seed=0)


def test_the_map_holds_the_models_own_numbers(model, bag):
    amap = attention_map(model, bag)
    with torch.inference_mode():
        output = model.eval()(torch.from_numpy(bag.values))
    assert list(amap.scores) == list(output.scores)
    for name, score in output.scores.items():
        np.testing.assert_array_equal(amap.scores[name].raw, score.raw.numpy())
        assert amap.scores[name].kind == score.kind
    np.testing.assert_allclose(amap.prediction.logits, output.logits.numpy(), rtol=1e-6)
    np.testing.assert_allclose(amap.prediction.probabilities, torch.softmax(output.logits, 0).numpy(), rtol=1e-6)
    assert amap.scores["attention"].raw.sum() == pytest.approx(1, abs=1e-5)
    assert amap.default_score == "attention"


def test_dropout_is_off_and_provenance_complete(bag):
    model = create_model("attention", in_features=8, n_classes=2, seed=0, dropout=0.5).train()
    model.card = replace(model.card, training={"seed": 11})
    first, second = attention_map(model, bag), attention_map(model, bag)
    np.testing.assert_array_equal(first.scores["attention"].raw, second.scores["attention"].raw)
    assert first.provenance.seed == 11
    assert first.provenance.torch == torch.__version__
    assert first.provenance.device == "cpu"
    assert first.provenance.created.endswith("+00:00")


def test_only_the_scores_asked_for(model, bag):
    amap = attention_map(model, bag, names=["contribution"])
    assert list(amap.scores) == ["contribution"]
    assert amap.default_score == "contribution"
    with pytest.raises(MapError, match=r"grad-cam.*It gives: .*attention"):
        attention_map(model, bag, names=["grad-cam"])
    with pytest.raises(MapError, match="none at all"):
        attention_map(model, bag, names=[])


def test_features_of_another_length_are_refused(bag):
    with pytest.raises(ModelError, match="takes 9 numbers"):
        attention_map(create_model("mean", in_features=9, n_classes=2, seed=0), bag)


def test_features_that_are_not_numbers_are_counted(model, bag):
    values = bag.values.copy()
    values[3, 1], values[5, 0] = np.nan, np.inf
    with pytest.raises(FeaturesError, match="2 of 12 patches"):
        attention_map(model, replace(bag, values=values))


def test_an_empty_bag_is_refused(model, bag, lattice):
    with pytest.raises(FeaturesError, match="no patches"):
        attention_map(model, replace(bag, values=bag.values[:0], grid=lattice([])))


def test_damaged_weights_are_said_in_words(model, bag):
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="not a number"):
        attention_map(model, bag)


def test_a_single_patch(model, bag, lattice):
    amap = attention_map(model, replace(bag, values=bag.values[:1], grid=lattice([(0, 0)])))
    assert amap.display("attention").tolist() == [1]
    assert np.isnan(amap.display("leave_one_out")).all()
    assert np.isnan(amap.raster("leave_one_out").values).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_same_map(model, bag):
    here, there = attention_map(model, bag), attention_map(model, bag, device="cuda")
    for name in here.scores:
        np.testing.assert_allclose(there.scores[name].raw, here.scores[name].raw, atol=1e-4)


def test_leaving_patches_out_is_computed_where_it_is_asked_for(bag):
    model = create_model("tda", in_features=8, n_classes=2, seed=0, hidden=8, heads=2, layers=1)
    assert "leave_one_out" not in attention_map(model, bag).scores
    amap = attention_map(model, bag, names=iter(["relevance", "leave_one_out"]))
    assert list(amap.scores) == ["relevance", "leave_one_out"]
    values = torch.from_numpy(bag.values)
    with torch.inference_mode():
        change = model(values).logits - model(values[1:]).logits
    np.testing.assert_allclose(amap.scores["leave_one_out"].raw[:, 0], change.numpy(), rtol=1e-4, atol=1e-6)


def test_relevance_is_shown_as_it_is_between_nought_and_one(bag):
    model = create_model("tda", in_features=8, n_classes=2, seed=0, hidden=8, heads=2, layers=1)
    amap = attention_map(model, bag)
    assert amap.default_score == "relevance"
    np.testing.assert_array_equal(amap.display(), amap.scores["relevance"].raw)
    assert SCALES["share"].fixed_limits == (0.0, 1.0)
    with pytest.raises(MapError, match="cannot be shown honestly"):
        amap.display(scale="probability")
