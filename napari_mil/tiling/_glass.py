"""The glass of a slide: which pixels are glass, its colour, and colours against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMOOTH_RANGE = 4
"""Most grey values among nine neighbouring pixels of glass."""

_GLASS_SATURATION_MAX = 45
"""What is smooth and more colourful than this is no glass."""

GLASS_SHARE_MIN = 0.002
"""With less smooth glass on the picture its colour is not trusted."""

DARK = 60
"""Pixels with no channel above this are ink, folds or scanner borders: their saturation is noise."""


def find_glass(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return what is surely glass: pale, and smooth where tissue is grained."""
    green = rgb[..., 1]
    spread = ndimage.maximum_filter(green, 3).astype(np.int16) - ndimage.minimum_filter(green, 3)
    glass = (spread <= _SMOOTH_RANGE) & (largest(rgb) > DARK) & (saturation_of(rgb) <= _GLASS_SATURATION_MAX)
    # scanners fill what they did not scan with pure white
    scanned = glass & (~largest(~rgb) < 255)
    enough = np.count_nonzero(scanned) >= GLASS_SHARE_MIN * glass.size
    return np.asarray(scanned if enough else glass)


def largest(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the largest of each pixel's three values; NumPy's own maximum is slow along so short an axis."""
    return np.maximum(np.maximum(rgb[..., 0], rgb[..., 1]), rgb[..., 2])


def balanced(rgb: NDArray[np.uint8], glass: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the picture with its glass, the brightest of it, made white."""
    found = rgb[glass]
    if len(found) < GLASS_SHARE_MIN * glass.size:
        return rgb
    colour = np.maximum(np.median(found[found[:, 1] >= np.percentile(found[:, 1], 90)], axis=0), 1)
    tables = [np.minimum(np.rint(np.arange(256) * gain), 255).astype(np.uint8) for gain in 255 / colour]
    return np.stack([table[rgb[..., channel]] for channel, table in enumerate(tables)], axis=-1)


def saturation_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return saturation, 0 to 255; 0 where a pixel is too dark for it to mean anything."""
    saturation = np.asarray(Image.fromarray(np.atleast_3d(rgb.reshape(-1, 1, 3))).convert("HSV"))[..., 1]
    return np.where(largest(rgb) > DARK, saturation.reshape(rgb.shape[:-1]), np.uint8(0))
