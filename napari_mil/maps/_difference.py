"""One map less another: where the first looked more than the second, and where less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ..errors import MapError
from ._limits import COLOUR_PERCENTILE, colour_end
from ._places import match_places
from ._scales import KIND_TITLES
from ._shown import ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tiling import TileGrid
    from ._map import AttentionMap, MapView

DifferenceBy: TypeAlias = Literal["rank", "raw"]
"""Of what a difference is taken: of ranks, which any two maps share, or of one kind of score itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """One map less another, place by place; a display, never a score of a model.

    Parameters
    ----------
    grid : TileGrid
        The tiles of the map with the smaller ones.
    values : (N,) float32
        Per tile, NaN where only one map has something.
    limits : (float, float)
        Ends of the colours, symmetric about zero; of scores as in `colour_end`.
    title, help : str
        What it is, and how to read it, in words.
    names : (str, str)
        The maps.
    """

    grid: TileGrid
    values: NDArray[np.float32]
    limits: tuple[float, float]
    title: str
    help: str
    names: tuple[str, str]


def difference(
    maps: tuple[AttentionMap, AttentionMap],
    views: tuple[MapView, MapView],
    names: tuple[str, str],
    *,
    by: DifferenceBy = "rank",
) -> Difference:
    """Take the second map from the first.

    Parameters
    ----------
    maps : (AttentionMap, AttentionMap)
        Of one slide.
    views : (MapView, MapView)
        What is compared of each.
    names : (str, str)
        What they are called.
    by : str
        "rank": ranks among the places that both cover, from -1 to 1. "raw": the score itself, for two of one kind and
        class; attention as times the average of its map, since it sums to 1 over each map's own patches.

    Returns
    -------
    Difference
        Per tile of the map with the smaller tiles.

    Raises
    ------
    MapError
        If raw scores of different kinds or classes are to be subtracted.
    """
    first, second = views
    if by == "raw" and (first.kind, first.of, first.class_name) != (second.kind, second.of, second.class_name):
        raise MapError(
            f"{first.title} and {second.title} have no unit in common. Compare their ranks, or the same score of both."
        )
    places = match_places(maps[0].grid, maps[1].grid)
    a, b = places.values(*(_in_unit(view) if by == "raw" else view.raw for view in views))
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    apart = (ranks(a) - ranks(b)) if by == "rank" else (a - b)
    values = np.full(len(places.grid), np.nan, np.float32)
    values[places.tiles[known]] = apart
    top = 1.0 if by == "rank" else colour_end(apart)
    return Difference(places.grid, values, (-top, top), *_words(first, by), names)


def _in_unit(view: MapView) -> NDArray[np.float32]:
    """Return the score in a unit that maps of other sizes share."""
    return np.asarray(view.raw * np.float32(len(view.raw))) if view.kind == "attention" else view.raw


def _words(view: MapView, by: DifferenceBy) -> tuple[str, str]:
    if by == "rank":
        return (
            "Difference of ranks",
            "0.5 means that the patch is half of all patches higher in the one map than in the other; "
            "0 that both put it in the same place.",
        )
    unit = ", times average" if view.kind == "attention" else ""
    return (
        f"Difference of {KIND_TITLES[view.kind].lower()}{unit}",
        "The score in the one map less that in the other; 0 where both are alike. "
        f"Colours end at the {COLOUR_PERCENTILE}th percentile of its size.",
    )
