"""Several maps shown alike: one scale, one class where they have it, the same limits of the colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MapError
from ._scales import KIND_TITLES, SCALES_FOR_KIND

if TYPE_CHECKING:
    from ..models import ScoreKind
    from ._map import AttentionMap, MapView


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
    wanted = class_name if class_name is not None else maps[0].prediction.class_names[maps[0].prediction.class_index]
    classes = [_class_of(amap, wanted, must=class_name is not None) for amap in maps]
    views = [amap.view(name, None, index) for amap, name, index in zip(maps, chosen, classes, strict=True)]
    name = scale if scale is not None else _shared_scale([view.kind for view in views])
    views = [amap.view(one.score, name, index) for amap, one, index in zip(maps, views, classes, strict=True)]
    return same_limits(views)


def same_limits(views: Sequence[MapView]) -> list[MapView]:
    """Give views on one scale the same ends of the colour bar, wide enough for all.

    Where colours end at the scores' own size, a map without any score but 0 has none, and the others decide.

    Parameters
    ----------
    views : sequence of MapView
        All on the same scale.

    Returns
    -------
    list of MapView
        The same numbers.
    """
    telling = [view for view in views if not view.scale.saturates or np.nan_to_num(view.values).any()] or views
    low, high = (float(pick([view.limits[end] for view in telling])) for end, pick in ((0, min), (1, max)))
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
