"""Maps of one slide held against one another: what each says by itself, and how far each pair agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MapError
from ._agreement import COMPARED_SHARE, COMPARED_TOP_K, agreement, at_cut
from ._common_views import common_views
from ._compared_cut import MapCut, check_cut, region
from ._places import match_places
from ._scales import KIND_TITLES
from ._threshold import Cuts, effective_patches, normalised_entropy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ._agreement import Agreement
    from ._map import AttentionMap, MapView
    from ._places import Places


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
    places : tuple of Places
        One per pair: where its maps can be compared.
    cuts : tuple of Cuts
        One per map.
    top_k : int
        How many top patches `Agreement.jaccard` was asked of.
    """

    maps: tuple[AttentionMap, ...]
    views: tuple[MapView, ...]
    facts: tuple[MapFacts, ...]
    pairs: tuple[Agreement, ...]
    notes: tuple[str, ...]
    places: tuple[Places, ...]
    cuts: tuple[Cuts, ...]
    top_k: int

    def at(self, cut: MapCut) -> MapComparison:
        """Return the same with the IoU of what lies at or above another cut: quick, as a slider asks for it.

        Parameters
        ----------
        cut : MapCut
            Where every map is cut.

        Returns
        -------
        MapComparison
            All other figures as they were.

        Raises
        ------
        MapError
            If the cut is by value, of several scores.
        """
        check_cut(cut, self.views)
        index = list(combinations(range(len(self.maps)), 2))
        if cut.by == "share":
            raws = [view.raw for view in self.views]
            pairs = tuple(
                agreement(places, raws[i], raws[j], (pair.first, pair.second), top_k=self.top_k, share=cut.amount)
                for (i, j), places, pair in zip(index, self.places, self.pairs, strict=True)
            )
        else:
            title = cut.title(self.views[0])
            regions = [region(cut, view, cuts) for view, cuts in zip(self.views, self.cuts, strict=True)]
            pairs = tuple(
                at_cut(pair, places, cut, title, regions[i], regions[j])
                for (i, j), places, pair in zip(index, self.places, self.pairs, strict=True)
            )
        return replace(self, pairs=pairs, notes=_notes(self.views, self.places, self.top_k, cut))


def compare_maps(
    maps: Sequence[AttentionMap],
    *,
    names: Sequence[str] | None = None,
    score: str | None = None,
    class_name: str | None = None,
    scale: str | None = None,
    top_k: int = COMPARED_TOP_K,
    cut: MapCut | None = None,
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
    cut : MapCut or None
        For `Agreement.iou`; None takes the highest tenth of the places that two maps both cover.

    Returns
    -------
    MapComparison
        Views, figures and notes.

    Raises
    ------
    MapError
        If there are fewer than two maps, they are of different slides, as in `common_views`, or as in
        `MapComparison.at`.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    check_one_slide(maps)
    called = list(names) if names is not None else map_names(maps)
    views = common_views(maps, score=score, class_name=class_name, scale=scale)
    facts = tuple(_facts(name, amap, view) for name, amap, view in zip(called, maps, views, strict=True))
    index = list(combinations(range(len(maps)), 2))
    matched = tuple(match_places(maps[i].grid, maps[j].grid) for i, j in index)
    pairs = tuple(
        agreement(places, views[i].raw, views[j].raw, (called[i], called[j]), top_k=top_k)
        for (i, j), places in zip(index, matched, strict=True)
    )
    cuts = tuple(Cuts(view, amap.grid) for view, amap in zip(views, maps, strict=True))
    notes = _notes(views, matched, top_k, MapCut("share", COMPARED_SHARE))
    found = MapComparison(tuple(maps), tuple(views), facts, pairs, notes, matched, cuts, top_k)
    return found if cut is None else found.at(cut)


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


def _notes(views: Sequence[MapView], places: Sequence[Places], top_k: int, cut: MapCut) -> tuple[str, ...]:
    """Say what the figures are of, each thing once."""
    rules = dict.fromkeys(one.rule for one in places)
    found = [
        f"Top-k Jaccard is of the {top_k} highest patches of either map. {cut.sentence(views[0])}. "
        "Patches that tie with the last are in."
    ]
    if cut.by != "share" and any(one.weights is not None for one in places):
        found.append("Where patches differ, at least half of a place must lie under patches above the cut.")
    kinds = dict.fromkeys(view.title for view in views)
    if len(kinds) > 1:
        found.append(f"Different scores are compared, so only their order counts: {'; '.join(kinds)}.")
    return (*rules, *found)
