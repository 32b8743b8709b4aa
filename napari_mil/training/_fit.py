"""Fit one model: epoch after epoch along a recipe, stopped by validation, able to go on after a kill."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ._draw import epoch_items, hard_patches
from ._epochs import Epochs
from ._losses import class_weights, criterion, entropy
from ._metrics import bag_auc
from ._optimise import Stepper
from ._recipe import Recipe, learning_rate
from ._results import Epoch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models import MILModel


class Keeper(Protocol):
    """Keeps the state of a fit from one process to the next."""

    def load(self) -> Mapping[str, Any] | None:
        """Return the state to go on from, or None."""

    def save(self, make: Callable[[], dict[str, Any]]) -> None:
        """Keep the state that `make` returns: dicts, lists, numbers, text and tensors."""


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
    keeper: Keeper | None = None,
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
    keeper : Keeper, optional
        Keeps the state after each epoch. Where it has one, the fit goes on from there, and on a CPU ends with the very
        weights that it would have had.

    Yields
    ------
    Epoch
        After each epoch; first those that were finished before. Closing the generator leaves the model half fitted.

    Returns
    -------
    int
        The epoch that was kept, from 1.

    Raises
    ------
    ModelError
        If the loss is no longer finite, the model has no attention whose entropy could count, or the precision is none
        for the device.
    """
    if recipe.entropy_weight and not model.attends:
        raise ModelError(
            f"The entropy of attention cannot count in training {model.card.pooling}, which has no attention that sums "
            "to 1 over the patches. Choose another pooling, or an entropy weight of 0."
        )
    mean, std = standardisation(Picked(bags, train))
    model.to(device)
    fitting = _Fitting(model, _Standardised(bags, mean, std, device), targets, train, val, recipe)
    saved = keeper.load() if keeper is not None else None
    if saved is not None:
        fitting.load(saved)
    yield from fitting.history
    last = recipe.epochs if stop is None else stop
    while not fitting.is_done(last):
        fitting.advance()
        if keeper is not None:
            keeper.save(fitting.state)
        yield fitting.history[-1]
    fitting.keep()
    model.to("cpu").eval()
    model.absorb_standardisation(mean, std)
    return fitting.best_epoch


class Picked(Sequence["NDArray[np.float32]"]):
    """Some bags of a collection in an order, each fetched when it is asked for."""

    def __init__(self, source: Any, keys: Sequence[Any] | NDArray[np.int64]) -> None:
        self._source, self._keys = source, keys

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place: Any) -> Any:
        return self._source[self._keys[place]]


def predict(model: MILModel, bag: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the class probabilities (C,) float64 of one bag (N, D)."""
    with torch.inference_mode():
        logits = model(torch.from_numpy(bag), scores=False).logits
    return model.probabilities(logits.cpu().double()).numpy()


def standardisation(bags: Iterable[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
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
        self.raw, self._device = bags, device
        self._mean, self._std = (t.float().to(device) for t in (mean, std))

    def __call__(self, row: int, patches: NDArray[np.int64] | None = None) -> Tensor:
        bag = self.raw[row] if patches is None else self.raw[row][patches]
        return (torch.from_numpy(bag).to(self._device) - self._mean) / self._std


class _Fitting(Epochs):
    """A fit as far as it has come."""

    def __init__(
        self,
        model: MILModel,
        bags: _Standardised,
        targets: NDArray[np.int64],
        train: NDArray[np.int64],
        val: NDArray[np.int64],
        recipe: Recipe,
    ) -> None:
        self.model, self.bags, self.recipe = model, bags, recipe
        self.targets, self.train, self.val = targets, train, val
        weights = class_weights(targets[train], len(model.card.class_names))
        self.weights = weights if recipe.class_weights else torch.ones_like(weights)
        self.criterion = criterion(recipe)
        self.sizes = {row: len(bags.raw[row]) for row in train.tolist()} if recipe.max_patches else {}
        self.stepper = Stepper(model, recipe)
        super().__init__(model, self.stepper)
        self.hard: dict[int, NDArray[np.int64]] = {}

    def is_done(self, last: int) -> bool:
        """Tell whether all epochs are run, or patience has ended."""
        epoch, recipe = len(self.history), self.recipe
        if epoch >= last:
            return True
        patient = recipe.patience is None or not len(self.val) or epoch < recipe.stop_from
        return not patient and epoch - self._least_loss_epoch() >= recipe.patience  # type: ignore[operator]

    def advance(self) -> None:
        """Run one more epoch."""
        epoch, recipe = len(self.history) + 1, self.recipe
        lr = learning_rate(recipe, epoch)
        self.stepper.set_rate(lr)
        train_loss = self._pass(epoch)
        if not np.isfinite(train_loss):
            raise ModelError(
                f"Training went astray in epoch {epoch}: the loss is {train_loss}. Lower the learning rate."
            )
        val_loss, val_auc = self._validate()
        counts = recipe.keep == "best" and epoch > recipe.keep_after * recipe.epochs
        self.add(Epoch(epoch, train_loss, val_loss, val_auc, lr), counts=counts)
        if recipe.hard_share:
            self.hard = hard_patches(self.model, self.bags, self.train, self.targets, recipe.hard_share)

    def state(self) -> dict[str, Any]:
        """Return all that the next epochs depend on, hard patches too."""
        return super().state() | {"hard": {row: torch.from_numpy(patches) for row, patches in self.hard.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        super().load(state)
        self.hard = {row: patches.numpy() for row, patches in state["hard"].items()}

    def _least_loss_epoch(self) -> int:
        return int(np.argmin([epoch.val_loss for epoch in self.history])) + 1

    def _pass(self, epoch: int) -> float:
        """Run one epoch; return its loss. Dropout draws from torch's global generator, which is lent and put back."""
        recipe, model = self.recipe, self.model
        items = list(epoch_items(self.train, self.targets, self.sizes, self.hard, recipe, epoch))
        device = next(model.parameters()).device
        losses = []
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(recipe.seed * 1_000_003 + epoch)
            model.train()
            for places in np.array_split(np.arange(len(items)), -(-len(items) // recipe.bags_per_step)):
                for row, patches in (items[place] for place in places):
                    losses.append(self._learn(self.bags(row, patches), int(self.targets[row]), len(places)))
                self.stepper.step()
            model.eval()
        weights = self.weights[self.targets[[row for row, _ in items]]]
        return float(torch.stack(losses).cpu().double() @ weights.double() / weights.sum().double())

    def _learn(self, bag: Tensor, target: int, n: int) -> Tensor:
        """Add the gradients of one bag of a step of n; return its loss less its class's weight."""
        seen: list[Tensor] = []
        weigh = self.recipe.entropy_weight
        self.model.note_attention = seen.append if weigh else None
        try:
            with self.stepper.autocast():
                loss = self.model.loss(bag, target, self.criterion)
        finally:
            self.model.note_attention = None
        objective = float(self.weights[target]) * loss
        if weigh:
            objective = objective - weigh * entropy(seen)
        self.stepper.backward(objective / n)
        return loss.detach()

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        if len(self.val) == 0:
            return float("nan"), float("nan")
        logits = torch.stack([self.model(self.bags(row), scores=False).logits for row in self.val]).cpu()  # (n, C)
        truth = self.targets[self.val]
        weights = self.weights[truth].double()
        losses = torch.stack([self.criterion(y, int(t)) for y, t in zip(logits.double(), truth, strict=True)])
        auc = bag_auc(truth, torch.softmax(logits.double(), dim=1).numpy())
        return float(losses.double() @ weights / weights.sum()), auc
