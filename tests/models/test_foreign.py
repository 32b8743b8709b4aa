"""Checkpoints of other projects: published values come out, and nothing but weights goes in."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mil.errors import ModelError
from napari_mil.models import create_model, load_model, read_card, save_model


def normal(n_features: int) -> torch.Tensor:
    values = np.random.default_rng(0).standard_normal((50, n_features)).astype(np.float32)
    return torch.from_numpy(values)


def test_published_clam_checkpoint_gives_its_published_values(shared_data: Path):
    model = load_model(shared_data / "weights" / "clam_sb_s0.pt")
    assert (model.card.pooling, model.card.in_features, len(model.card.class_names)) == ("clam-sb", 1024, 2)
    output = model(normal(1024).abs())
    np.testing.assert_allclose(output.logits, [24.30098, -25.2125], atol=1e-4)
    published = np.array([-25.56894, -25.38318, -25.38173, -25.35798, -25.59202])
    energies = np.log(output.scores["attention"].raw[:5].double().numpy())  # but for a number added to all
    np.testing.assert_allclose(energies - energies[0], published - published[0], atol=1e-4)


def test_published_xmil_checkpoint_gives_its_published_values(shared_data: Path):
    model = load_model(shared_data / "weights" / "xmil_attnmil_camelyon.pt")
    assert (model.card.pooling, model.card.in_features) == ("attention", 768)
    output = model(normal(768))
    attention = output.scores["attention"].raw
    np.testing.assert_allclose(output.logits, [-8.70238, 8.86726], atol=1e-4)
    assert int(attention.argmax()) == 19
    assert float(attention.max()) == pytest.approx(0.59235, abs=1e-5)


def layer(state, ours, theirs):
    return {f"{theirs}.{part}": state[f"{ours}.{part}"] for part in ("weight", "bias")}


def as_clam(model, *, wrapped: bool, dropout: bool) -> dict[str, torch.Tensor]:
    """Return our model's weights under the names that CLAM gives them."""
    state = model.state_dict()
    n_classes, multi = len(model.card.class_names), model.card.pooling == "clam-mb"
    net = "attention_net.module" if wrapped else "attention_net"
    at = f"{net}.{3 if dropout else 2}"
    names = layer(state, "projection", f"{net}.0")
    if model.card.config["attention"] == "gated":
        names |= layer(state, "attention_V", f"{at}.attention_a.0") | layer(state, "attention_U", f"{at}.attention_b.0")
        names |= layer(state, "attention_w", f"{at}.attention_c")
    else:  # Linear, Tanh, (Dropout,) Linear in a module called module
        names |= layer(state, "attention_V", f"{at}.module.0")
        names |= layer(state, "attention_w", f"{at}.module.{3 if dropout else 2}")
    for c in range(n_classes):
        for part in ("weight", "bias"):
            names[f"instance_classifiers.{c}.{part}"] = state[f"instance_head.{part}"][2 * c : 2 * c + 2]
            if multi:
                names[f"classifiers.{c}.{part}"] = state[f"head.{part}"][c : c + 1]
    return names if multi else names | layer(state, "head", "classifiers")


@pytest.mark.parametrize("name", ["clam-sb", "clam-mb"])
@pytest.mark.parametrize("attention", ["gated", "plain"])
@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("dropout", [True, False])
def test_every_kind_of_clam_checkpoint_answers_as_it_did(tmp_path, name, attention, wrapped, dropout):
    model = create_model(
        name, in_features=6, n_classes=3, seed=1, hidden=5, attention_dim=4, attention=attention,
        dropout=0.25 if dropout else 0.0,
    )  # fmt: skip
    path = tmp_path / "s_0_checkpoint.pt"
    torch.save(as_clam(model, wrapped=wrapped, dropout=dropout), path)
    again = load_model(path)
    assert dict(again.card.config) == dict(model.card.config)
    assert all(torch.equal(again.state_dict()[key], value) for key, value in model.state_dict().items())
    bag = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    one, two = model(bag), again(bag)
    assert torch.equal(one.logits, two.logits)
    assert all(torch.equal(one.scores[key].raw, two.scores[key].raw) for key in one.scores)


XMIL = {
    "linear_layers.0.0": (5, 6),
    "attention.0": (4, 5),
    "attention.2": (1, 4),
    "classifier": (2, 5),
}


def xmil_state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    state = {f"{name}.weight": torch.randn(shape, generator=generator) for name, shape in XMIL.items()}
    return state | {f"{name}.bias": torch.randn(shape[0], generator=generator) for name, shape in XMIL.items()}


def test_a_foreign_model_says_what_it_is_and_can_be_saved_as_ours(tmp_path):
    path = tmp_path / "best model.pth"
    torch.save(xmil_state(), path)
    card = read_card(path)
    assert card.title == "best model (xMIL AttentionMIL)"
    assert card.class_names == ("class 0", "class 1")
    assert card.training["file"] == "best model.pth"
    save_model(tmp_path / "ours.safetensors", load_model(path))
    bag = torch.ones(3, 6)
    assert torch.equal(load_model(tmp_path / "ours.safetensors")(bag).logits, load_model(path)(bag).logits)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model_state_dict": state, "epoch": 3, "metric": np.float64(0.9)},
        lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}, "optimizer": {}},
        lambda state: {f"module.{key}": value.half() for key, value in state.items()},
    ],
)
def test_envelopes_and_prefixes_of_training_scripts_are_taken_off(tmp_path, wrap):
    torch.save(xmil_state(), tmp_path / "plain.pt")
    torch.save(wrap(xmil_state()), tmp_path / "wrapped.pt")
    plain, wrapped = (load_model(tmp_path / f"{name}.pt")(torch.ones(3, 6)).logits for name in ("plain", "wrapped"))
    np.testing.assert_allclose(wrapped, plain, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("hide", [lambda trap: trap, lambda trap: {"state_dict": xmil_state(), "epoch": trap}])
@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, hide, write):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    path = tmp_path / "model.pt"
    write(hide(Trap()), path)
    for read in (load_model, read_card):
        with pytest.raises(ModelError, match=r"model\.pt was not opened.*could run code"):
            read(path)
    assert not (tmp_path / "executed").exists()


def test_a_file_that_holds_itself_is_refused(tmp_path):
    knot: dict[str, object] = {}
    knot["state_dict2"] = knot
    torch.save(knot, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"m\.pt was not opened"):
        load_model(tmp_path / "m.pt")


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04"])
def test_what_torch_cannot_read_is_refused_in_words(tmp_path, content):
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.pt was not opened"):
        load_model(tmp_path / "m.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_bytes_are_one_sentence_or_a_model(tmp_path, zipped):
    path, rng = tmp_path / "m.pt", random.Random(0)
    torch.save(xmil_state(), path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    refused = 0
    for k in range(100):
        damaged = bytearray(data if k % 5 else data[: rng.randrange(len(data))])
        for _ in range(rng.choice([1, 3, 20])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            load_model(path)
        except ModelError:
            refused += 1
    assert refused >= 50


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    torch.save(xmil_state() | {"classifier.bias": torch.tensor([0.0, float("nan")])}, tmp_path / "m.pth")
    with pytest.raises(ModelError, match=r"head\.bias in m\.pth holds NaN or infinite numbers"):
        load_model(tmp_path / "m.pth")


def test_a_torchscript_encoder_is_no_model(tmp_path):
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "encoder.pt")
    with pytest.raises(ModelError, match=r"encoder\.pt is a program .*Give it as the encoder"):
        load_model(tmp_path / "encoder.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="There is no model file"):
        load_model(tmp_path / "none.pt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"layer.weight": torch.zeros(2)},
            r"\(layer\.weight\) are not named as in a layout that can be read here: train",
        ),
        ({"epoch": 3}, "holds no named tensors"),
        (torch.zeros(3), "holds no named tensors"),
        ({k: v for k, v in xmil_state().items() if k != "classifier.bias"}, r"lacks 'classifier\.bias'"),
        (xmil_state() | {"attention.0.weight": torch.zeros(4, 7)}, r"attention_V\.weight is \(4, 5\), .* \(4, 7\)"),
        (xmil_state() | {"linear_layers.0.0.weight": torch.zeros(4)}, "do not fit"),
        (xmil_state() | {"classifier.weight": torch.tensor(1.0)}, "do not fit"),
        (xmil_state() | {"linear_layers.1.0.weight": torch.zeros(5, 5)}, r"holds more .*linear_layers\.1\.0\.weight"),
    ],
)
def test_weights_that_make_no_known_model_are_refused_with_the_reason(tmp_path, content, message):
    torch.save(content, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / "m.pt")


@pytest.mark.parametrize(
    ("whose", "names"),
    [
        ("MIL-Lab", ["patch_embed.0.weight", "patch_embed.0.bias", "attention.weight"]),
        ("STAMP", ["vision_transformer.class_token", "vision_transformer.project_features.0.weight"]),
    ],
)
def test_layouts_that_are_not_read_are_named_with_a_remedy_in_one_sentence(tmp_path, whose, names):
    torch.save({"state_dict": {name: torch.zeros(2) for name in names}}, tmp_path / "best.pt")
    with pytest.raises(ModelError) as refused:
        load_model(tmp_path / "best.pt")
    said = str(refused.value)
    assert said.startswith(f"The weights in best.pt ({', '.join(sorted(names))}) are not named as in a layout")
    assert f"but as {whose} names them: train a model on the same features (napari-mil train), or give a" in said
    assert said.endswith("CLAM, xMIL AttentionMIL, DSMIL, DTFD-MIL, torchmil ABMIL, torchmil DSMIL, TransMIL.")
    assert said.count(". ") == 0


def test_a_lightning_checkpoint_by_its_own_ending_says_what_can_be_opened(tmp_path):
    torch.save({"state_dict": {"model.project_features.0.weight": torch.zeros(2)}}, tmp_path / "model.ckpt")
    with pytest.raises(ModelError, match=r"model\.ckpt is not a readable safetensors .*\.pt files of weights alone"):
        load_model(tmp_path / "model.ckpt")
