"""Every pooling with one to three classes, with dropout and sizes of its own: built, run, saved, the same again."""

from __future__ import annotations

import pytest
import torch

from napari_mil.models import MODEL_NAMES, create_model, load_model, save_model

SIZES: dict[str, dict[str, float | str]] = {
    "mean": {"hidden": 7},
    "max": {"hidden": 7},
    "lse": {"hidden": 7, "r": 2.5},
    "noisy-and": {"hidden": 7, "a": 6.0},
    "attention": {"hidden": 7, "attention_dim": 3},
    "gated-attention": {"hidden": 7, "attention_dim": 3},
    "softmax-attention": {"hidden": 7, "attention_dim": 3},
    "softmax-mean": {"hidden": 7, "gates": 3},
    "clam-sb": {"hidden": 7, "attention_dim": 3, "attention": "plain", "k_sample": 2, "instance_classes": "all"},
    "clam-mb": {"hidden": 7, "attention_dim": 3, "attention": "gated", "k_sample": 1, "instance_classes": "own"},
    "additive": {"hidden": 7, "attention_dim": 3, "psi_dim": 4},
    "dsmil": {"query_dim": 3, "query": "linear", "value": "layer"},
    "transmil": {"hidden": 12, "heads": 3, "landmarks": 4, "pinv_iterations": 3},
    "dtfd": {"hidden": 7, "attention_dim": 3, "groups": 3, "distillation": "maxmins", "splits": 2, "split_seed": 5},
    "tda": {"hidden": 12, "heads": 3, "layers": 1, "mlp_ratio": 2},
}
BAG = torch.randn(11, 5, generator=torch.Generator().manual_seed(0))


def test_no_pooling_is_left_out() -> None:
    assert set(SIZES) == set(MODEL_NAMES)


@pytest.mark.parametrize("n_classes", [1, 2, 3])
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_any_head_dropout_and_sizes_are_saved_bit_for_bit(tmp_path, name: str, n_classes: int) -> None:
    sizes = SIZES[name] | {"dropout": 0.5}
    model = create_model(name, in_features=5, n_classes=n_classes, seed=4, **sizes)
    assert model.card.config == sizes, "no size is left at its default"
    whole = model(BAG)
    assert whole.logits.shape == (n_classes,)
    chances = model.probabilities(whole.logits)
    if n_classes == 1:
        assert chances[0] == torch.sigmoid(whole.logits[0])
    else:
        assert float(chances.sum()) == pytest.approx(1, abs=1e-6)
    for score in whole.scores.values():
        assert score.raw.shape in ((11,), (n_classes, 11))
        assert score.raw.dtype == torch.float32
    save_model(tmp_path / "m.safetensors", model)
    again = load_model(tmp_path / "m.safetensors")
    assert again.card == model.card
    state, saved = model.state_dict(), again.state_dict()
    assert state.keys() == saved.keys()
    assert all(torch.equal(state[key], saved[key]) for key in state)
    other = again(BAG)
    assert torch.equal(other.logits, whole.logits)
    assert all(torch.equal(other.scores[key].raw, score.raw) for key, score in whole.scores.items())
    save_model(tmp_path / "n.safetensors", again)
    assert (tmp_path / "n.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()
    check_dropout_acts_in_training_alone(model, whole.logits)


def check_dropout_acts_in_training_alone(model, logits: torch.Tensor) -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model.train()
        draws = torch.stack([model(BAG, scores=False).logits for _ in range(8)])
        model.eval()
        assert torch.equal(model(BAG, scores=False).logits, logits)
    assert len({tuple(draw.tolist()) for draw in draws}) > 1
