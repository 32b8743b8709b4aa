"""Which patches the gallery shows: what is asked for, as work for a thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...maps import hot_spots, spaced_patches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...maps import HotSpot, PatchTags
    from ..overlay import Overlay

_MOST_PATCHES = 500


def ranked(overlay: Overlay, k: int, apart: int, *, lowest: bool) -> Callable[[], NDArray[np.int64]]:
    """Return what finds the highest or lowest patches of a map, so many patches apart."""
    grid = overlay.map.grid
    return partial(spaced_patches, overlay.view.raw, grid, k, spacing_l0=apart * grid.tile_l0, lowest=lowest)


def spots(overlay: Overlay, min_patches: int) -> Callable[[], list[HotSpot]]:
    """Return what finds the hot spots of what the threshold leaves of a map."""
    settings, view, grid = overlay.settings, overlay.view, overlay.map.grid
    # at the scale's lower end nothing is hidden, also not what lies below it
    cut = -np.inf if overlay.hides_none else settings.threshold
    return partial(hot_spots, view.values, grid, cut, below=settings.inverted, min_patches=min_patches)


def of_spot(spot: HotSpot, overlay: Overlay) -> NDArray[np.int64]:
    """Return a hot spot's patches, those that make it one first; at most 500."""
    sign = 1 if overlay.settings.inverted else -1
    order = np.argsort(sign * overlay.view.raw[spot.patches], kind="stable")
    return np.asarray(spot.patches[order[:_MOST_PATCHES]], np.int64)


def marked(tags: PatchTags, overlay: Overlay) -> NDArray[np.int64]:
    """Return the patches of a map of which something was said, the highest first, those without a score last."""
    patches = np.array(list(tags.on_grid(overlay.map.grid)), np.int64)
    return patches[np.argsort(-overlay.view.raw[patches], kind="stable")]
