"""Linear layers as convolutions: the same numbers, whatever lies in the rows and however they lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_mil.errors import ModelError
from napari_mil.models import _product, create_model


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Let every processor convolve, and count how often it does."""
    monkeypatch.setattr(_product, "_wide", lambda: True)
    calls = []
    inner = _product._convolved
    monkeypatch.setattr(_product, "_convolved", lambda layer, rows: calls.append(rows.shape) or inner(layer, rows))
    return calls


def make_layer(columns: int, out: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(columns + out)
    return nn.Linear(columns, out, bias=bias)


def in_double(layer: nn.Linear, rows: torch.Tensor) -> torch.Tensor:
    bias = 0 if layer.bias is None else layer.bias.double()
    return (rows.double() @ layer.weight.double().T + bias).detach()


# one convolution, two halves, and parts of which the last is smaller
@pytest.mark.parametrize(("n", "columns", "out"), [(64, 40, 32), (300, 1024, 128), (100, 3000, 100), (701, 1024, 301)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_one_pixel_is_the_linear_layer(wide, n, columns, out, bias):
    layer, rows = make_layer(columns, out, bias), torch.randn(n, columns, generator=torch.Generator().manual_seed(n))
    with torch.no_grad():
        found = _product.linear(layer, rows)
    assert wide == [(n, columns)]
    assert found.shape == (n, out)
    np.testing.assert_allclose(found, in_double(layer, rows), rtol=0, atol=1e-5)


def test_rows_that_are_few_or_lie_apart_and_gradients_are_left_to_the_layer(wide):
    layer = make_layer(40, 32)
    rows = torch.randn(80, 80, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for some in (rows[:9, :40].contiguous(), rows[:, ::2], rows[:, :40].double()):
            kind = layer.double() if some.dtype == torch.float64 else layer.float()
            np.testing.assert_allclose(_product.linear(kind, some), in_double(kind, some), atol=1e-5)
    layer.float()
    answer = _product.linear(layer, rows[:, :40].contiguous())
    answer.sum().backward()
    assert layer.weight.grad is not None
    assert wide == []


class Doubled(nn.Linear):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(rows)


def test_layers_that_compute_something_else_or_are_listened_to_are_called_themselves(wide):
    """A layer may be replaced by a low-rank one, be watched by a hook, or have its weight made by one."""
    rows = torch.randn(80, 40, generator=torch.Generator().manual_seed(0))
    watched, made, parametrised = make_layer(40, 32), make_layer(40, 32), make_layer(40, 32)
    heard = []
    watched.register_forward_hook(lambda layer, given, answer: heard.append(answer))
    made.register_forward_pre_hook(lambda layer, given: (nn.init.constant_(layer.weight, 0.25), given)[1])
    nn.utils.parametrizations.spectral_norm(parametrised).eval()
    with torch.no_grad():
        assert _product.linear(watched, rows) is heard[0]
        expected = 0.25 * rows.sum(dim=1, keepdim=True) + made.bias
        np.testing.assert_allclose(_product.linear(made, rows), expected, atol=1e-4)
        for layer in (Doubled(40, 32), parametrised):
            assert torch.equal(_product.linear(layer, rows), layer(rows))
    assert wide == []


@pytest.mark.parametrize("name", ["attention", "gated-attention", "clam-sb", "dsmil", "dtfd"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_patch_that_is_not_finite_among_many_is_refused(wide, name, bad):
    model = create_model(name, in_features=64, n_classes=2, seed=0)
    bag = torch.randn(300, 64, generator=torch.Generator().manual_seed(1))
    bag[217, 5] = bad
    with pytest.raises(ModelError, match="not finite"):
        model(bag)
    assert wide


@pytest.mark.parametrize(
    "name", ["mean", "attention", "gated-attention", "softmax-attention", "clam-mb", "dsmil", "dtfd"]
)
def test_scores_in_single_precision_are_those_in_double(wide, name):
    model = create_model(name, in_features=64, n_classes=2, seed=0)
    bag = torch.randn(3000, 64, generator=torch.Generator().manual_seed(2))
    single = model(bag)
    assert wide
    double = model.double()(bag.double())
    np.testing.assert_allclose(single.logits, double.logits, atol=1e-6)
    for key, score in double.scores.items():
        scale = float(score.raw.abs().max())
        np.testing.assert_allclose(single.scores[key].raw, score.raw, atol=2e-4 * scale, err_msg=key)
