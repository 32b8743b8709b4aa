"""CLAM: the instance loss by hand, and a branch for each class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_mil.models import create_model

N_CLASSES = 3


def make(name, **config):
    model = create_model(
        name, in_features=5, n_classes=N_CLASSES, seed=2, hidden=7, attention_dim=4, dropout=0.0, **config
    )
    return model.double(), torch.from_numpy(np.random.default_rng(0).standard_normal((9, 5)))


def cross_entropy(logits, target):
    return torch.logsumexp(logits, dim=0) - logits[target]


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def by_hand(model, bag, target, k, every):
    """Return the instance loss in numpy, a class and a patch at a time."""
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    h = np.maximum(bag.numpy() @ state["projection.weight"].T + state["projection.bias"], 0)
    gate = 1 / (1 + np.exp(-(h @ state["attention_U.weight"].T + state["attention_U.bias"])))
    gated = np.tanh(h @ state["attention_V.weight"].T + state["attention_V.bias"]) * gate
    e = gated @ state["attention_w.weight"].T + state["attention_w.bias"]  # (N, 1) or (N, C)
    total = 0.0
    for c in range(N_CLASSES):
        order = np.argsort(-e[:, c if e.shape[1] > 1 else 0])
        logits = h @ state["instance_head.weight"][2 * c : 2 * c + 2].T + state["instance_head.bias"][2 * c : 2 * c + 2]
        logs = log_softmax(logits)
        if c == target:
            total += -(logs[order[:k], 1].sum() + logs[order[-k:], 0].sum()) / (2 * k)
        elif every:
            total += -logs[order[:k], 0].sum() / k
    return total / (N_CLASSES if every else 1)


@pytest.mark.parametrize("name", ["clam-sb", "clam-mb"])
@pytest.mark.parametrize("instance_classes", ["own", "all"])
@pytest.mark.parametrize(("k_sample", "k"), [(2, 2), (8, 4)])  # of nine patches at most four are high, four low
def test_loss_is_seven_parts_bag_and_three_parts_instances(name, instance_classes, k_sample, k):
    model, bag = make(name, instance_classes=instance_classes, k_sample=k_sample)
    for target in range(N_CLASSES):
        logits = model(bag).logits.numpy()
        expected = 0.7 * -log_softmax(logits)[target] + 0.3 * by_hand(model, bag, target, k, instance_classes == "all")
        assert model.loss(bag, target, cross_entropy).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["clam-sb", "clam-mb"])
def test_a_bag_of_one_patch_has_no_instance_loss_and_can_be_trained_on(name):
    model, bag = make(name)
    loss = model.loss(bag[:1], 1, cross_entropy)
    assert loss.item() == pytest.approx(0.7 * -log_softmax(model(bag[:1]).logits.numpy())[1])
    loss.backward()


@pytest.mark.parametrize("name", ["clam-sb", "clam-mb"])
def test_the_loss_reaches_every_weight(name):
    model, bag = make(name)
    model.loss(bag, 1, cross_entropy).backward()
    still = [key for key, weight in model.named_parameters() if not weight.grad.abs().sum() > 0]
    assert still in ([], ["attention_w.bias"])  # a number added to all energies changes no softmax


def test_dropout_acts_in_training_alone():
    model, bag = make("clam-sb")
    model.dropout.p = 0.5
    torch.manual_seed(0)
    assert torch.equal(model.eval().loss(bag, 0, cross_entropy), model.loss(bag, 0, cross_entropy))
    model.train()
    assert not torch.equal(model.loss(bag, 0, cross_entropy), model.loss(bag, 0, cross_entropy))


def test_a_branch_of_the_multi_branch_model_is_the_single_branch_model_of_that_class():
    model, bag = make("clam-mb")
    state = model.state_dict()
    output = model(bag)
    for c in range(N_CLASSES):
        single, _ = make("clam-sb")
        branch = {key: state[key][c : c + 1] for key in ("attention_w.weight", "attention_w.bias")}
        single.load_state_dict(state | branch)
        alone = single(bag)
        assert float(alone.logits[c]) == pytest.approx(float(output.logits[c]))
        np.testing.assert_allclose(output.scores["attention"].raw[c], alone.scores["attention"].raw, rtol=1e-6)
        for key in ("instance_logit", "contribution", "leave_one_out"):
            np.testing.assert_allclose(output.scores[key].raw[c], alone.scores[key].raw[c], rtol=1e-5, atol=1e-9)


def test_single_branch_is_gated_attention_under_another_name():
    model, bag = make("clam-sb")
    gated = create_model("gated-attention", in_features=5, n_classes=N_CLASSES, hidden=7, attention_dim=4).double()
    gated.load_state_dict({key: value for key, value in model.state_dict().items() if "instance" not in key})
    one, two = model(bag), gated(bag)
    assert torch.equal(one.logits, two.logits)
    assert all(torch.equal(one.scores[key].raw, two.scores[key].raw) for key in two.scores)


def test_sizes_of_the_authors_small_model():
    count = {
        (name, n): sum(w.numel() for w in create_model(name, in_features=1024, n_classes=n).parameters())
        for name, n in (("clam-sb", 2), ("clam-mb", 3))
    }
    assert count == {("clam-sb", 2): 790_791, ("clam-mb", 3): 792_844}


@pytest.mark.parametrize("change", [{"attention": "wide"}, {"instance_classes": "some"}, {"k_sample": 0}])
def test_choices_that_are_none_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        make("clam-sb", **change)
