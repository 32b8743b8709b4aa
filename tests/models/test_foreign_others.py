"""DSMIL's, DTFD's and TransMIL's own files: recognised by their tensors, answering as their authors' code does."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mil.errors import ModelError
from napari_mil.models import create_model, load_model


def bag_of(length):
    return torch.from_numpy(np.random.default_rng(0).standard_normal((50, length)).astype(np.float32))


@pytest.mark.parametrize(
    ("name", "logits", "attention", "instance"),
    [
        ("c16", [-0.130761], ([43], [0.0216272]), ([26], [1.885072])),
        ("tcga", [0.00855894, 0.05236803], ([13, 13], [0.0923732, 0.2104525]), ([6, 23], [2.0397334, 2.3523764])),
    ],
)
def test_dsmils_published_weights_give_their_known_values(shared_data: Path, name, logits, attention, instance):
    model = load_model(shared_data / "weights" / f"{name}_aggregator.pth")
    assert model.card.pooling == "dsmil"
    assert model.card.in_features == 512
    output = model(bag_of(512))
    np.testing.assert_allclose(output.logits.detach(), logits, atol=2e-6)
    for score, (where, value) in (("attention", attention), ("instance_logit", instance)):
        raw = output.scores[score].raw
        assert raw.argmax(dim=1).tolist() == where
        np.testing.assert_allclose(raw.amax(dim=1), value, rtol=2e-6)
    if name == "c16":
        assert float(model.probabilities(output.logits)[0]) == pytest.approx(0.467356, abs=1e-6)


def test_dtfds_published_weights_answer_as_its_equations_do(shared_data: Path):
    """No values are published for this file: its own tensors, by its own names, are worked through in numpy here."""
    path = shared_data / "weights" / "dtfd_model.pth"
    model = load_model(path)
    assert (model.card.pooling, model.card.in_features, len(model.card.class_names)) == ("dtfd", 1024, 2)
    w = {
        f"{part}.{name}": tensor.double().numpy()
        for part, state in torch.load(path, weights_only=True, map_location="cpu").items()
        for name, tensor in state.items()
    }

    def attend(prefix, h):
        v = np.tanh(h @ w[f"{prefix}.attention_V.0.weight"].T + w[f"{prefix}.attention_V.0.bias"])
        u = 1 / (1 + np.exp(-(h @ w[f"{prefix}.attention_U.0.weight"].T + w[f"{prefix}.attention_U.0.bias"])))
        e = ((v * u) @ w[f"{prefix}.attention_weights.weight"].T + w[f"{prefix}.attention_weights.bias"])[:, 0]
        return np.exp(e - e.max()) / np.exp(e - e.max()).sum()

    bag = bag_of(1024)
    h = np.maximum(bag.double().numpy() @ w["dim_reduction.fc1.weight"].T, 0)
    logits = []
    for groups in model.deal(50).numpy():
        z = np.array([attend("attention", h[groups == g]) @ h[groups == g] for g in range(4)])
        pooled = attend("att_classifier.attention", z) @ z
        logits.append(w["att_classifier.classifier.fc.weight"] @ pooled + w["att_classifier.classifier.fc.bias"])
    output = model(bag)
    np.testing.assert_allclose(output.logits.detach(), np.mean(logits, axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(output.scores["attention"].raw, attend("attention", h), rtol=1e-4)


@pytest.mark.parametrize("query", ["two-layer", "linear"])
@pytest.mark.parametrize("value", ["identity", "layer"])
def test_every_form_of_dsmil_is_recognised(tmp_path, query, value):
    model = create_model("dsmil", in_features=6, n_classes=2, query=query, value=value, query_dim=4, seed=0)
    names = {"instance": "i_classifier.fc.0", "value": "b_classifier.v.1", "query_out": "b_classifier.q.2"}
    names |= {"query_in": "b_classifier.q" if query == "linear" else "b_classifier.q.0", "head": "b_classifier.fcc"}
    save_renamed(tmp_path / "m.pth", model, names, {"head.weight": lambda w: w.view(2, 2, 6)})
    check_same(load_model(tmp_path / "m.pth"), model, 6)


def test_transmil_is_recognised(tmp_path):
    model = create_model("transmil", in_features=6, hidden=16, heads=4, landmarks=8, seed=0)
    names = {"projection": "_fc1.0", "norm": "norm", "head": "_fc2", "conv7": "pos_layer.proj"}
    names |= {"conv5": "pos_layer.proj1", "conv3": "pos_layer.proj2"}
    for n in (1, 2):
        names |= {f"norm{n}": f"layer{n}.norm", f"attention{n}.to_qkv": f"layer{n}.attn.to_qkv"}
        names |= {f"attention{n}.to_out": f"layer{n}.attn.to_out.0"}
        names |= {f"attention{n}.residual": f"layer{n}.attn.res_conv"}
    shapes = {f"attention{n}.residual.weight": lambda w: w[..., None] for n in (1, 2)}
    extra = {"cls_token": model.class_token.detach()[None, None]}
    save_renamed(tmp_path / "m.pth", model, names, shapes, extra)
    check_same(load_model(tmp_path / "m.pth"), model, 6)


def test_a_dtfd_file_without_its_second_tier_says_what_it_lacks(shared_data: Path, tmp_path):
    parts = torch.load(shared_data / "weights" / "dtfd_model.pth", weights_only=True, map_location="cpu")
    del parts["att_classifier"]["attention.attention_U.0.bias"]
    torch.save(parts, tmp_path / "m.pth")
    with pytest.raises(ModelError, match=r"DTFD-MIL but lacks .*att_classifier\.attention\.attention_U\.0\.bias"):
        load_model(tmp_path / "m.pth")


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("ABMIL", {"att_dim": 5}),
        ("ABMIL", {"att_dim": 5, "gated": True}),
        ("DSMIL", {"att_dim": 5}),
        ("DSMIL", {"att_dim": 5, "nonlinear_q": True, "nonlinear_v": True}),
    ],
)
def test_torchmils_own_checkpoints_are_recognised(tmp_path, name, config):
    theirs = pytest.importorskip("torchmil.models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inner = getattr(theirs, name)(in_shape=(16,), **config).eval()
    torch.save({"state_dict": inner.state_dict(), "epoch": 3}, tmp_path / "best.pt")
    model = load_model(tmp_path / "best.pt")
    assert (model.card.pooling, model.card.in_features, len(model.card.class_names)) == (f"torchmil:{name}", 16, 1)
    assert {key: model.card.config[key] for key in config} == config
    bag = bag_of(16)
    with torch.no_grad():
        assert torch.equal(model(bag).logits, inner(bag[None]).reshape(1))


def test_without_torchmil_its_checkpoint_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmil.models", None)
    shapes = {"pool.fc1.module": (5, 16), "classifier.module": (1, 16)}
    state = {f"{key}.weight": torch.zeros(shape) for key, shape in shapes.items()}
    state |= {f"{key}.bias": torch.zeros(shape[0]) for key, shape in shapes.items()}
    torch.save(state | {"pool.fc2.weight": torch.zeros(1, 5)}, tmp_path / "abmil.pt")
    with pytest.raises(ModelError, match=r"torchmil:ABMIL needs .*pip install 'napari-mil\[torchmil\]'"):
        load_model(tmp_path / "abmil.pt")


def save_renamed(path, model, names, shapes, extra=None):
    state = dict(extra or {})
    for key, tensor in model.state_dict().items():
        layer, _, part = key.rpartition(".")
        if layer in names:
            state[f"{names[layer]}.{part}"] = shapes.get(key, lambda w: w)(tensor)
    torch.save(state, path)


def check_same(loaded, model, length):
    assert loaded.card.config == {**model.card.config, "dropout": loaded.card.config["dropout"]}
    output, expected = loaded(bag_of(length)), model(bag_of(length))
    assert torch.equal(output.logits, expected.logits)
    for name, score in expected.scores.items():
        assert torch.equal(output.scores[name].raw, score.raw)
