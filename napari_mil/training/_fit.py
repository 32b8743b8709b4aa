"""Fit one model: one bag at a time, class-weighted loss, early stopping on validation."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..triton_guard import prepare_optimizers
from ._metrics import bag_auc
from ._recipe import Recipe, learning_rate
from ._results import Epoch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models import MILModel


def fit(
    model: MILModel,
    bags: Sequence[NDArray[np.float32]],
    targets: NDArray[np.int64],
    train: NDArray[np.int64],
    val: NDArray[np.int64],
    recipe: Recipe,
    *,
    device: str = "cpu",
    stop: int | None = None,
) -> Generator[Epoch, None, int]:
    """Fit a fresh model in place and leave it at its best epoch.

    Features are standardised by the training bags' mean and standard deviation while fitting, which is folded into
    the model's first layer at the end: the fitted model takes the features as they are.

    Parameters
    ----------
    model : MILModel
        A fresh model; it ends in evaluation mode on the CPU.
    bags : sequence of (N, D) float32
        All bags.
    targets : (S,) int64
        Their classes.
    train, val : (n,) int64
        Positions to fit on and to stop early on; with an empty `val` all epochs are run and the last one kept.
    recipe : Recipe
        How.
    device : str
        Torch device.
    stop : int, optional
        End after this many epochs of the recipe's schedule.

    Yields
    ------
    Epoch
        After each epoch. Closing the generator leaves the model half fitted.

    Returns
    -------
    int
        The epoch that was kept, from 1.

    Raises
    ------
    ModelError
        If the loss is no longer finite.
    """
    last = recipe.epochs if stop is None else stop
    mean, std = standardisation([bags[row] for row in train])
    model.to(device)
    ready = _Standardised(bags, mean, std, device)
    weights = class_weights(targets[train], len(model.card.class_names)).to(device)
    prepare_optimizers()
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    order = np.random.default_rng(recipe.seed)
    best_loss, best_epoch, best_state = float("inf"), last, None
    for epoch in range(1, last + 1):
        lr = learning_rate(recipe, epoch)
        for group in optimiser.param_groups:
            group["lr"] = lr
        rows = order.permutation(train)
        train_loss = _pass(model, ready, targets, rows, weights, optimiser, recipe, epoch)
        if not np.isfinite(train_loss):
            raise ModelError(
                f"Training went astray in epoch {epoch}: the loss is {train_loss}. Lower the learning rate."
            )
        val_loss, val_auc = _validate(model, ready, targets, val, weights)
        yield Epoch(epoch, train_loss, val_loss, val_auc, lr)
        if val_loss < best_loss:
            best_loss, best_epoch, best_state = val_loss, epoch, deepcopy(model.state_dict())
        elif len(val) and recipe.patience is not None and epoch - best_epoch >= recipe.patience:
            break
    if best_state is not None:
        model.load_state_dict(best_state)
    model.to("cpu").eval()
    model.absorb_standardisation(mean, std)
    return best_epoch


def predict(model: MILModel, bag: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the class probabilities (C,) float64 of one bag (N, D)."""
    with torch.inference_mode():
        logits = model(torch.from_numpy(bag), scores=False).logits
    return model.probabilities(logits.cpu().double()).numpy()


def class_weights(targets: NDArray[np.int64], n_classes: int) -> Tensor:
    """Return (C,) float32 weights that let every class count the same: S / (C * bags of the class)."""
    counts = np.bincount(targets, minlength=n_classes)
    return torch.from_numpy((len(targets) / (n_classes * np.maximum(counts, 1))).astype(np.float32))


def standardisation(bags: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (D,) float64 of patch features, every bag counting the same.

    A feature that hardly varies is divided by a hundredth of the typical deviation instead of its own: what never
    varied in training must not drown all else when it does.
    """
    mean = np.mean([bag.mean(axis=0, dtype=np.float64) for bag in bags], axis=0)
    # a bag at a time: the squares of all bags at once would double the memory
    variance = np.mean([((bag - mean) ** 2).mean(axis=0) for bag in bags], axis=0)
    std = np.sqrt(variance)
    typical = float(np.median(std[std > 0])) if (std > 0).any() else 1.0
    return torch.from_numpy(mean), torch.from_numpy(np.maximum(std, 0.01 * typical))


class _Standardised:
    """Bags as standardised tensors, made when asked for."""

    def __init__(self, bags: Sequence[NDArray[np.float32]], mean: Tensor, std: Tensor, device: str) -> None:
        self._bags, self._device = bags, device
        self._mean, self._std = (t.float().to(device) for t in (mean, std))

    def __getitem__(self, row: int) -> Tensor:
        return (torch.from_numpy(self._bags[row]).to(self._device) - self._mean) / self._std


def _pass(
    model: MILModel,
    bags: _Standardised,
    targets: NDArray[np.int64],
    rows: NDArray[np.int64],
    weights: Tensor,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    epoch: int,
) -> float:
    """Run one epoch; return its loss. Dropout draws from torch's global generator, so that is lent and put back."""
    total, weight_sum = 0.0, 0.0
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)
        model.train()
        for step in np.array_split(rows, -(-len(rows) // recipe.bags_per_step)):
            optimiser.zero_grad()
            for row in step:
                weight = weights[targets[row]]
                loss = weight * model.loss(bags[row], int(targets[row]), _cross_entropy)
                (loss / len(step)).backward()  # type: ignore[no-untyped-call]
                total, weight_sum = total + float(loss.detach()), weight_sum + float(weight)
            optimiser.step()
        model.eval()
    return total / weight_sum


@torch.no_grad()
def _validate(
    model: MILModel, bags: _Standardised, targets: NDArray[np.int64], rows: NDArray[np.int64], weights: Tensor
) -> tuple[float, float]:
    if len(rows) == 0:
        return float("nan"), float("nan")
    logits = torch.stack([model(bags[row], scores=False).logits for row in rows])  # (n, C)
    truth = torch.from_numpy(targets[rows]).to(logits.device)
    loss = nn.functional.cross_entropy(logits, truth, weight=weights)
    return float(loss), bag_auc(targets[rows], torch.softmax(logits.cpu().double(), dim=1).numpy())


def _cross_entropy(logits: Tensor, target: int) -> Tensor:
    return torch.logsumexp(logits, dim=0) - logits[target]
