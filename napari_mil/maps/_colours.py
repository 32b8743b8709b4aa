"""Values turned into colours, the same in files as in the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._map import MapView


def colours(view: MapView, colourmap: str = "") -> NDArray[np.uint8]:
    """Return the colour of every tile as the map shows it.

    Parameters
    ----------
    view : MapView
        What is shown.
    colourmap : str
        Name of the colour map; empty takes the scale's own.

    Returns
    -------
    (N, 3) uint8
        Red, green, blue; white where a value is not a number.
    """
    import matplotlib as mpl

    low, high = view.scale.to_axis(np.asarray(view.limits, np.float32))
    position = (view.scale.to_axis(view.values) - low) / (high - low)
    lookup = mpl.colormaps[colourmap or view.scale.colourmap].with_extremes(bad="white")
    rgba = lookup(np.ma.masked_invalid(np.clip(position, 0, 1)), bytes=True)
    return np.asarray(rgba[:, :3], np.uint8)
