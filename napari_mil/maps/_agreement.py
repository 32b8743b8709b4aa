"""How far two maps of one slide agree, in figures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ._compared_cut import MapCut
from ._shown import ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._compared_cut import MapCutBy
    from ._places import Places

COMPARED_TOP_K = 50
COMPARED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two maps agree. NaN stands for what is not defined.

    Parameters
    ----------
    first, second : str
        Names of the two.
    places : int
        Places where both have a score.
    same_patches : bool
        Whether both have the same patches; see `Places.rule` where not.
    spearman : float
        Rank correlation of the raw scores (Spearman 1904, tied scores sharing their mean rank); NaN where one map has
        a single value.
    top_k : int
        How many of the top patches ``jaccard`` is of.
    jaccard : float
        ``|A & B| / |A | B|`` of the ``top_k`` highest places of either; what ties with the last is in.
    cut_by : str
        At what the maps are cut for ``iou``, see `MapCut`.
    cut_amount : float
        Its amount.
    cut : str
        Both in words.
    first_above, second_above : int
        How many of the places lie at or above the cut in either map.
    iou : float
        The same ratio of the places at or above the cut; NaN where there is none.
    """

    first: str
    second: str
    places: int
    same_patches: bool
    spearman: float
    top_k: int
    jaccard: float
    cut_by: MapCutBy
    cut_amount: float
    cut: str
    first_above: int
    second_above: int
    iou: float


def agreement(
    places: Places,
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    names: tuple[str, str],
    *,
    top_k: int = COMPARED_TOP_K,
    share: float = COMPARED_SHARE,
) -> Agreement:
    """Measure how far two maps agree.

    Parameters
    ----------
    places : Places
        Where they can be compared.
    first, second : (N,) float32
        Raw scores, one per tile of either grid.
    names : (str, str)
        What the maps are called.
    top_k : int
        As in `compare_maps`.
    share : float
        The share of the places at which both are cut for the IoU, above 0 and at most 1.

    Returns
    -------
    Agreement
        Figures, NaN without places.
    """
    a, b = places.values(first, second)
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    k = min(top_k, len(a))
    cut = MapCut("share", share)
    one, two, iou = _at_cut(*_highest(a, b, max(1, round(share * len(a)))))
    return Agreement(
        names[0],
        names[1],
        places=len(a),
        same_patches=places.weights is None,
        spearman=spearman(a, b),
        top_k=k,
        jaccard=_overlap(*_highest(a, b, k)),
        cut_by=cut.by,
        cut_amount=cut.amount,
        cut=cut.title(),
        first_above=one,
        second_above=two,
        iou=iou,
    )


def at_cut(
    found: Agreement, places: Places, cut: MapCut, title: str, first: NDArray[np.float32], second: NDArray[np.float32]
) -> Agreement:
    """Return the same agreement with the IoU at another cut.

    Parameters
    ----------
    found : Agreement
        Of the two maps.
    places : Places
        Where they can be compared.
    cut : MapCut
        Where they are cut.
    title : str
        The same in words.
    first, second : (N,) float32
        Per tile of either grid 1 at or above the cut, 0 below, NaN without a score.

    Returns
    -------
    Agreement
        All other figures as they were.
    """
    a, b = places.values(first, second)
    known = np.isfinite(a) & np.isfinite(b)
    # of patches that differ, at least half of a place must lie under such
    one, two, iou = _at_cut(a[known] >= 0.5, b[known] >= 0.5)
    return replace(found, cut_by=cut.by, cut_amount=cut.amount, cut=title, first_above=one, second_above=two, iou=iou)


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return the rank correlation of two scores, tied ones sharing their mean rank; NaN where one does not vary.

    Parameters
    ----------
    first, second : (M,) float
        Without NaN.

    Returns
    -------
    float
        From -1 (opposite order) to 1 (the same order).
    """
    a, b = (ranks(score).astype(np.float64) for score in (first, second))
    a, b = (rank - rank.mean() if len(rank) else rank for rank in (a, b))
    size = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / size if size > 0 else float("nan")


def _highest(
    first: NDArray[np.float64], second: NDArray[np.float64], k: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the k highest of either, ties with the last one included."""
    if not len(first):
        return np.empty(0, bool), np.empty(0, bool)
    a, b = (score >= np.partition(score, len(score) - k)[len(score) - k] for score in (first, second))
    return a, b


def _overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return intersection over union; NaN where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else float("nan")


def _at_cut(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[int, int, float]:
    return int(first.sum()), int(second.sum()), _overlap(first, second)


def overlap_by_chance(k: int, n: int) -> float:
    """Return what `Agreement.jaccard` comes to for two random orders: ``k / (2 n - k)``, of expected counts.

    Parameters
    ----------
    k, n : int
        How many on top, of how many.

    Returns
    -------
    float
        From 0 to 1.
    """
    return k / (2 * n - k) if n else float("nan")
