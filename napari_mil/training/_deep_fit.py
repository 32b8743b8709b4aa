"""Fit encoder and pooling together: one bag at a time, two learning rates, early stopping on validation."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..triton_guard import prepare_optimizers
from ._deep_patches import as_images, augmented, spread
from ._fit import standardisation
from ._losses import class_weights
from ._metrics import bag_auc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ._deep import DeepMIL

_LONGEST = 1.0  # norm of a step's gradient: one odd bag must not undo what an encoder has learned elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning:
    """How an encoder and a pooling are fitted together, by AdamW.

    Parameters
    ----------
    epochs : int
        Most passes over the training slides. Both learning rates rise in a straight line over the first pass, then
        fall along a half cosine over the rest.
    encoder_lr, lr : float
        Highest learning rate of the encoder and of the pooling.
    weight_decay : float
        Of both.
    patience : int
        Stop after this many epochs without a lower validation loss.
    bags_per_step : int
        Slides whose gradients are averaged in one step.
    patches : int
        Patches of a slide that one step sees, drawn anew each time and spread over the slide's tissue.
    chunk : int
        Patches encoded at once; sets the memory, changes no gradient.
    seed : int
        Seed of everything drawn.
    """

    epochs: int = 20
    encoder_lr: float = 3e-5
    lr: float = 3e-4
    weight_decay: float = 1e-4
    patience: int = 5
    bags_per_step: int = 4
    patches: int = 64
    chunk: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "bags_per_step", "patches", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("encoder_lr", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must not be negative, not {self.weight_decay}")


@dataclass(frozen=True, slots=True)
class DeepEpoch:
    """What one pass over the training slides came to.

    Parameters
    ----------
    epoch : int
        From 1.
    train_loss, val_loss : float
        Class-weighted loss; the validation loss is NaN where nothing was held out.
    val_auc : float
        `bag_auc` on validation; NaN where it has none.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_auc: float


def fit_deep(
    model: DeepMIL,
    pools: Sequence[NDArray[np.uint8]],
    targets: NDArray[np.int64],
    train: NDArray[np.int64],
    val: NDArray[np.int64],
    recipe: FineTuning,
    *,
    stop: int | None = None,
) -> Generator[DeepEpoch | bool, None, int]:
    """Fit a model in place, where it is, and leave it at its best epoch.

    Parameters
    ----------
    model : DeepMIL
        The encoder as it was given, a fresh pooling; it ends in evaluation mode.
    pools : sequence of (n, T, T, 3) uint8
        Patches of every slide.
    targets : (S,) int64
        Their classes.
    train, val : (n,) int64
        Slides to fit on and to stop early on; with an empty `val` all epochs are run and the last one kept.
    recipe : FineTuning
        How.
    stop : int, optional
        End after this many epochs of the recipe's schedule.

    Yields
    ------
    DeepEpoch or bool
        True after each slide that was learned from, False in between, so that the caller can report and be cancelled;
        after each epoch what it came to.

    Returns
    -------
    int
        The epoch that was kept, from 1.

    Raises
    ------
    ModelError
        If the loss is no longer finite, or memory does not suffice for a chunk.
    """
    prepare_optimizers()
    rng = np.random.default_rng(recipe.seed)
    yield from _standardise(model, pools, train, recipe)
    weights = class_weights(targets[train], len(model.pooling.card.class_names)).to(model.device)
    steps = -(-len(train) // recipe.bags_per_step)
    stepper = _Stepper(model, recipe, steps)
    last = recipe.epochs if stop is None else stop
    best_loss, best_epoch, best_state = math.inf, last, None
    for epoch in range(1, last + 1):
        total, weight_sum = 0.0, 0.0
        for rows in np.array_split(rng.permutation(train), steps):
            for row in rows:
                weight = weights[targets[row]]
                total += stepper.learn(pools[row], int(targets[row]), weight, len(rows), rng)
                weight_sum += float(weight)
                yield True
            stepper.step()
        if not math.isfinite(total):
            raise ModelError(
                f"Fine-tuning went astray in epoch {epoch}: the loss is {total}. Lower the learning rates."
            )
        val_loss, val_auc = yield from _validate(model, pools, targets, val, weights)
        yield DeepEpoch(epoch, total / weight_sum, val_loss, val_auc)
        if val_loss < best_loss:
            best_loss, best_epoch = val_loss, epoch
            best_state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        elif len(val) and epoch - best_epoch >= recipe.patience:
            break
    if best_state is not None:
        model.load_state_dict(best_state)
    return best_epoch


class _Stepper:
    """Sums gradients slide by slide and takes a step after several."""

    def __init__(self, model: DeepMIL, recipe: FineTuning, steps: int) -> None:
        self._model, self._patches = model, recipe.patches
        groups = list(model.parameter_groups(recipe.encoder_lr, recipe.lr))
        self._optimiser = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
        factor = partial(_rate, warm_up=steps, total=recipe.epochs * steps)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, factor)
        self._scaler = torch.amp.GradScaler("cuda", enabled=model.scaled)

    def learn(
        self, pool: NDArray[np.uint8], target: int, weight: Tensor, share: int, rng: np.random.Generator
    ) -> float:
        """Add a slide's gradient; return its weighted loss. Dropout draws from a seed of its own."""
        images = augmented(as_images(pool[spread(len(pool), self._patches, rng)]), rng)
        device = self._model.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), _enough_memory(self._model.chunk):
            torch.manual_seed(int(rng.integers(2**63)))
            self._model.train()
            loss = weight * self._model.loss(images, target, _cross_entropy)
            self._scaler.scale(loss / share).backward()  # type: ignore[no-untyped-call]
            self._model.eval()
        return float(loss.detach())

    def step(self) -> None:
        """Step along the mean gradient, its length held to `_LONGEST`."""
        self._scaler.unscale_(self._optimiser)
        nn.utils.clip_grad_norm_(self._model.parameters(), _LONGEST)
        before = self._scaler.get_scale()
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if self._scaler.get_scale() >= before:  # else the step was left out: its gradients were too large for float16
            self._schedule.step()
        self._optimiser.zero_grad()


def encode_pool(model: DeepMIL, pool: NDArray[np.uint8]) -> Generator[bool, None, Tensor]:
    """Encode a slide's patches as they are, without gradients.

    Parameters
    ----------
    model : DeepMIL
        In evaluation mode.
    pool : (n, T, T, 3) uint8
        The patches.

    Yields
    ------
    bool
        False after each chunk.

    Returns
    -------
    (n, D) tensor
        Standardised features, where the model is.
    """
    parts = []
    for start in range(0, len(pool), model.chunk):
        with torch.no_grad(), _enough_memory(model.chunk):
            parts.append(model.standardised(as_images(pool[start : start + model.chunk])))
        yield False
    return torch.cat(parts)


def predict_pool(model: DeepMIL, pool: NDArray[np.uint8]) -> Generator[bool, None, NDArray[np.float64]]:
    """Return the class probabilities (C,) of a slide by its patches; yields as `encode_pool`."""
    bag = yield from encode_pool(model, pool)
    with torch.no_grad():
        logits = model.pooling(bag, scores=False).logits
    probabilities: NDArray[np.float64] = model.pooling.probabilities(logits.cpu().double()).numpy()
    return probabilities


def _standardise(
    model: DeepMIL, pools: Sequence[NDArray[np.uint8]], train: NDArray[np.int64], recipe: FineTuning
) -> Generator[bool, None, None]:
    """Set the model's standardisation by what the encoder makes of the training slides before it learns."""
    rng = np.random.default_rng([recipe.seed, 1])
    bags = []
    for row in train:
        bag = yield from encode_pool(model, pools[row][spread(len(pools[row]), recipe.patches, rng)])
        bags.append(bag.cpu().numpy())
    model.standardise(*standardisation(bags))


def _validate(
    model: DeepMIL,
    pools: Sequence[NDArray[np.uint8]],
    targets: NDArray[np.int64],
    rows: NDArray[np.int64],
    weights: Tensor,
) -> Generator[bool, None, tuple[float, float]]:
    if len(rows) == 0:
        return math.nan, math.nan
    logits = []
    for row in rows:
        bag = yield from encode_pool(model, pools[row])
        with torch.no_grad():
            logits.append(model.pooling(bag, scores=False).logits)
    stacked, truth = torch.stack(logits), torch.from_numpy(targets[rows]).to(model.device)
    loss = nn.functional.cross_entropy(stacked, truth, weight=weights)
    return float(loss), bag_auc(targets[rows], torch.softmax(stacked.cpu().double(), dim=1).numpy())


def _rate(step: int, *, warm_up: int, total: int) -> float:
    """Return the share of the learning rate at a step, from 0: straight up over `warm_up`, a half cosine down."""
    if step < warm_up:
        return (step + 1) / warm_up
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up))) / 2


def _cross_entropy(logits: Tensor, target: int) -> Tensor:
    return torch.logsumexp(logits, dim=0) - logits[target]


@contextmanager
def _enough_memory(chunk: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as err:
        raise ModelError(f"The GPU has not enough memory for {chunk} patches at once. Encode fewer (--chunk).") from err
