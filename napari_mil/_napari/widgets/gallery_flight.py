"""Going from the gallery to the slide: to a patch or a hot spot, framed there while it is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..canvas_frame import CanvasFrame, box_ring, fly_to
from ..layers import placement

if TYPE_CHECKING:
    import napari
    from numpy.typing import NDArray

    from ...maps import AttentionMap, HotSpot


class Flight:
    """Goes to places of maps in one viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer: napari.Viewer | None = viewer
        self.frame = CanvasFrame(viewer)

    def release(self) -> None:
        """Go nowhere any more, and let go of the viewer."""
        self.frame.release()
        self._viewer = None

    def to_patch(self, amap: AttentionMap, patch: int) -> None:
        """Go to a patch, at the magnification at which the encoder saw it."""
        low, high = patch_box(amap, patch)
        if self._viewer is not None:
            fly_to(self._viewer, low, high, zoom=_encoder_zoom(amap))
        self.show_patch(amap, patch)

    def to_spot(self, amap: AttentionMap, spot: HotSpot) -> None:
        """Go to a hot spot, as large as the canvas and the encoder's magnification allow."""
        corners = np.concatenate(spot_rings(spot, amap.slide.mpp))
        if self._viewer is not None:
            fly_to(self._viewer, corners.min(axis=0), corners.max(axis=0), zoom=_encoder_zoom(amap))
        self.show_spot(amap, spot)

    def show_patch(self, amap: AttentionMap, patch: int) -> None:
        """Frame a patch."""
        self.frame.show([box_ring(*patch_box(amap, patch))])

    def show_spot(self, amap: AttentionMap, spot: HotSpot) -> None:
        """Frame a hot spot."""
        self.frame.show(spot_rings(spot, amap.slide.mpp))


def patch_box(amap: AttentionMap, patch: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a patch's top left and bottom right corner, world (row, col)."""
    scale = np.asarray(placement(amap.slide.mpp)["scale"], float)
    # napari puts pixel centres on whole numbers
    first = amap.grid.l0_rc[patch] - 0.5
    return first * scale, (first + amap.grid.tile_l0) * scale


def spot_rings(spot: HotSpot, mpp: tuple[float, float] | None) -> list[NDArray[np.float64]]:
    """Return a hot spot's outline as closed rings, (K, 2), world (row, col)."""
    scale = np.asarray(placement(mpp)["scale"], float)
    parts = getattr(spot.geometry, "geoms", [spot.geometry])
    lines = [ring for part in parts for ring in (part.exterior, *part.interiors)]
    return [(np.asarray(line.coords)[:, 1::-1] - 0.5) * scale for line in lines]


def _encoder_zoom(amap: AttentionMap) -> float:
    """Return the camera's zoom at which a patch has as many screen pixels as the encoder saw."""
    edges = amap.grid.tile_l0 * np.asarray(placement(amap.slide.mpp)["scale"], float)
    return amap.grid.tile_px / float(edges.max())
