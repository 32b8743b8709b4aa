"""Hot spots for the gallery: found beside the window, and as lines on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...maps import hot_spots
from ..layers import placement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...maps import HotSpot, MapView
    from ...tiling import TileGrid
    from ..overlay import Overlay

_MOST_PATCHES = 500


def find_spots(
    view: MapView,
    grid: TileGrid,
    threshold: float,
    below: bool,
    limits: tuple[float, float],
    min_patches: int,
) -> list[HotSpot]:
    """Return the hot spots of what is seen of a map.

    Parameters
    ----------
    view : MapView
        What is shown.
    grid : TileGrid
        Its tiles.
    threshold : float
        On the scale shown; at or below the lower limit nothing lies below it.
    below : bool
        Whether what lies below it is shown.
    limits : (float, float)
        Ends of the colour bar.
    min_patches : int
        Leave out smaller ones.

    Returns
    -------
    list of HotSpot
        The highest peak first, or with ``below`` the lowest.
    """
    cut = -np.inf if threshold <= limits[0] else threshold
    return hot_spots(view.values, grid, cut, below=below, min_patches=min_patches)


def spot_order(spot: HotSpot, overlay: Overlay) -> NDArray[np.int64]:
    """Return a hot spot's patches, those that make it one first; at most 500."""
    sign = 1 if overlay.settings.inverted else -1
    order = np.argsort(sign * overlay.view.raw[spot.patches], kind="stable")
    return np.asarray(spot.patches[order[:_MOST_PATCHES]], np.int64)


def spot_rings(spot: HotSpot, mpp: tuple[float, float] | None) -> list[NDArray[np.float64]]:
    """Return a hot spot's outline as closed rings, (K, 2), world (row, col)."""
    scale = np.asarray(placement(mpp)["scale"], float)
    parts = getattr(spot.geometry, "geoms", [spot.geometry])
    lines = [ring for part in parts for ring in (part.exterior, *part.interiors)]
    # outlines run along pixel edges, and napari puts pixel centres on whole numbers
    return [(np.asarray(line.coords)[:, 1::-1] - 0.5) * scale for line in lines]
