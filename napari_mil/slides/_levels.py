"""Which levels a slide is shown with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ._cache import Budget, TileCache
from ._faults import Faults
from ._pyramid import PyramidLevel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ._slide import Slide

    Convert = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

CHUNK_PX = 512
"""Edge of a cached tile, about. A view of 1400 x 1000 px on a 40x scan took 10, 14 and 19 ms with 256, 512 and 1024;
through dask, whose cost is per tile, 24, 17 and 22 ms."""

OVERVIEW_PX = 1024
"""Long edge that the last level does not exceed: napari loads that level whole for its thumbnail."""

_LARGEST_TILE_PX = 2048
_FAR_APART = 3.0
"""Stored levels further apart than this get computed ones between them: napari takes the next finer level, so levels
four apart make it fetch and draw up to sixteen times the pixels of its canvas."""


def build_levels(slide: Slide, budget: Budget, convert: Convert | None = None) -> list[PyramidLevel]:
    """Line up the levels of a slide down to an overview.

    Parameters
    ----------
    slide : Slide
        The slide.
    budget : Budget
        Of tiles of all levels, and of whatever else shares it. Stored levels may take three quarters; every computed
        level has its own part of the last quarter, for neither looking around at full resolution nor making the level
        above may push out an overview that took long to compute. Other slides push out stored tiles first.
    convert : callable, optional
        What stored tiles go through when they are decoded; see `PyramidLevel`.

    Returns
    -------
    list of PyramidLevel
        Finest first. Stored levels beyond the first that fits the overview are left out: the stamps of a few pixels
        that DICOM files carry no longer have the slide's proportions.
    """
    plan = _plan(slide.shown_shapes)
    computed = sum(stored is None for stored, _ in plan)
    computed_bytes = budget.max_bytes // 4 // max(1, computed)
    tiles, faults = TileCache(budget.max_bytes - computed_bytes * computed, budget), Faults()
    levels: list[PyramidLevel] = []
    for index, (stored, shape) in enumerate(plan):
        levels.append(
            PyramidLevel(
                slide,
                index,
                shape,
                tile=(CHUNK_PX, CHUNK_PX) if stored is None else cached_tile(slide.level_tiles[stored]),
                cache=TileCache(computed_bytes, budget, spared=True) if stored is None else tiles,
                faults=faults,
                stored=stored,
                above=levels[-1] if levels else None,
                convert=convert,
            )
        )
    return levels


def _plan(shapes: tuple[tuple[int, int], ...]) -> list[tuple[int | None, tuple[int, int]]]:
    """Return, for each level to be shown, which stored one it is (None: computed) and its height and width."""
    last = next((k for k, shape in enumerate(shapes) if max(shape) <= OVERVIEW_PX), len(shapes) - 1)
    plan: list[tuple[int | None, tuple[int, int]]] = []
    for stored, shape in enumerate(shapes[: last + 1]):
        while plan and max(plan[-1][1]) / max(shape) > _FAR_APART:
            plan.append((None, _half(plan[-1][1])))
        plan.append((stored, shape))
    while max(plan[-1][1]) > OVERVIEW_PX:
        plan.append((None, _half(plan[-1][1])))
    return plan


def cached_tile(stored: tuple[int, int]) -> tuple[int, int]:
    """Return the size at which tiles of a level are cached: whole stored pieces, where possible.

    Parameters
    ----------
    stored : (int, int)
        Height and width of the file's tiles or strips.

    Returns
    -------
    (int, int)
        About `CHUNK_PX`.
    """
    height, width = (max(1, round(CHUNK_PX / edge)) * edge if edge <= _LARGEST_TILE_PX else CHUNK_PX for edge in stored)
    return height, width


def _half(shape: tuple[int, int]) -> tuple[int, int]:
    return max(1, round(shape[0] / 2)), max(1, round(shape[1] / 2))
