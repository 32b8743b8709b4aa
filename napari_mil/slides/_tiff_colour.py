"""What the samples of a TIFF image mean, and how they become RGB."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tifffile import TiffPage

ToRgb = Callable[["NDArray[Any]"], "NDArray[np.uint8]"]
"""From (rows, cols, samples) as stored to (rows, cols, 3) uint8."""

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_ASSOCIATED_ALPHA, _ALPHA = 1, 2


def rgb_converter(page: TiffPage, samples: int) -> tuple[ToRgb | None, str]:
    """Return how an image's samples become RGB.

    Parameters
    ----------
    page : tifffile.TiffPage
        The image.
    samples : int
        Samples of a pixel, over all planes.

    Returns
    -------
    convert : callable or None
        From (rows, cols, samples) as stored to (rows, cols, 3) uint8; None where the image is no picture of a kind that
        can be shown.
    note : str
        With a converter, what it changes beyond recognition; without, why there is none: a clause, or empty.
    """
    scale, note = _to_uint8(page)
    if scale is None:
        return None, note
    photometric, extra = int(page.photometric), tuple(int(kind) for kind in page.extrasamples)
    if photometric == _PALETTE and page.colormap is not None and samples == 1:
        table = (np.asarray(page.colormap, np.uint16) >> 8).astype(np.uint8).T
        return lambda pixels: table[np.minimum(pixels[..., 0], len(table) - 1)], ""
    if photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and samples == 1:
        invert = photometric == _WHITE_IS_ZERO
        return lambda pixels: _grey(scale(pixels), invert=invert), note
    if photometric in (_RGB, _YCBCR, _BLACK_IS_ZERO) and samples == 3:
        return scale, note
    if photometric == _RGB and samples == 4 and extra[:1] in ((_ALPHA,), (_ASSOCIATED_ALPHA,)):
        associated = extra[0] == _ASSOCIATED_ALPHA
        return lambda pixels: _on_white(scale(pixels), associated=associated), note
    if samples > 4 or photometric == _BLACK_IS_ZERO:
        return None, f"it has {samples} colour channels (fluorescence?), and only RGB and grey slides can be shown"
    return None, f"its colours are stored in a way that cannot be shown ({page.photometric!s}, {samples} samples)"


def _to_uint8(page: TiffPage) -> tuple[ToRgb | None, str]:
    bits, kind = page.bitspersample, page.dtype.kind if page.dtype is not None else ""
    if kind == "b" or (kind == "u" and bits == 1):
        return lambda pixels: (pixels != 0).astype(np.uint8) * np.uint8(255), ""
    if kind == "u" and bits == 8:
        return lambda pixels: pixels, ""
    if kind == "u" and 8 < bits <= 16:
        top = np.float32(255 / (2**bits - 1))
        return (
            lambda pixels: (pixels * top + np.float32(0.5)).astype(np.uint8),
            f"its {bits}-bit values are shown in 8 bits",
        )
    return None, f"its pixels are of a kind that cannot be shown ({page.dtype}, {bits} bits)"


def _grey(pixels: NDArray[np.uint8], *, invert: bool) -> NDArray[np.uint8]:
    grey = pixels[..., :1]
    return np.repeat(255 - grey if invert else grey, 3, axis=2)


def _on_white(pixels: NDArray[np.uint8], *, associated: bool) -> NDArray[np.uint8]:
    alpha = pixels[..., 3:].astype(np.float32) / 255
    colour = pixels[..., :3].astype(np.float32)
    result: NDArray[np.uint8] = ((colour if associated else colour * alpha) + 255 * (1 - alpha) + 0.5).astype(np.uint8)
    return result
