"""Which bags, and which of their patches, one epoch looks at: drawn from seed and epoch alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ..models import MILModel, Score
    from ._recipe import Recipe

NEGATIVE = 0  # the class whose bags hold nothing of the others


def draw_bags(
    train: NDArray[np.int64], targets: NDArray[np.int64], sampling: str, draws: np.random.Generator
) -> NDArray[np.int64]:
    """Return the bags of one epoch in their order, as many as there are.

    Parameters
    ----------
    train : (n,) int64
        Positions of the training bags.
    targets : (S,) int64
        Class of every bag.
    sampling : str
        "each" once, or "balanced": with replacement, each bag with probability 1 / (classes * bags of its class).
    draws : numpy Generator
        What draws.

    Returns
    -------
    (n,) int64
        Positions.
    """
    if sampling == "each":
        return draws.permutation(train)
    classes, which, counts = np.unique(targets[train], return_inverse=True, return_counts=True)
    return draws.choice(train, size=len(train), p=1 / (len(classes) * counts[which]))


def draw_patches(among: NDArray[np.int64], most: int, draws: np.random.Generator) -> NDArray[np.int64]:
    """Return at most `most` of some patches (n,), drawn without replacement and in their order."""
    if len(among) <= most:
        return among
    return among[np.sort(draws.choice(len(among), size=most, replace=False, shuffle=False))]


def epoch_items(
    train: NDArray[np.int64],
    targets: NDArray[np.int64],
    sizes: Mapping[int, int],
    hard: Mapping[int, NDArray[np.int64]],
    recipe: Recipe,
    epoch: int,
) -> Iterator[tuple[int, NDArray[np.int64] | None]]:
    """Yield what one epoch looks at: the position of a bag, and which of its patches (None: all).

    Parameters
    ----------
    train : (n,) int64
        Positions of the training bags.
    targets : (S,) int64
        Class of every bag.
    sizes : mapping of int to int
        Patches of every training bag by position; not looked at where the recipe has no most patches.
    hard : mapping of int to (h,) int64
        Hard patches by position of their bag; each makes one more bag of this epoch.
    recipe : Recipe
        Sampling, most patches and seed.
    epoch : int
        From 1.

    Yields
    ------
    (int, (n,) int64 or None)
        A bag.
    """
    draws = np.random.default_rng([recipe.seed, epoch])
    rows = [(int(row), None) for row in draw_bags(train, targets, recipe.sampling, draws)]
    items: list[tuple[int, NDArray[np.int64] | None]] = [*rows, *((row, hard[row]) for row in sorted(hard))]
    order = draws.permutation(len(items)) if hard else range(len(items))
    for row, among in (items[place] for place in order):
        if recipe.max_patches:
            among = draw_patches(np.arange(sizes[row]) if among is None else among, recipe.max_patches, draws)
        yield row, among


@torch.no_grad()
def hard_patches(
    model: MILModel,
    bags: Callable[[int], Tensor],
    train: NDArray[np.int64],
    targets: NDArray[np.int64],
    share: float,
) -> dict[int, NDArray[np.int64]]:
    """Find the hard patches of each negative training bag that a model in evaluation mode takes for another class.

    Parameters
    ----------
    model : MILModel
        The model as it stands.
    bags : callable
        Returns the bag (N, D) of a position.
    train : (n,) int64
        Positions of the training bags.
    targets : (S,) int64
        Class of every bag; `NEGATIVE` bags are looked at.
    share : float
        Share of a bag's patches that are called hard, in (0, 1].

    Returns
    -------
    dict of int to (h,) int64
        By position, in the bag's order; at least one patch each. See `Recipe`.
    """
    found = {}
    for row in train[targets[train] == NEGATIVE].tolist():
        bag = bags(row)
        wrong = int(model(bag, scores=False).logits.argmax())
        if wrong != NEGATIVE:
            score = hard_score(model(bag).scores, wrong)
            count = math.ceil(share * len(score))
            found[row] = np.sort(score.topk(count).indices.numpy())
    return found


def hard_score(scores: Mapping[str, Score], wrong: int) -> Tensor:
    """Return how strongly each patch (N,) speaks for a class that is wrong.

    The contribution to that class less the contribution to the negative one; where a model has none, so the instance
    logit; else what the model has first: attention or relevance, of that class if it has one for each.
    """
    name = next((name for name in ("contribution", "instance_logit") if name in scores), next(iter(scores)))
    raw = scores[name].raw
    if raw.ndim == 1:
        return raw
    return raw[wrong] if scores[name].kind == "attention" else raw[wrong] - raw[NEGATIVE]
