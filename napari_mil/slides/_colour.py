"""Put right files whose pixels come in another colour space than they claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUSPECTS = frozenset({"RGB", "YBR_ICT"})
_NEUTRAL = 128
_NEUTRAL_WITHIN = 24


def may_be_ycbcr(properties: Mapping[str, str]) -> bool:
    """Tell whether a file is of the kind whose pixels OpenSlide can hand out as luma and chroma instead of RGB.

    Converters write DICOM files whose JPEG frames are YCbCr but labelled RGB, and OpenSlide believes the label; JPEG
    2000 frames labelled YBR_ICT come unconverted too (OpenSlide issue 772). White glass then looks salmon.
    """
    return (
        properties.get("openslide.vendor") == "dicom" and properties.get("dicom.PhotometricInterpretation") in _SUSPECTS
    )


def looks_ycbcr(pixels: NDArray[np.uint8]) -> bool:
    """Tell from the pixels whether the three channels are luma and chroma.

    Parameters
    ----------
    pixels : (rows, cols, 3) uint8
        A stretch of slide, best with some glass in it.

    Returns
    -------
    bool
        True where the brighter pixels have a neutral second and third channel, which in RGB would be a salmon red that
        neither glass nor stain has, and where these channels vary less than the first, as chroma does.
    """
    flat = pixels.reshape(-1, 3).astype(np.float64)
    bright = flat[flat[:, 0] >= np.percentile(flat[:, 0], 75)]
    neutral = np.abs(np.median(bright[:, 1:], axis=0) - _NEUTRAL) <= _NEUTRAL_WITHIN
    spread = flat.std(axis=0)
    return bool(
        neutral.all() and np.median(bright[:, 0]) > _NEUTRAL + _NEUTRAL_WITHIN and spread[1:].max() <= spread[0]
    )


def ycbcr_to_rgb(region: Image.Image) -> Image.Image:
    """Convert an RGBA picture that really holds full-range YCbCr (as JPEG defines it) to true RGBA."""
    y, cb, cr, alpha = region.split()
    colour = Image.merge("YCbCr", (y, cb, cr)).convert("RGB")
    colour.putalpha(alpha)
    return colour
