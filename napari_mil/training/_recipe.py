"""How a model is fitted: one value that holds every choice, and the recipes that have a name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

Optimiser = Literal["adamw", "adam", "lookahead-radam"]
Schedule = Literal["cosine", "constant", "steps"]
Sampling = Literal["each", "balanced"]
Loss = Literal["cross-entropy", "focal"]
Precision = Literal["float32", "bfloat16", "float16"]
Keep = Literal["best", "last"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    r"""How a model is fitted. `RECIPES` holds those with a name; ``dataclasses.replace`` changes one of them.

    Parameters
    ----------
    epochs : int
        Most passes over the training bags.
    optimiser : {"adamw", "adam", "lookahead-radam"}
        "adam" adds the weight decay to the gradient, "adamw" takes it off the weights; "lookahead-radam" is RAdam
        within `Lookahead`.
    lr, weight_decay, betas
        Of the optimiser.
    schedule : {"cosine", "constant", "steps"}
        How the learning rate goes from epoch to epoch: along a half cosine from `lr` to `lr_end` over all epochs; not
        at all; or times `step_factor` every `step_epochs`. See `learning_rate`.
    lr_end : float
        Where the cosine ends.
    step_epochs, step_factor
        Of "steps".
    warmup_epochs : int
        Epochs before the schedule begins, in which the learning rate rises in a straight line.
    patience : int or None
        Stop after so many epochs without a lower validation loss; None runs all epochs.
    stop_from : int
        First epoch after which patience may stop.
    keep : {"best", "last"}
        The epoch with the lowest validation loss, or the last, whatever validation says.
    keep_after : float
        Share of the epochs of which none may be kept as the best.
    bags_per_step : int
        Bags whose gradients are averaged in one step.
    clip_norm : float
        Longest gradient (Euclidean norm over all weights) that a step takes; a longer one is scaled to it. 0: any.
    loss : {"cross-entropy", "focal"}
        Focal loss is cross-entropy times :math:`(1 - p)^\gamma`, p being the probability of the true class.
    focal_gamma : float
        :math:`\gamma`. Lin et al., "Focal loss for dense object detection", ICCV 2017, equation 4.
    class_weights : bool
        Weigh the loss so that every class counts the same however many bags it has.
    sampling : {"each", "balanced"}
        Each bag once an epoch; or as many draws with replacement, every class being as likely as any other.
    entropy_weight : float
        :math:`\lambda` in :math:`\mathrm{loss} - \lambda H(a)` with the entropy
        :math:`H(a) = -\sum_i a_i \log a_i` of the bag's attention: positive spreads attention over more patches,
        negative gathers it. Zhang et al., "AEM: attention entropy maximization for multiple instance learning based
        whole slide image classification", MICCAI 2025. For models with ``attends``; others are refused.
    hard_share : float
        Hard patches shown once more. After each epoch every training bag of the first class, which must be the one
        whose bags hold nothing of the others ("normal"), is predicted. Of each that is taken for another class, this
        share of its patches (at least one), those that speak most for that class by `hard_score`, makes one more bag
        of the first class in the next epoch: each patch of a negative bag is negative, so its label is
        certain. 0: none.
        After Li et al., "Deep instance-level hard negative mining model for histopathology images", MICCAI 2019, who
        mix the hard patches of several bags; here each bag's own stay together.
    max_patches : int
        Most patches of a bag that a training pass looks at: from a larger bag as many are drawn anew each epoch, in
        their order. Validation and test always take all. 0: all.
    precision : {"float32", "bfloat16", "float16"}
        What matrices are multiplied in while training; the weights stay float32. float16 needs a CUDA
        device, bfloat16 that or a CPU (it gains where the processor knows it).
    seed : int
        Seed of initial weights, order, sampling and dropout.
    """

    epochs: int = 100
    optimiser: Optimiser = "adamw"
    lr: float = 3e-4
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Schedule = "cosine"
    lr_end: float = 0.0
    step_epochs: int = 10
    step_factor: float = 0.5
    warmup_epochs: int = 0
    patience: int | None = 15
    stop_from: int = 1
    keep: Keep = "best"
    keep_after: float = 0.0
    bags_per_step: int = 1
    clip_norm: float = 0.0
    loss: Loss = "cross-entropy"
    focal_gamma: float = 2.0
    class_weights: bool = True
    sampling: Sampling = "each"
    entropy_weight: float = 0.0
    hard_share: float = 0.0
    max_patches: int = 0
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in _WORDS.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {getattr(self, name)!r}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= least):
                raise ValueError(f"{name} must be at least {least}, not {value}")
        if self.lr <= 0 or not math.isfinite(self.entropy_weight):
            raise ValueError("lr must be positive and entropy_weight finite")
        if self.hard_share > 1 or self.step_factor > 1 or self.keep_after >= 1:
            raise ValueError("hard_share and step_factor are at most 1, keep_after is less")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1 or None, not {self.patience}")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs must be fewer than epochs ({self.epochs}), not {self.warmup_epochs}")


_WORDS = {
    "optimiser": Optimiser, "schedule": Schedule, "keep": Keep, "loss": Loss, "sampling": Sampling,
    "precision": Precision,
}  # fmt: skip
_LEAST = {
    "epochs": 1, "lr": 0, "weight_decay": 0, "lr_end": 0, "step_epochs": 1, "step_factor": 0, "warmup_epochs": 0,
    "stop_from": 1, "keep_after": 0, "bags_per_step": 1, "clip_norm": 0, "focal_gamma": 0, "hard_share": 0,
    "max_patches": 0, "seed": 0,
}  # fmt: skip


def learning_rate(recipe: Recipe, epoch: int) -> float:
    r"""Return the learning rate of an epoch.

    With w = `warmup_epochs`, E = `epochs`, t = `epoch` - 1 - w: while t < 0 it is ``lr * epoch / (w + 1)``; then
    "cosine" is :math:`lr_\mathrm{end} + \frac{1}{2} (lr - lr_\mathrm{end}) (1 + \cos(\pi t / (E - w)))`
    (Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, equation 5), and "steps"
    is ``lr * step_factor ** (t // step_epochs)``.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    epoch : int
        From 1.

    Returns
    -------
    float
        The learning rate.
    """
    t = epoch - 1 - recipe.warmup_epochs
    if t < 0:
        return recipe.lr * epoch / (recipe.warmup_epochs + 1)
    if recipe.schedule == "steps":
        return float(recipe.lr * recipe.step_factor ** (t // recipe.step_epochs))
    if recipe.schedule == "cosine":
        half = (1 + math.cos(math.pi * t / (recipe.epochs - recipe.warmup_epochs))) / 2
        return recipe.lr_end + (recipe.lr - recipe.lr_end) * half
    return recipe.lr


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "default": Recipe(),
        "halving": Recipe(schedule="steps", step_epochs=10, step_factor=0.5),
        "warm-cosine": Recipe(warmup_epochs=5),
        "abmil": Recipe(
            epochs=20, optimiser="adam", lr=5e-4, weight_decay=1e-4, schedule="constant", patience=None, keep="last",
            class_weights=False,
        ),
        "clam": Recipe(
            epochs=200, optimiser="adam", lr=2e-4, weight_decay=1e-5, schedule="constant", patience=20, stop_from=51,
            sampling="balanced", class_weights=False,
        ),
        "dsmil": Recipe(
            epochs=50, optimiser="adam", lr=1e-4, weight_decay=1e-3, betas=(0.5, 0.9), lr_end=5e-6, patience=10,
            class_weights=False,
        ),
        "transmil": Recipe(
            epochs=200, optimiser="lookahead-radam", lr=2e-4, weight_decay=1e-5, schedule="constant", patience=10,
            bags_per_step=2, class_weights=False,
        ),
        "dtfd": Recipe(
            epochs=200, optimiser="adam", lr=1e-4, weight_decay=1e-4, schedule="steps", step_epochs=100,
            step_factor=0.2, patience=None, keep_after=0.8, clip_norm=5.0, class_weights=False,
        ),
        "tda": Recipe(
            optimiser="adam", lr=2e-4, weight_decay=1e-5, schedule="constant", max_patches=2048, class_weights=False
        ),
    }
)  # fmt: skip
"""Recipes by name.

``default``, ``halving`` (3e-4, halved every ten epochs) and ``warm-cosine`` are for any pooling. The others follow the
original projects; what differs from them:

- ``abmil`` (Ilse 2018): the original has no validation part, so all epochs are run and the last one kept.
- ``clam`` (Lu 2021): patience counts from the best epoch, and stops after epoch 50 only, as in the original.
- ``dsmil`` (Li 2021): cross-entropy over the classes in place of one binary cross-entropy a class.
- ``transmil`` (Shao 2021): float32 in place of float16; ask for the precision if the device has it.
- ``dtfd`` (Zhang 2022): no early stopping; only the last fifth of the epochs can be kept. The original's two optimisers
  have the same settings and Adam treats every weight by itself, so one does the same; the gradient is clipped as a
  whole.
- ``tda``: its authors published no recipe; optimiser, learning rate, weight decay and 2048 patches are those of a
  public re-implementation, epochs and patience ours.
"""
