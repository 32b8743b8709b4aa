"""torchmil's models behind our interface: the same logits as torchmil gives, saved, loaded and refused plainly."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from napari_mil.errors import ModelError
from napari_mil.models import (
    create_model,
    dropout_passes,
    is_known,
    iter_leave_one_out,
    load_model,
    read_entry,
    save_model,
)
from napari_mil.progress import finish

WHOLE = ["ABMIL", "CLAM_SB", "DSMIL", "DTFDMIL", "IIBMIL", "ProbSmoothABMIL", "TransMIL", "TransformerABMIL"]
BAG = torch.from_numpy(np.random.default_rng(0).standard_normal((9, 16)).astype(np.float32))


def test_without_torchmil_its_models_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmil.models", None)
    with pytest.raises(ModelError, match=r"pip install 'napari-mil\[torchmil\]'"):
        create_model("torchmil:AnyModel", in_features=4)


def test_names_of_torchmil_are_known_and_others_not():
    assert is_known("torchmil:ABMIL")
    assert is_known("dsmil")
    assert not is_known("torchmil")


@pytest.fixture
def theirs():
    return pytest.importorskip("torchmil.models")


@pytest.mark.parametrize("name", WHOLE)
def test_it_is_torchmils_model_saved_and_loaded(theirs, tmp_path, name):
    model = create_model(f"torchmil:{name}", in_features=16, n_classes=1, seed=3)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    output = model(BAG)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert torch.equal(model(BAG).logits, output.logits)
    assert model.default_score in output.scores
    if model.default_score == "attention":
        assert float(output.scores["attention"].raw.sum()) == pytest.approx(1, abs=1e-4)
    save_model(tmp_path / "m.safetensors", model)
    assert read_entry(tmp_path / "m.safetensors").reason == ""
    again = load_model(tmp_path / "m.safetensors")
    assert torch.equal(again(BAG).logits, output.logits)
    inner = getattr(theirs, name)(in_shape=(16,)).eval()
    inner.load_state_dict(model.inner.state_dict())
    if name not in ("DTFDMIL", "ProbSmoothABMIL"):  # which draw at random
        with torch.no_grad():
            np.testing.assert_allclose(inner(BAG[None]), output.logits, rtol=1e-5, atol=1e-6)


def test_two_names_make_a_softmax_of_its_sigmoid(theirs):
    one = create_model("torchmil:ABMIL", in_features=16, n_classes=1, seed=3)
    two = create_model("torchmil:ABMIL", in_features=16, n_classes=2, seed=3)
    chance = one.probabilities(one(BAG).logits)
    np.testing.assert_allclose(two.probabilities(two(BAG).logits), [1 - chance[0], chance[0]], rtol=1e-5)
    with pytest.raises(ValueError, match="two classes apart"):
        create_model("torchmil:ABMIL", in_features=16, n_classes=3)


def test_abmils_attention_is_the_softmax_of_what_it_returns_and_leaving_out_is_exact(theirs):
    model = create_model("torchmil:ABMIL", in_features=16, n_classes=1, seed=3, gated=True)
    with torch.no_grad():
        _, before = model.inner(BAG[None], return_att=True)
    np.testing.assert_allclose(model(BAG).scores["attention"].raw, before[0].softmax(0), rtol=1e-5)
    whole = model(BAG).logits
    brute = torch.stack([whole - model(torch.cat([BAG[:i], BAG[i + 1 :]])).logits for i in range(9)], dim=1)
    np.testing.assert_allclose(finish(iter_leave_one_out(model, BAG)).raw, brute, atol=1e-6)


def test_standardisation_is_absorbed(theirs):
    model = create_model("torchmil:ABMIL", in_features=16, seed=3)
    g = np.random.default_rng(1)
    mean, std = torch.from_numpy(g.normal(size=16)), torch.from_numpy(g.uniform(0.5, 3, size=16))
    before = model(((BAG - mean) / std).float()).logits
    model.absorb_standardisation(mean, std)
    np.testing.assert_allclose(model(BAG).logits, before, atol=1e-5)
    model.absorb_standardisation(mean, std)  # and once more
    np.testing.assert_allclose(model((BAG * std + mean).float()).logits, before, atol=1e-5)


def test_models_do_not_share_modules_or_touch_the_global_generator(theirs):
    before = torch.get_rng_state()
    one, same = (create_model("torchmil:ABMIL", in_features=16, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.inner.criterion is not same.inner.criterion
    for key, weight in one.state_dict().items():
        assert torch.equal(weight, same.state_dict()[key])


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("Nothing", {}, "no model 'Nothing'.*ABMIL"),
        ("MILModel", {}, "no model"),
        ("SmABMIL", {}, r"more than the bag \(adj\)"),
        ("SETMIL", {}, r"more than the bag \(coords\)"),
    ],
)
def test_what_cannot_be_used_is_refused(theirs, name, config, message):
    with pytest.raises(ModelError, match=message):
        create_model(f"torchmil:{name}", in_features=16, **config)


@pytest.mark.parametrize("config", [{"gated": 1}, {"att_dim": 0}, {"att_act": "none"}, {"unknown": 1}])
def test_sizes_that_make_no_model_are_refused(theirs, config):
    with pytest.raises(ValueError, match=next(iter(config)) if "att_act" not in config else "cannot be made"):
        create_model("torchmil:ABMIL", in_features=16, **config)


def test_passes_with_dropout_differ_and_a_seed_gives_them_again(theirs):
    model = create_model("torchmil:TransformerABMIL", in_features=16, n_classes=1, seed=3, transf_dropout=0.5)
    first, again = (torch.stack([one.logits for one in dropout_passes(model, BAG, 3, 1)]) for _ in range(2))
    assert torch.equal(first, again)
    assert float(first.std()) > 0
