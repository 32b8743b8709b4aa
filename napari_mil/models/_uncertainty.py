"""Predictions with dropout left on: how much a model's answer depends on its own chance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ._base import BagOutput, MILModel
from ._registry import no_dropout


def check_dropout(model: MILModel) -> None:
    """Refuse a model that has no dropout to leave on.

    Parameters
    ----------
    model : MILModel
        The model.

    Raises
    ------
    ModelError
        If every pass would say the same.
    """
    if not any(layer.p > 0 for layer in _dropouts(model)):
        raise no_dropout(model.card)


def dropout_passes(model: MILModel, bag: Tensor, passes: int, seed: int = 0) -> Iterator[BagOutput]:
    """Predict a bag several times with dropout on (Monte Carlo dropout), all else as in evaluation.

    Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016: the passes are draws from an approximate
    posterior; their mean is the prediction, their spread says how sure the model is of it.

    Parameters
    ----------
    model : MILModel
        The model; between passes and afterwards in evaluation mode.
    bag : (N, D) floating tensor
        The bag.
    passes : int
        How many, 2 or more.
    seed : int
        The same seed draws the same passes on the same device. The global generators are left as they were.

    Yields
    ------
    BagOutput
        One per pass, with its scores.

    Raises
    ------
    ValueError
        If there are fewer than two passes.
    ModelError
        If the model has no dropout.
    """
    if passes < 2:
        raise ValueError(f"a spread takes at least 2 passes, not {passes}")
    check_dropout(model)
    seeds = torch.randint(2**62, (passes,), generator=torch.Generator().manual_seed(seed)).tolist()
    for drawn in seeds:
        with _dropout_on(model), torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(drawn)
            output = model(bag)
        yield output  # outside: a consumer that stops here leaves nothing switched


def _dropouts(model: nn.Module) -> list[nn.modules.dropout._DropoutNd]:
    return [layer for layer in model.modules() if isinstance(layer, nn.modules.dropout._DropoutNd)]


@contextmanager
def _dropout_on(model: MILModel) -> Iterator[None]:
    """Switch the dropout layers on and nothing else: norms and what a model does in training stay off."""
    model.eval()
    layers = _dropouts(model)
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()
