"""Which level to read, and how its pixels become pixels of another size.

One definition of both for single patches, for thumbnails and for the large blocks of feature extraction, so that a
patch shown to a person is the very patch that an encoder saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._slide import Slide

LEVEL_TOLERANCE = 0.01
"""A level up to 1 % too coarse still serves: 40x scans have levels at 3.9996 and the like."""


def best_level(slide: Slide, l0_per_px: float) -> int:
    """Choose the coarsest level that is still fine enough.

    Parameters
    ----------
    slide : Slide
        The slide.
    l0_per_px : float
        Level-0 pixels per wanted pixel.

    Returns
    -------
    int
        The level with the greatest downsample not above ``l0_per_px`` (within 1 %), or 0.
    """
    limit = l0_per_px * (1 + LEVEL_TOLERANCE)
    fits = [(downsample, level) for level, downsample in enumerate(slide.level_downsamples) if downsample <= limit]
    return max(fits)[1] if fits else 0


def resize_area(
    image: NDArray[np.uint8],
    row: float,
    col: float,
    height: float,
    width: float,
    out_shape: tuple[int, int],
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Resample a window of an image, each pixel of the result being the mean over the area that it covers.

    The window may begin and end between pixels. Where the result is finer than the image, the area is one pixel of
    the image wide, which is linear interpolation; so the two regimes meet without a jump.

    Parameters
    ----------
    image : (H, W, C) uint8
        The source.
    row, col : float
        Top-left corner of the window in source pixels; 0 is the outer edge of the first pixel.
    height, width : float
        Size of the window in source pixels. Beyond the image its edge pixels are repeated.
    out_shape : (int, int)
        Rows and columns of the result.
    out : (rows, cols, C) uint8, optional
        Where to put it.

    Returns
    -------
    (rows, cols, C) uint8
        The resampled window: ``out``, or a new contiguous array.
    """
    rows, cols = out_shape
    if out is None:
        out = np.empty((rows, cols, image.shape[2]), np.uint8)
    if (height, width) == (rows, cols) and row == int(row) and col == int(col):
        r, c = int(row), int(col)
        if r >= 0 and c >= 0 and r + rows <= image.shape[0] and c + cols <= image.shape[1]:
            out[:] = image[r : r + rows, c : c + cols]
            return out
    index, weight = _taps(row, height, rows, image.shape[0])
    tall = _weighted(lambda k: image[index[:, k]], weight[:, :, None, None])
    index, weight = _taps(col, width, cols, image.shape[1])
    result = _weighted(lambda k: tall[:, index[:, k]], weight[:, :, None])
    result += 0.5
    out[:] = result  # of positive numbers this takes the whole part
    return out


def read_scaled(
    slide: Slide,
    l0_row: float,
    l0_col: float,
    l0_height: float,
    l0_width: float,
    out_shape: tuple[int, int],
) -> NDArray[np.uint8]:
    """Read a window of the slide at any size, from the best level.

    Parameters
    ----------
    slide : Slide
        The slide.
    l0_row, l0_col : float
        Top-left corner, level-0 pixels; need not be whole.
    l0_height, l0_width : float
        Size, level-0 pixels; need not be whole.
    out_shape : (int, int)
        Rows and columns of the result.

    Returns
    -------
    (rows, cols, 3) uint8
        RGB; background colour outside the slide.

    Raises
    ------
    SlideError
        If the slide is closed or damaged there.
    """
    level = best_level(slide, min(l0_height / out_shape[0], l0_width / out_shape[1]))
    down_r, down_c = slide.level_scales[level]
    row, col, height, width = l0_row / down_r, l0_col / down_c, l0_height / down_r, l0_width / down_c
    top, bottom = cover(row, height, out_shape[0])
    left, right = cover(col, width, out_shape[1])
    block = slide.read(level, top, left, bottom - top, right - left)
    return resize_area(block, row - top, col - left, height, width, out_shape)


def cover(start: float, length: float, n_out: int) -> tuple[int, int]:
    """Return the whole source pixels [first, last) that `resize_area` looks at along one axis."""
    # interpolation looks half a source pixel beyond the window, averaging does not
    reach = max(0.0, (1 - length / n_out) / 2)
    return math.floor(start - reach + _SNAP), math.ceil(start + length + reach - _SNAP)


_SNAP = 1e-6
"""Source pixels by which a window's edge may miss a whole number through rounding alone."""


def _taps(start: float, length: float, n_out: int, n_in: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return, per result pixel, the source pixels it covers and the share of it that each takes; both (n_out, K)."""
    step = length / n_out
    span = max(step, 1.0)
    centre = start + (np.arange(n_out) + 0.5) * step
    low, high = centre - span / 2, centre + span / 2
    first = np.floor(low + _SNAP).astype(np.int64)
    index = first[:, None] + np.arange(math.ceil(span - _SNAP) + 1)
    share = np.minimum(high[:, None], index + 1) - np.maximum(low[:, None], index)
    share[share < _SNAP] = 0
    share /= share.sum(axis=1, keepdims=True)
    used = share.any(axis=0)
    return np.clip(index, 0, n_in - 1)[:, used], share[:, used].astype(np.float32)


def _weighted(take: Callable[[int], NDArray[Any]], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum ``take(k) * weight[:, k]`` over k, in place where it can."""
    total: NDArray[np.float32] = take(0) * weight[:, 0]
    for k in range(1, weight.shape[1]):
        total += take(k) * weight[:, k]
    return total
