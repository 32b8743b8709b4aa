"""Strokes of a pen: colours that stains do not make, wide and even.

Colours are compared as optical densities in red, green and blue, in which dyes add up: whatever the strength, every
mixture of haematoxylin, eosin, DAB and blood keeps within known ratios of red to green and blue to green, with
haematoxylin (0.65 : 0.70 : 0.29, Ruifrok & Johnston 2001) and eosin (0.22 : 0.80 : 0.56) at two of the ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from ._shapes import dilated, disk_um, opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CORE_UM = 48.0
"""Least width of a stroke; markers write ten times as wide, and what is narrower is dye at a tissue's edge."""

_EVEN_UM = 96.0
"""Least width of a stroke whose colour only just leaves what stains make."""

_EDGE_UM = 48.0
"""Its soft edge, left out as well."""

_EVEN = 0.035
"""Most contrast among neighbouring pixels, a share of their density, in a stroke. At 8 um per pixel that of tissue is
0.05 and more, of ink about 0.02."""

_DENSE, _STRONG, _BLACK = 0.25, 0.5, 0.8
"""Least optical densities: of a colour that no stain has, of one that might be a stain's, of black."""


def find_ink(rgb: NDArray[np.uint8], um_per_px: tuple[float, float]) -> NDArray[np.bool_]:
    """Mark strokes of a pen, black borders, and their soft edges.

    Parameters
    ----------
    rgb : (rows, cols, 3) uint8
        The slide at low resolution, its glass white.
    um_per_px : (float, float)
        Microns per pixel, (row, col).

    Returns
    -------
    (rows, cols) bool
        True on ink. Brown ink cannot be told from DAB, nor a thin pale stroke from stain: they are not marked.
    """
    table = -np.log(np.maximum(np.arange(256), 1) / 255).astype(np.float32)
    red, green, blue = (table[rgb[..., channel]] for channel in range(3))
    most = np.maximum(np.maximum(red, green), blue)
    least = np.minimum(np.minimum(red, green), blue)
    # blue, green and turquoise let more red be swallowed than green; yellow and orange swallow blue
    foreign = (red > 1.1 * green) | (blue > 1.8 * green)
    sure = foreign & (most > _DENSE)
    # black and grey: no dye swallows all colours alike
    sure |= (most > _BLACK) & (most - least < 0.15 * most)
    strokes: NDArray[np.bool_] = opened(sure, disk_um(_CORE_UM / 2, um_per_px))
    strokes |= _even_strokes(red, green, blue, um_per_px)
    if not strokes.any():
        return strokes
    # over tissue a stroke takes on its colour: go on where it is dark and nearly foreign
    nearly = (red > 0.9 * green) | (most - least < 0.3 * most)
    nearly |= ((blue > 1.3 * green) & (red < 0.35 * green)) | ((red < 0.22 * green) & (blue > 0.5 * green))
    onward = ndimage.binary_opening(sure | (nearly & (most > _BLACK)), np.ones((3, 3)))
    strokes = ndimage.binary_propagation(strokes, mask=strokes | onward)
    grown: NDArray[np.bool_] = dilated(strokes, disk_um(_EDGE_UM, um_per_px))
    return grown


def _even_strokes(
    red: NDArray[np.float32], green: NDArray[np.float32], blue: NDArray[np.float32], um_per_px: tuple[float, float]
) -> NDArray[np.bool_]:
    """Mark red and violet strokes: their colours border on those of eosin and of both dyes, but ink is even."""
    pure_red = (red < 0.1 * green) & (blue > 0.5 * green)
    # mixtures of haematoxylin and eosin swallow at least so much blue
    pure_violet = (red > 0.35 * green) & (blue < 0.70 * green - 0.30 * red)
    candidate = (pure_red | pure_violet) & (green > _STRONG)
    wide: NDArray[np.bool_] = opened(candidate, disk_um(_EVEN_UM / 2, um_per_px))
    if not wide.any():
        return wide
    mean = ndimage.uniform_filter(green, 3)
    contrast = np.sqrt(np.maximum(ndimage.uniform_filter(green * green, 3) - mean * mean, 0)) / np.maximum(mean, 0.1)
    size = [max(1, round(_CORE_UM / um)) for um in um_per_px]
    even = ndimage.median_filter(contrast, size=size) < _EVEN
    result: NDArray[np.bool_] = ndimage.binary_propagation(wide & even, mask=candidate)
    return result
