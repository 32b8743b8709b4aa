"""Patch flipping: what becomes of a prediction as patches are taken away, or added, in the order of a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..progress import Pacer, Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..models import MILModel

STEPS = 100  # of 1 % of all patches; a bag of fewer goes one by one


@dataclass(frozen=True, slots=True, eq=False)
class Flips:
    """Probabilities of one class of one bag as its patches are flipped, K points from none to all.

    Parameters
    ----------
    flipped : (K,) int64
        How many patches were flipped: 0 to N.
    drop_morf, drop_lerf : (K,) float64
        Patches taken from the whole bag, the most relevant first, or the least.
    add_morf, add_lerf : (K,) float64
        Patches added to an empty bag, the most relevant first, or the least.
    """

    flipped: NDArray[np.int64]
    drop_morf: NDArray[np.float64]
    drop_lerf: NDArray[np.float64]
    add_morf: NDArray[np.float64]
    add_lerf: NDArray[np.float64]


def relevance_order(relevance: NDArray[np.floating], seed: int) -> NDArray[np.intp]:
    """Return the patches (N,), the most relevant first; equally relevant ones in a drawn order.

    Parameters
    ----------
    relevance : (N,) float
        Finite.
    seed : int
        Of the draw, so that ties do not follow the place on the slide.

    Returns
    -------
    (N,) intp
        Positions in the bag.
    """
    if relevance.ndim != 1 or not np.isfinite(relevance).all():
        raise ValueError("relevance must be (N,) and finite")
    return np.lexsort((np.random.default_rng(seed).random(len(relevance)), -relevance))


def iter_flips(
    model: MILModel, bag: torch.Tensor, orders: Sequence[NDArray[np.intp]], target: int
) -> Steps[list[Flips]]:
    """Flip the patches of a bag in several orders.

    A bag is read once for all of them. Patches that stay keep their order in the bag. A bag without any patch is one
    patch whose features are all nought. After Samek et al., "Evaluating the visualization of what a deep neural network
    has learned", IEEE TNNLS 2017, with the rules of xMIL (Hense et al., NeurIPS 2024): steps of 1 % of all patches, the
    probability of one class.

    Parameters
    ----------
    model : MILModel
        In evaluation mode.
    bag : (N, D) floating tensor
        The bag.
    orders : sequence of (N,) intp
        Each holds every patch once, the most relevant first.
    target : int
        The class whose probability is recorded.

    Yields
    ------
    Progress
        In orders. Closing the generator ends the work.

    Returns
    -------
    list of Flips
        One for each order. The least relevant first is the same order backwards, so a bag that grows in one is a bag
        that shrinks in the other, and each is computed once.
    """
    n = len(bag)
    read = model.read_once(torch.cat([bag, bag.new_zeros(1, bag.shape[1])]))
    flipped = steps_of(n)
    sizes = np.union1d(flipped, n - flipped)
    place = np.searchsorted(sizes, flipped), np.searchsorted(sizes, n - flipped)

    def probability(rows: NDArray[np.intp]) -> float:
        kept = torch.from_numpy(np.sort(rows) if len(rows) else np.array([n]))
        return float(model.probabilities(read(kept).cpu().double())[target])

    found = []
    pacer = Pacer("Flipping patches", len(orders), unit="orders")
    for number, order in enumerate(orders, start=1):
        first = np.array([probability(order[:k]) for k in sizes])  # the k most relevant alone
        rest = np.array([probability(order[k:]) for k in sizes])  # all but these
        found.append(Flips(flipped, rest[place[0]], first[place[1]], first[place[0]], rest[place[1]]))
        progress = pacer.step(number)
        if progress is not None:
            yield progress
    return found


def steps_of(n: int) -> NDArray[np.int64]:
    """Return how many of n patches are flipped at each point: every 1 % of all, or one by one where n is less."""
    return np.unique(np.round(np.arange(STEPS + 1) * n / STEPS).astype(np.int64)) if n > STEPS else np.arange(n + 1)


def aupc(curve: NDArray[np.float64]) -> float:
    """Return the area under a perturbation curve: the mean over its points, both ends included."""
    return float(curve.mean())
