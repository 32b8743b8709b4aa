"""What is minimised: cross-entropy or focal loss of a bag, and the entropy of its attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._recipe import Recipe


def criterion(recipe: Recipe) -> Callable[[Tensor, int], Tensor]:
    r"""Return the recipe's loss of logits (C,) against a class, without the class's weight.

    Cross-entropy :math:`-\log p_y`, or focal loss :math:`-(1 - p_y)^\gamma \log p_y`.
    """
    if recipe.loss == "cross-entropy":
        return _cross_entropy
    gamma = recipe.focal_gamma

    def focal(logits: Tensor, target: int) -> Tensor:
        loss = _cross_entropy(logits, target)
        return (-torch.expm1(-loss)) ** gamma * loss  # 1 - p without losing digits where p is near 1

    return focal


def _cross_entropy(logits: Tensor, target: int) -> Tensor:
    logits = logits.float() if logits.dtype != torch.float64 else logits
    return -torch.log_softmax(logits, dim=0)[target]


def class_weights(targets: NDArray[np.int64], n_classes: int) -> Tensor:
    """Return (C,) float32 weights that let every class count the same: S / (C * bags of the class)."""
    counts = np.bincount(targets, minlength=n_classes)
    return torch.from_numpy((len(targets) / (n_classes * np.maximum(counts, 1))).astype(np.float32))


def entropy(attention: Sequence[Tensor]) -> Tensor:
    """Return the mean entropy, in nats, of attentions (N,) or (N, K), each of which sums to 1 over its N patches."""
    columns = [_entropy(a.float().reshape(len(a), -1)) for a in attention]
    return torch.cat(columns).mean()


def _entropy(a: Tensor) -> Tensor:
    a = a.clamp_min(torch.finfo(a.dtype).tiny)  # where attention has underflowed its log has no gradient
    return -(a * a.log()).sum(dim=0)  # (K,)
