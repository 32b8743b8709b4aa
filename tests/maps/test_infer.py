from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from napari_mil.errors import FeaturesError, MapError, ModelError
from napari_mil.features import EncoderInfo, Features
from napari_mil.maps import SCALES, attention_map, ensemble_map, read_map
from napari_mil.models import MODEL_NAMES, create_model, dropout_passes
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


SMALL = {
    "transmil": {"hidden": 8, "heads": 2, "landmarks": 4},
    "tda": {"hidden": 8, "heads": 2, "layers": 1},
    "dsmil": {"query_dim": 4},
}
FURTHER = ["leave_one_out", "gradient_x_input", "integrated_gradients"]


def make(name, n_classes, seed=0, **config):
    sizes = {**SMALL.get(name, {"hidden": 8}), **config}
    names = [f"kind {c}" for c in range(n_classes)]
    return create_model(name, in_features=8, class_names=names, seed=seed, **sizes)


@pytest.mark.parametrize("n_classes", [1, 2, 3])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_score_of_every_pooling_can_be_seen_for_every_class(name, n_classes, bag):
    amap = attention_map(make(name, n_classes), bag, also=FURTHER)
    assert set(FURTHER) <= set(amap.scores)
    assert amap.default_score == make(name, n_classes).default_score
    predicted = int(np.argmax(amap.prediction.probabilities))
    for key, score in amap.scores.items():
        assert score.raw.shape == ((n_classes, 12) if score.per_class else (12,))
        default = amap.view(key)
        assert default.class_index == (predicted if score.per_class else None)
        assert default.class_name == (f"kind {predicted}" if score.per_class else "")
        views = [amap.view(key, class_index=c) for c in range(n_classes)]
        np.testing.assert_array_equal(default.raw, views[predicted].raw)
        if score.per_class and n_classes > 1:
            assert views[0].title.endswith(": kind 0")
            assert not np.array_equal(views[0].raw, views[1].raw)


def test_gradients_are_shown_as_evidence_about_zero(bag):
    amap = attention_map(make("mean", 3), bag, also=["integrated_gradients"])
    raw = amap.scores["integrated_gradients"].raw.astype(np.float64)
    np.testing.assert_allclose(
        amap.display("integrated_gradients", class_index=1), raw[1] - (raw[0] + raw[2]) / 2, rtol=1e-5
    )
    view = amap.view("integrated_gradients")
    assert view.scale.diverging
    assert view.limits == (-view.limits[1], view.limits[1])


def test_the_spread_of_an_ensemble_is_the_standard_deviation_over_its_members(bag):
    models = [make("gated-attention", 3, seed) for seed in range(4)]
    each = [attention_map(model, bag) for model in models]
    amap = ensemble_map(models, bag)
    assert set(amap.scores) == {n + end for n in each[0].scores for end in ("", "_spread")}
    for key, score in each[0].scores.items():
        raw = np.stack([one.scores[key].raw.astype(np.float64) for one in each])
        np.testing.assert_allclose(amap.scores[key].raw, raw.mean(axis=0), rtol=1e-5, atol=1e-7)
        assert amap.scores[key].kind == score.kind
        spread = amap.scores[f"{key}_spread"]
        assert (spread.kind, spread.of) == ("spread", score.kind)
        for c in range(3):  # of what is shown: raw numbers of one class, which for signed scores is the evidence for it
            seen = np.stack([one.view(key, class_index=c).raw.astype(np.float64) for one in each])
            found = spread.raw[c] if spread.per_class else spread.raw
            np.testing.assert_allclose(found, seen.std(axis=0), rtol=1e-4, atol=1e-7)
    chance = np.stack([one.prediction.probabilities for one in each])
    logits = np.stack([one.prediction.logits for one in each])
    prediction = amap.prediction
    np.testing.assert_allclose(prediction.probabilities, chance.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(prediction.spread.probabilities, chance.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(prediction.logits, logits.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(prediction.spread.logits, logits.std(axis=0), rtol=1e-5)
    assert prediction.spread.models == tuple(model.card for model in models)
    assert "spread over 4 models" in prediction.sentence
    assert amap.default_score == "attention"
    assert amap.model.title == "4 models together (gated-attention)"


def test_further_scores_of_an_ensemble_are_computed_for_each_member(bag):
    models = [make("tda", 2, seed) for seed in range(2)]
    each = [attention_map(model, bag, names=["leave_one_out"]).scores["leave_one_out"].raw for model in models]
    amap = ensemble_map(models, bag, names=["leave_one_out"])
    assert list(amap.scores) == ["leave_one_out", "leave_one_out_spread"]
    np.testing.assert_allclose(amap.scores["leave_one_out"].raw, np.mean(each, axis=0), rtol=1e-5, atol=1e-7)


def test_poolings_that_differ_keep_the_scores_that_they_share(bag):
    amap = ensemble_map([make("attention", 2), make("max", 2)], bag)
    assert set(amap.scores) == {
        name + end for name in ("contribution", "leave_one_out", "instance_logit") for end in ("", "_spread")
    }
    assert amap.default_score == "instance_logit"
    # the attention of one is shared by the classes, that of the other is not
    assert "attention" not in ensemble_map([make("attention", 2), make("clam-mb", 2)], bag).scores


def test_models_that_do_not_belong_together_are_refused_in_words(bag):
    first = make("attention", 2)
    with pytest.raises(ModelError, match=r"classes differ \(a, b; kind 0, kind 1\)"):
        ensemble_map([first, create_model("mean", in_features=8, class_names=["a", "b"])], bag)
    with pytest.raises(ModelError, match=r"no score in common.*mean: contribution.*transmil: attention.*leave_one_out"):
        ensemble_map([make("mean", 2), make("transmil", 2)], bag)
    together = ensemble_map([make("mean", 2), make("transmil", 2)], bag, also=iter(["leave_one_out"]))
    assert list(together.scores) == ["leave_one_out", "leave_one_out_spread"]
    other = make("attention", 2, 1)
    first.card, other.card = replace(first.card, encoder="e"), replace(other.card, encoder="f")
    with pytest.raises(ModelError, match="encoder differ"):
        ensemble_map([first, other], bag)
    with pytest.raises(ValueError, match="two models or more"):
        ensemble_map([first], bag)


def test_passes_with_dropout_give_mean_and_spread_and_a_seed_gives_them_again(bag):
    model = make("gated-attention", 2, dropout=0.3)
    one, again, other = (
        attention_map(model, bag, mc_dropout=5, seed=seed, also=["gradient_x_input"]) for seed in (1, 1, 2)
    )
    values = torch.from_numpy(bag.values)
    passes = list(dropout_passes(model, values, 5, 1))
    attention = np.stack([found.scores["attention"].raw.numpy() for found in passes])
    np.testing.assert_allclose(one.scores["attention"].raw, attention.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(one.scores["attention_spread"].raw, attention.std(axis=0), rtol=1e-4, atol=1e-8)
    chance = np.stack([torch.softmax(found.logits, 0).numpy() for found in passes])
    np.testing.assert_allclose(one.prediction.spread.probabilities, chance.std(axis=0), rtol=1e-4)
    assert (one.prediction.spread.method, one.prediction.spread.members, one.prediction.spread.seed) == (
        "mc-dropout",
        5,
        1,
    )
    for key, score in one.scores.items():
        np.testing.assert_array_equal(score.raw, again.scores[key].raw)
    assert not np.array_equal(one.scores["attention"].raw, other.scores["attention"].raw)
    # computed of the model as it is: no spread, and the same for any seed
    assert "gradient_x_input_spread" not in one.scores
    np.testing.assert_array_equal(one.scores["gradient_x_input"].raw, other.scores["gradient_x_input"].raw)


def test_a_spread_begins_at_nought_and_says_whose_it_is(bag):
    view = attention_map(make("clam-mb", 2), bag, mc_dropout=4).view("attention_spread", class_index=1)
    assert view.title == "Attention, spread: kind 1"
    assert view.scale.name == "spread"
    assert not view.scale.diverging
    assert view.limits == (0.0, pytest.approx(view.raw.max()))
    np.testing.assert_array_equal(view.values, view.raw)


def test_a_model_without_dropout_gives_no_passes(bag):
    with pytest.raises(ModelError, match="no dropout"):
        attention_map(make("mean", 2), bag, mc_dropout=5)


def test_spread_and_members_survive_the_file_and_older_files_are_read(bag, tmp_path):
    models = [make("attention", 2, seed) for seed in (0, 1)]
    amap = ensemble_map(models, bag, names=["attention"])
    amap.save(tmp_path / "m.h5")
    back = read_map(tmp_path / "m.h5")
    assert back.scores["attention_spread"].of == "attention"
    np.testing.assert_array_equal(back.scores["attention_spread"].raw, amap.scores["attention_spread"].raw)
    np.testing.assert_array_equal(back.prediction.spread.probabilities, amap.prediction.spread.probabilities)
    np.testing.assert_array_equal(back.prediction.spread.logits, amap.prediction.spread.logits)
    assert back.prediction.spread.models == amap.prediction.spread.models
    assert back.prediction.sentence == amap.prediction.sentence
    attention_map(models[0], bag).save(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        record = json.loads(file.attrs["napari_mil"])
        del record["spread_of"], record["prediction"]["spread"]
        file.attrs["napari_mil"] = json.dumps(record)
    assert read_map(tmp_path / "old.h5").prediction.spread is None
