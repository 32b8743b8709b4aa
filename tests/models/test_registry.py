"""Models by name: what they are made of and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_mil.errors import ModelError
from napari_mil.models import MODEL_NAMES, create_model


def test_every_name_makes_the_model_of_that_name():
    assert len(set(MODEL_NAMES)) == len(MODEL_NAMES) >= 6
    made = {name: type(create_model(name, in_features=4)) for name in MODEL_NAMES}
    assert len(set(made.values())) == len(MODEL_NAMES)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_seed_decides_the_weights_and_leaves_the_global_generator_alone(name):
    before = torch.get_rng_state()
    one, same, other = (create_model(name, in_features=6, seed=seed).state_dict() for seed in (4, 4, 5))
    create_model(name, in_features=6)
    assert all(torch.equal(one[key], same[key]) for key in one)
    drawn = [key for key, w in one.items() if w.numel() > 1 and w.unique().numel() > 1]  # not norms and thresholds
    assert drawn
    assert not any(torch.equal(one[key], other[key]) for key in drawn)
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_weights_lie_within_one_over_root_of_inputs():
    state = create_model("gated-attention", in_features=400, seed=0).state_dict()
    for layer, inputs in {"projection": 400, "attention_U": 256, "attention_w": 128, "head": 256}.items():
        weight = state[f"{layer}.weight"].numpy()
        assert np.abs(weight).max() <= inputs**-0.5
        assert weight.std() == pytest.approx((3 * inputs) ** -0.5, rel=0.2)  # of a uniform distribution


def test_card_holds_every_size_defaults_included():
    model = create_model("gated-attention", in_features=512, class_names=["benign", "malignant"], dropout=0.25)
    assert model.card.pooling == "gated-attention"
    assert model.card.in_features == 512
    assert model.card.class_names == ("benign", "malignant")
    assert dict(model.card.config) == {"hidden": 256, "attention_dim": 128, "dropout": 0.25}
    assert not model.training


def test_classes_default_to_two_and_may_be_counted_or_named():
    assert create_model("mean", in_features=2).card.class_names == ("class 0", "class 1")
    assert len(create_model("mean", in_features=2, n_classes=3)(torch.zeros(1, 2)).logits) == 3
    assert len(create_model("mean", in_features=2, class_names=["only"])(torch.zeros(1, 2)).logits) == 1
    with pytest.raises(ValueError, match="2 class names"):
        create_model("mean", in_features=2, n_classes=3, class_names=["a", "b"])


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ModelError, match=r"no model named 'transformer'.*: mean, max, .*gated-attention"):
        create_model("transformer", in_features=2)


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("mean", {"attention_dim": 3}, "attention_dim"),
        ("mean", {"hidden": 0}, "hidden"),
        ("attention", {"attention_dim": 2.5}, "attention_dim"),
        ("max", {"dropout": 1.0}, "dropout"),
        ("max", {"dropout": float("nan")}, "dropout"),
        ("max", {"in_features": 0}, "in_features"),
        ("max", {"n_classes": 0}, "classes"),
    ],
)
def test_sizes_out_of_range_are_refused(name, sizes, message):
    with pytest.raises(ValueError, match=message):
        create_model(name, **{"in_features": 2, **sizes})


def test_cards_names_and_fit_do_not_load_torch(tmp_path):
    code = (
        "import sys; from napari_mil.models import MODEL_NAMES, check_fit, list_models, read_card; "
        f"list_models({str(tmp_path)!r}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
