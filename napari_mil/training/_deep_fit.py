"""Fit encoder and pooling together: two learning rates, stopped by validation, able to go on after a kill."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..triton_guard import prepare_optimizers
from ._deep_patches import as_images, augmented, spread
from ._deep_predict import encode_pool, enough_memory
from ._epochs import Epochs
from ._fit import standardisation
from ._losses import class_weights
from ._metrics import bag_auc
from ._results import Epoch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._deep import DeepMIL
    from ._deep_recipe import FineTuning
    from ._fit import Keeper

_LONGEST = 1.0  # norm of a step's gradient: one odd bag must not undo what an encoder has learned elsewhere
_BEFORE = 0  # stands for an epoch in the seed of what is drawn before the first


def fit_deep(
    model: DeepMIL,
    pools: Sequence[NDArray[np.uint8]],
    targets: NDArray[np.int64],
    train: NDArray[np.int64],
    val: NDArray[np.int64],
    recipe: FineTuning,
    *,
    stop: int | None = None,
    keeper: Keeper | None = None,
) -> Generator[Epoch | bool, None, int]:
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
    keeper : Keeper, optional
        Keeps the state after each epoch. Where it has one, the fit goes on from there, and on a CPU ends with the very
        weights that it would have had.

    Yields
    ------
    Epoch or bool
        True after each slide that was learned from, False in between, so that the caller can report and be cancelled;
        after each epoch what it came to, first those that were finished before.

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
    fitting = _Fitting(model, pools, targets, train, val, recipe)
    saved = keeper.load() if keeper is not None else None
    if saved is None:
        yield from fitting.standardise()
    else:
        fitting.load(saved)
    yield from fitting.history
    last = recipe.epochs if stop is None else stop
    while not fitting.is_done(last):
        yield from fitting.advance()
        if keeper is not None:
            keeper.save(fitting.state)
        yield fitting.history[-1]
    fitting.keep()
    return fitting.best_epoch


class _Fitting(Epochs):
    """A fit as far as it has come."""

    def __init__(
        self,
        model: DeepMIL,
        pools: Sequence[NDArray[np.uint8]],
        targets: NDArray[np.int64],
        train: NDArray[np.int64],
        val: NDArray[np.int64],
        recipe: FineTuning,
    ) -> None:
        self.model, self.pools, self.recipe = model, pools, recipe
        self.targets, self.train, self.val = targets, train, val
        self.weights = class_weights(targets[train], len(model.pooling.card.class_names)).to(model.device)
        self.stepper = _Stepper(model, recipe, -(-len(train) // recipe.bags_per_step))
        super().__init__(model, self.stepper)

    def standardise(self) -> Generator[bool, None, None]:
        """Set the model's standardisation by what the encoder makes of the training slides before it learns."""
        rng = np.random.default_rng([self.recipe.seed, _BEFORE])
        bags = []
        for row in self.train:
            pool = self.pools[row]
            bag = yield from encode_pool(self.model, pool[spread(len(pool), self.recipe.patches, rng)])
            bags.append(bag.cpu().numpy())
        self.model.standardise(*standardisation(bags))

    def is_done(self, last: int) -> bool:
        """Tell whether all epochs are run, or patience has ended."""
        epoch = len(self.history)
        return epoch >= last or (len(self.val) > 0 and epoch - self.best_epoch >= self.recipe.patience)

    def advance(self) -> Generator[bool, None, None]:
        """Run one more epoch. What it draws follows from seed and epoch alone."""
        epoch, stepper = len(self.history) + 1, self.stepper
        rng = np.random.default_rng([self.recipe.seed, epoch])
        total, weight_sum = 0.0, 0.0
        for rows in np.array_split(rng.permutation(self.train), stepper.per_epoch):
            for row in rows:
                weight = self.weights[self.targets[row]]
                total += stepper.learn(self.pools[row], int(self.targets[row]), weight, len(rows), rng)
                weight_sum += float(weight)
                yield True
            stepper.step()
        if not math.isfinite(total):
            raise ModelError(
                f"Fine-tuning went astray in epoch {epoch}: the loss is {total}. Lower the learning rates."
            )
        val_loss, val_auc = yield from self._validate()
        self.add(Epoch(epoch, total / weight_sum, val_loss, val_auc, stepper.rate * self.recipe.lr))

    def _validate(self) -> Generator[bool, None, tuple[float, float]]:
        if len(self.val) == 0:
            return math.nan, math.nan
        logits = []
        for row in self.val:
            bag = yield from encode_pool(self.model, self.pools[row])
            with torch.no_grad():
                logits.append(self.model.pooling(bag, scores=False).logits)
        classes = self.targets[self.val]
        stacked, truth = torch.stack(logits), torch.from_numpy(classes).to(self.model.device)
        loss = nn.functional.cross_entropy(stacked, truth, weight=self.weights)
        return float(loss), bag_auc(classes, torch.softmax(stacked.cpu().double(), dim=1).numpy())


class _Stepper:
    """Sums gradients slide by slide and takes a step after several.

    Parameters
    ----------
    model : DeepMIL
        On its device.
    recipe : FineTuning
        How.
    per_epoch : int
        Steps of an epoch.
    """

    def __init__(self, model: DeepMIL, recipe: FineTuning, per_epoch: int) -> None:
        self._model, self._recipe, self.per_epoch = model, recipe, per_epoch
        self._highest = (recipe.encoder_lr, recipe.lr)
        groups = list(model.parameter_groups(*self._highest))
        self._optimiser = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
        self._scaler = torch.amp.GradScaler("cuda", enabled=model.scaled)
        self._taken = 0
        self.rate = 0.0

    def learn(
        self, pool: NDArray[np.uint8], target: int, weight: Tensor, share: int, rng: np.random.Generator
    ) -> float:
        """Add a slide's gradient; return its weighted loss. Dropout draws from a seed of its own."""
        images = augmented(as_images(pool[spread(len(pool), self._recipe.patches, rng)]), rng)
        device = self._model.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), enough_memory(self._model.chunk):
            torch.manual_seed(int(rng.integers(2**63)))
            self._model.train()
            loss = weight * self._model.loss(images, target, _cross_entropy)
            self._scaler.scale(loss / share).backward()  # type: ignore[no-untyped-call]
            self._model.eval()
        return float(loss.detach())

    def step(self) -> None:
        """Step along the mean gradient, its length held to `_LONGEST`; `rate` is the share of the learning rates."""
        self.rate = _rate(self._taken, warm_up=self.per_epoch, total=self._recipe.epochs * self.per_epoch)
        for group, highest in zip(self._optimiser.param_groups, self._highest, strict=True):
            group["lr"] = self.rate * highest
        self._scaler.unscale_(self._optimiser)
        nn.utils.clip_grad_norm_(self._model.parameters(), _LONGEST)
        before = self._scaler.get_scale()
        self._scaler.step(self._optimiser)
        self._scaler.update()
        # a step is left out where its gradients were too large for float16
        self._taken += self._scaler.get_scale() >= before
        self._optimiser.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {"optimiser": self._optimiser.state_dict(), "scaler": self._scaler.state_dict(), "taken": self._taken}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._optimiser.load_state_dict(state["optimiser"])
        self._taken = state["taken"]
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state["scaler"])


def _rate(step: int, *, warm_up: int, total: int) -> float:
    """Return the share of the learning rate at a step, from 0: straight up over `warm_up`, a half cosine down."""
    if step < warm_up:
        return (step + 1) / warm_up
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up))) / 2


def _cross_entropy(logits: Tensor, target: int) -> Tensor:
    return torch.logsumexp(logits, dim=0) - logits[target]
