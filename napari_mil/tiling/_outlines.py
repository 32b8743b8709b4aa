"""Outlines of the tissue, to be drawn over the slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from skimage.measure import approximate_polygon, find_contours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._grid import TissueMask

_TOLERANCE_PX = 0.75
"""Mask pixels by which a simplified outline may miss the true one."""


def outlines(mask: TissueMask) -> list[NDArray[np.float64]]:
    """Trace the tissue's outer borders and holes.

    Parameters
    ----------
    mask : TissueMask
        Where tissue is.

    Returns
    -------
    list of (K, 2) float64
        One open polygon each, level-0 pixels (row, col), 0 being the slide's outer edge; the longest first. In napari,
        where whole numbers are pixel centres, draw them shifted by -0.5.
    """
    return sorted(traced_rings(mask, _TOLERANCE_PX), key=len, reverse=True)


def traced_rings(mask: TissueMask, tolerance_px: float) -> list[NDArray[np.float64]]:
    """Trace borders and holes, simplified.

    Parameters
    ----------
    mask : TissueMask
        Where tissue is.
    tolerance_px : float
        Mask pixels by which a ring may miss the true one.

    Returns
    -------
    list of (K, 2) float64
        One open ring each, level-0 pixels (row, col), 0 being the slide's outer edge.
    """
    # a rim of glass closes the outlines of tissue that touches the slide's edge
    padded = np.pad(mask.mask, 1)
    # contour coordinates are pixel centres of the padded mask: -1 for the rim, +0.5 from centre to edge
    traced = [approximate_polygon(line, tolerance_px)[:-1] - 0.5 for line in find_contours(padded, 0.5)]
    limit = np.array(mask.mask.shape, dtype=np.float64)
    scale = np.array(mask.l0_per_px)
    return [np.clip(line, 0, limit) * scale for line in traced if len(line) >= 3]
