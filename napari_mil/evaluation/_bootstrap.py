"""Resampling of patients, and measures of resampled bags, many resamplings at once.

A resampling is how often each bag was drawn, so that every measure is one of weighted bags: sorted once, no bag is
ever copied. `_measures` states the same measures of the bags as they are, by scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.float64]  # (B, S): how often each bag is in each resampling
    Measure = Callable[[Counts], NDArray[np.float64]]  # (B,)

LEVEL = 0.95  # of all confidence intervals
_AT_ONCE = 256  # resamplings: 20 MB an array at 10 000 bags


def resample(targets: NDArray[np.int64], patients: Sequence[str], replicates: int, seed: int) -> NDArray[np.int32]:
    """Draw patients with replacement, as many of each class as there are, and all bags of each.

    Parameters
    ----------
    targets : (S,) int64
        Class of each bag.
    patients : sequence of str
        Patient of each bag.
    replicates : int
        B, the number of resamplings.
    seed : int
        Of the draws.

    Returns
    -------
    (B, S) int32
        How often each bag was drawn. Patients with bags of several classes are drawn among their like.
    """
    names, owner = np.unique(np.asarray(patients, dtype=object).astype(str), return_inverse=True)
    owned: list[set[int]] = [set() for _ in names]
    for patient, target in zip(owner, targets, strict=True):
        owned[patient].add(int(target))
    strata: dict[tuple[int, ...], list[int]] = {}
    for patient, classes in enumerate(owned):
        strata.setdefault(tuple(sorted(classes)), []).append(patient)
    generator = np.random.default_rng(seed)
    drawn = np.zeros((replicates, len(names)), dtype=np.int32)
    for _, members in sorted(strata.items()):
        drawn[:, members] = generator.multinomial(
            len(members), np.full(len(members), 1 / len(members)), size=replicates
        )
    return drawn[:, owner]


def interval(drawn: NDArray[np.int32], measure: Measure) -> tuple[float, float]:
    """Return the 95 % percentile interval of a measure over resamplings.

    Parameters
    ----------
    drawn : (B, S) int32
        As `resample` returns it.
    measure : callable
        Takes weights (b, S) and returns (b,), NaN where undefined.

    Returns
    -------
    (float, float)
        Resamplings in which the measure is undefined do not count; NaN where it is in more than half.
    """
    found = replicate(drawn, measure)
    known = found[np.isfinite(found)]
    if len(known) <= len(found) / 2:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def replicate(drawn: NDArray[np.int32], measure: Measure) -> NDArray[np.float64]:
    """Return a measure (B,) of each resampling (B, S)."""
    blocks = [drawn[start : start + _AT_ONCE] for start in range(0, len(drawn), _AT_ONCE)]
    return np.concatenate([measure(block.astype(np.float64)) for block in blocks])


def auc_of(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Measure:
    """Return the measure: share of pairs of a positive and a negative bag in the right order, ties a half."""
    order, first = _ordered(scores)
    positive = positive[order]

    def measure(counts: Counts) -> NDArray[np.float64]:
        counts = counts[:, order]
        above = np.add.reduceat(counts * positive, first, axis=1)  # (b, distinct scores)
        below = np.add.reduceat(counts * ~positive, first, axis=1)
        lower = np.cumsum(below, axis=1) - below
        right = (above * (lower + below / 2)).sum(axis=1)
        return _share(right, above.sum(axis=1) * below.sum(axis=1))

    return measure


def average_precision_of(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> Measure:
    """Return the measure: precision at each distinct score, weighted by the recall gained there."""
    order, first = _ordered(-scores)
    positive = positive[order]

    def measure(counts: Counts) -> NDArray[np.float64]:
        counts = counts[:, order]
        gained = np.add.reduceat(counts * positive, first, axis=1)
        taken = np.cumsum(np.add.reduceat(counts, first, axis=1), axis=1)
        precision = np.divide(np.cumsum(gained, axis=1), taken, out=np.zeros_like(taken), where=taken > 0)
        return _share((precision * gained).sum(axis=1), gained.sum(axis=1))

    return measure


def share_of(right: NDArray[np.bool_] | NDArray[np.float64], among: NDArray[np.bool_]) -> Measure:
    """Return the measure: the mean of `right` (S,) over the bags `among` (S,)."""
    inside = among.astype(np.float64)
    return lambda counts: _share(counts @ (right * inside), counts @ inside)


def mean_of(measures: Sequence[Measure]) -> Measure:
    """Return the plain mean of several measures; NaN where one is undefined."""
    return lambda counts: np.asarray(np.mean([measure(counts) for measure in measures], axis=0))


def _ordered(scores: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the ascending order of scores and where in it each distinct score begins."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    return order, np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return share
