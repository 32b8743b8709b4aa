"""How far maps of one slide agree, in figures: each map by itself, and each pair of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MapError
from ._places import match_places
from ._scales import KIND_TITLES, SCALES_FOR_KIND
from ._shown import ranks
from ._threshold import effective_patches, normalised_entropy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models import ScoreKind
    from ._map import AttentionMap, MapView
    from ._places import Places

COMPARED_TOP_K = 50
COMPARED_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class MapFacts:
    """What one of several maps says.

    Parameters
    ----------
    name : str
        What it is called among the others.
    pooling, encoder : str
        How patches became a prediction, and what made the features.
    score, class_name : str
        The score that is compared, in words, and its class (empty where all classes share it).
    patches : int
        How many.
    predicted : str
        The most probable class; of a model of one class that class.
    probability : float
        Its probability.
    entropy, effective : float
        Of the attention: entropy over its largest possible value, and `effective_patches`; NaN for models that have
        no attention, which sums to 1.
    """

    name: str
    pooling: str
    encoder: str
    score: str
    class_name: str
    patches: int
    predicted: str
    probability: float
    entropy: float
    effective: float


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
    share : float
        The share of the places at which both maps are cut for ``iou``.
    iou : float
        The same ratio of the highest ``share`` of the places of either.
    """

    first: str
    second: str
    places: int
    same_patches: bool
    spearman: float
    top_k: int
    jaccard: float
    share: float
    iou: float


@dataclass(frozen=True, slots=True, eq=False)
class MapComparison:
    """Maps of one slide, how each is shown, and how far they agree.

    Parameters
    ----------
    maps : tuple of AttentionMap
        The maps.
    views : tuple of MapView
        What is compared of each, all on one scale with the same limits.
    facts : tuple of MapFacts
        One per map.
    pairs : tuple of Agreement
        One per pair, in order.
    notes : tuple of str
        What to know about these figures.
    """

    maps: tuple[AttentionMap, ...]
    views: tuple[MapView, ...]
    facts: tuple[MapFacts, ...]
    pairs: tuple[Agreement, ...]
    notes: tuple[str, ...]


def compare_maps(
    maps: Sequence[AttentionMap],
    *,
    names: Sequence[str] | None = None,
    score: str | None = None,
    class_name: str | None = None,
    scale: str | None = None,
    top_k: int = COMPARED_TOP_K,
    share: float = COMPARED_SHARE,
) -> MapComparison:
    """Hold maps of one slide against one another.

    Parameters
    ----------
    maps : sequence of AttentionMap
        Two or more, of other models, encoders, tiles or folds.
    names : sequence of str or None
        What to call them; None takes `map_names`.
    score : str or None
        The score to compare, which every map must have; None takes each map's own.
    class_name : str or None
        The class, for scores that have one per class; None takes what the first map predicts.
    scale : str or None
        How they are shown; None takes the scale that all their kinds of score share, see `common_views`. No figure
        depends on it.
    top_k : int
        For `Agreement.jaccard`.
    share : float
        For `Agreement.iou`, above 0 and at most 1.

    Returns
    -------
    MapComparison
        Views, figures and notes.

    Raises
    ------
    MapError
        If there are fewer than two maps, they are of different slides, or as in `common_views`.
    """
    if top_k < 1 or not 0 < share <= 1:
        raise ValueError(f"top_k must be at least 1 and share above 0 and at most 1, not {top_k} and {share}")
    check_one_slide(maps)
    called = list(names) if names is not None else map_names(maps)
    views = common_views(maps, score=score, class_name=class_name, scale=scale)
    facts = tuple(_facts(name, amap, view) for name, amap, view in zip(called, maps, views, strict=True))
    matched = {(i, j): match_places(maps[i].grid, maps[j].grid) for i, j in combinations(range(len(maps)), 2)}
    pairs = tuple(
        agreement(places, views[i].raw, views[j].raw, (called[i], called[j]), top_k=top_k, share=share)
        for (i, j), places in matched.items()
    )
    rules = dict.fromkeys(places.rule for places in matched.values())
    return MapComparison(tuple(maps), tuple(views), facts, pairs, (*rules, *_notes(views, top_k, share)))


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
    top_k, share
        As in `compare_maps`.

    Returns
    -------
    Agreement
        Figures, NaN without places.
    """
    a, b = places.values(first, second)
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    k = min(top_k, len(a))
    return Agreement(
        *names,
        len(a),
        places.weights is None,
        spearman(a, b),
        k,
        _overlap(a, b, k),
        share,
        _overlap(a, b, max(1, round(share * len(a)))),
    )


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


def check_one_slide(maps: Sequence[AttentionMap]) -> None:
    """Refuse fewer than two maps, and maps of different slides.

    Parameters
    ----------
    maps : sequence of AttentionMap
        What is to be compared.

    Raises
    ------
    MapError
        In words.
    """
    if len(maps) < 2:
        raise MapError(f"Comparing takes two maps or more; here is {len(maps)}. Add another map of the same slide.")
    other = next((amap for amap in maps if amap.slide.quickhash != maps[0].slide.quickhash), None)
    if other is not None:
        raise MapError(
            f"These maps are of different slides: {Path(maps[0].slide.path).name} and {Path(other.slide.path).name}. "
            "Compare maps of one slide."
        )


def map_names(maps: Sequence[AttentionMap]) -> list[str]:
    """Call each map by its model's title, else its pooling; number those of one name.

    Parameters
    ----------
    maps : sequence of AttentionMap
        Any maps.

    Returns
    -------
    list of str
        All different.
    """
    names: list[str] = []
    for amap in maps:
        base = amap.model.title or amap.model.pooling
        name, number = base, 2
        while name in names:
            name, number = f"{base} ({number})", number + 1
        names.append(name)
    return names


def common_views(
    maps: Sequence[AttentionMap],
    *,
    score: str | None = None,
    class_name: str | None = None,
    scale: str | None = None,
) -> list[MapView]:
    """Show maps alike: one scale, one class where they have it, the same limits of the colours.

    Without a scale asked for, that of the first map where all scores are of one kind, else ranks: different kinds of
    score have no other unit in common.

    Parameters
    ----------
    maps : sequence of AttentionMap
        The maps.
    score, class_name, scale : str or None
        As in `compare_maps`.

    Returns
    -------
    list of MapView
        One per map.

    Raises
    ------
    MapError
        If a map lacks the score or class asked for, or their scores share no honest scale.
    """
    chosen = [amap.default_score if score is None else score for amap in maps]
    wanted = class_name if class_name is not None else _predicted(maps[0])[0]
    classes = [_class_of(amap, wanted, must=class_name is not None) for amap in maps]
    views = [amap.view(name, None, index) for amap, name, index in zip(maps, chosen, classes, strict=True)]
    name = scale if scale is not None else _shared_scale([view.kind for view in views])
    views = [amap.view(one.score, name, index) for amap, one, index in zip(maps, views, classes, strict=True)]
    return same_limits(views)


def same_limits(views: Sequence[MapView]) -> list[MapView]:
    """Give views on one scale the same ends of the colour bar, wide enough for all.

    Parameters
    ----------
    views : sequence of MapView
        All on the same scale.

    Returns
    -------
    list of MapView
        The same numbers.
    """
    low, high = (float(pick([view.limits[end] for view in views])) for end, pick in ((0, min), (1, max)))
    return [replace(view, scale=replace(view.scale, fixed_limits=(low, high))) for view in views]


def _shared_scale(kinds: Sequence[ScoreKind]) -> str:
    if len(set(kinds)) == 1:
        return SCALES_FOR_KIND[kinds[0]][0]
    shared = [name for name in SCALES_FOR_KIND[kinds[0]] if all(name in SCALES_FOR_KIND[kind] for kind in kinds)]
    if "rank" not in shared:
        titles = ", ".join(dict.fromkeys(KIND_TITLES[kind] for kind in kinds))
        raise MapError(f"These scores have no scale in common: {titles}. Compare the same score of each map (--score).")
    return "rank"


def _class_of(amap: AttentionMap, name: str, *, must: bool) -> int | None:
    names = amap.prediction.class_names
    if name in names:
        return names.index(name)
    if must:
        raise MapError(
            f'The map "{amap.model.title or amap.model.pooling}" has no class "{name}". It has: {", ".join(names)}.'
        )
    return None


def _predicted(amap: AttentionMap) -> tuple[str, float]:
    index = amap.prediction.class_index
    return amap.prediction.class_names[index], float(amap.prediction.probabilities[index])


def _facts(name: str, amap: AttentionMap, view: MapView) -> MapFacts:
    attention = _attention(amap, view)
    return MapFacts(
        name,
        amap.model.pooling,
        amap.encoder.name,
        KIND_TITLES[view.kind],
        view.class_name,
        len(amap),
        *_predicted(amap),
        float("nan") if attention is None else normalised_entropy(attention),
        float("nan") if attention is None else effective_patches(attention),
    )


def _attention(amap: AttentionMap, view: MapView) -> NDArray[np.float32] | None:
    """Return the attention that is compared, else the map's own, if it has one."""
    if view.kind == "attention":
        return view.raw
    name = next((name for name, score in amap.scores.items() if score.kind == "attention"), None)
    return None if name is None else amap.view(name).raw


def _overlap(first: NDArray[np.float64], second: NDArray[np.float64], k: int) -> float:
    """Return intersection over union of the k highest of both, ties with the last one included."""
    if not len(first):
        return float("nan")
    a, b = (score >= np.partition(score, len(score) - k)[len(score) - k] for score in (first, second))
    return float((a & b).sum()) / float((a | b).sum())


def _notes(views: Sequence[MapView], top_k: int, share: float) -> list[str]:
    """Say what the figures are of."""
    found = [
        f"Top-k Jaccard is of the {top_k} highest patches of either map, IoU of the highest {share:.0%} of the patches "
        "that both cover; patches that tie with the last are in."
    ]
    kinds = dict.fromkeys(view.title for view in views)
    if len(kinds) > 1:
        found.append(f"Different scores are compared, so only their order counts: {'; '.join(kinds)}.")
    return found


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
