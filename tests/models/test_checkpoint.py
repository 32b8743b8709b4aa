"""Checkpoints: nothing is lost on the way, and every fault is one plain sentence."""

from __future__ import annotations

import json
import os
import pickle
import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_mil.errors import ModelError
from napari_mil.models import MODEL_NAMES, create_model, list_models, load_model, read_card, save_model

CARD = {
    "title": "Demo: tumour nests (gated attention), µm",
    "task": "Tells slides with tumour nests from slides without.",
    "encoder": "idc_cnn",
    "encoder_hash": "0123456789abcdef",
    "encoder_version": "1",
    "tile_px": 50,
    "mpp": 4.0,
    "training": {"auc_mean": 0.91, "folds": 5, "notes": ["a", None]},
}


@pytest.fixture
def model():
    model = create_model("gated-attention", in_features=6, class_names=["no IDC", "IDC"], seed=2, hidden=5)
    model.card = replace(model.card, **CARD)
    return model


@pytest.fixture
def saved(tmp_path, model):
    save_model(tmp_path / "model.safetensors", model)
    return tmp_path / "model.safetensors"


def rewrite(path, *, drop=(), add=None, metadata=None):
    """Write a checkpoint anew with other tensors or metadata."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        kept = file.metadata()
    tensors = {key: value for key, value in load_file(path).items() if key not in drop}
    save_file(tensors | (add or {}), path, metadata=kept if metadata is None else metadata)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_round_trip_keeps_card_weights_and_answers(tmp_path, name):
    model = create_model(name, in_features=6, n_classes=3, seed=1)
    model.card = replace(model.card, **CARD)
    save_model(tmp_path / "m.safetensors", model)
    again = load_model(tmp_path / "m.safetensors")
    assert again.card == model.card == read_card(tmp_path / "m.safetensors")
    assert not again.training
    bag = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))
    one, two = model(bag), again(bag)
    assert torch.equal(one.logits, two.logits)
    assert all(torch.equal(one.scores[key].raw, two.scores[key].raw) for key in one.scores)
    again.requires_grad_(True)  # a loaded model can be trained on
    again(bag, scores=False).logits.sum().backward()


def test_saving_replaces_the_file_and_leaves_nothing_else(saved, model):
    first = saved.read_bytes()
    save_model(saved, model)
    assert saved.read_bytes() == first
    assert os.listdir(saved.parent) == ["model.safetensors"]
    assert saved.stat().st_mode & 0o444 == 0o444


def test_failed_save_keeps_the_old_file(saved, model, monkeypatch):
    first = saved.read_bytes()

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ModelError, match="No space left on device"):
        save_model(saved, model)
    assert saved.read_bytes() == first
    assert os.listdir(saved.parent) == ["model.safetensors"]


def test_saving_into_no_folder_says_so(tmp_path, model):
    with pytest.raises(ModelError, match=r"Cannot write .*No such file"):
        save_model(tmp_path / "nowhere" / "m.safetensors", model)


def test_weights_stored_in_half_precision_are_read_as_float32(saved):
    halves = {key: value.half() for key, value in load_file(saved).items()}
    rewrite(saved, add=halves)
    model = load_model(saved)
    assert {weight.dtype for weight in model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("content", [b"", b"\x08\x00", b"not a model at all, but text", b"\xff" * 64])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    for read in (read_card, load_model):
        with pytest.raises(ModelError, match="not a readable safetensors file"):
            read(path)


@pytest.mark.parametrize("length", [2**20, 2**40, 2**63])
def test_a_header_said_to_be_huge_is_refused_at_once(saved, length):
    saved.write_bytes(length.to_bytes(8, "little") + saved.read_bytes()[8:])
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        load_model(saved)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(saved, number):
    rewrite(saved, add={"head.bias": torch.tensor([0.0, number])})
    with pytest.raises(
        ModelError, match=r"head\.bias in model\.safetensors holds NaN or infinite numbers.*earlier checkpoint"
    ):
        load_model(saved)


def test_damaged_bytes_are_one_sentence_or_the_same_model(saved):
    data, rng = saved.read_bytes(), random.Random(0)
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 3, 20])):
            damaged[rng.randrange(len(data))] = rng.randrange(256)
        saved.write_bytes(damaged)
        check_loads_or_refuses(saved)


def check_loads_or_refuses(path):
    try:
        model = load_model(path)
    except ModelError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert all(weight.isfinite().all() for weight in model.state_dict().values())


def test_pickle_is_refused_unopened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    path = tmp_path / "m.safetensors"
    for write in (lambda: path.write_bytes(pickle.dumps(Trap())), lambda: torch.save(Trap(), path)):
        write()
        with pytest.raises(ModelError, match="not a readable safetensors file"):
            load_model(path)
    assert not (tmp_path / "executed").exists()


def test_truncated_file_is_refused(saved):
    saved.write_bytes(saved.read_bytes()[:-10])
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        load_model(saved)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match="There is no model file"):
        load_model(tmp_path / "none.safetensors")


def test_weights_without_a_card_are_refused(saved):
    rewrite(saved, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="no napari-mil model card"):
        load_model(saved)


def card_of(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["napari_mil"])


@pytest.mark.parametrize("key", ["pooling", "in_features", "config", "class_names", "training"])
def test_damaged_card_is_refused(saved, key):
    content = card_of(saved)
    del content["card"][key]
    rewrite(saved, metadata={"napari_mil": json.dumps(content)})
    with pytest.raises(ModelError, match=f"damaged .*{key}"):
        read_card(saved)


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"format": "1", "card": {}}', '{"format": 1, "card": []}'])
def test_card_that_is_no_card_is_refused(saved, text):
    rewrite(saved, metadata={"napari_mil": text})
    with pytest.raises(ModelError, match="damaged"):
        read_card(saved)


def test_newer_format_asks_for_an_update(saved):
    content = card_of(saved)
    content["format"] = 2
    rewrite(saved, metadata={"napari_mil": json.dumps(content)})
    with pytest.raises(ModelError, match=r"newer napari-mil \(format 2.*Update"):
        load_model(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": "quantum"}, "no model named 'quantum'"),
        ({"config": {"hidden": 5}}, "amiss.*attention_dim"),
        ({"config": {"hidden": 5, "attention_dim": -1, "dropout": 0.0}}, "attention_dim"),
        ({"config": {"hidden": 5, "attention_dim": "x", "dropout": 0.0}}, "attention_dim"),
        ({"config": {"hidden": 5, "attention_dim": 3, "dropout": "x"}}, "dropout"),
        ({"config": {"hidden": 10**18, "attention_dim": 3, "dropout": 0.0}}, "hidden|sizes|shape"),
        ({"config": {"hidden": 10**30, "attention_dim": 3, "dropout": 0.0}}, "hidden|sizes|shape"),
        ({"in_features": 7}, "projection.weight .*its card says"),
        ({"class_names": ["a", "b", "c"]}, "head.* in model.safetensors has the shape"),
        ({"class_names": []}, "classes"),
    ],
)
def test_card_that_does_not_describe_the_weights_is_refused(saved, change, message):
    content = card_of(saved)
    content["card"] |= change
    rewrite(saved, metadata={"napari_mil": json.dumps(content)})
    with pytest.raises(ModelError, match=message):
        load_model(saved)


def test_missing_and_unexpected_weights_are_named(saved):
    rewrite(saved, drop=["head.bias"], add={"extra.weight": torch.zeros(2)})
    with pytest.raises(ModelError, match=r"missing: head\.bias; unexpected: extra\.weight"):
        load_model(saved)


def test_folder_is_listed_with_reasons(tmp_path, saved, model):
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    (tmp_path / "encoder.pt").write_bytes(b"not a model of ours")
    model.card = replace(model.card, pooling="quantum")
    save_model(tmp_path / "newer.safetensors", model)
    broken, good, newer = list_models(tmp_path)
    assert (good.path, good.card, good.reason) == (saved, read_card(saved), "")
    assert broken.card is None
    assert "not a readable safetensors file" in broken.reason
    assert newer.card is None
    assert "'quantum'" in newer.reason


def test_folder_that_is_not_there_holds_no_models(tmp_path):
    assert list_models(tmp_path / "none") == []
