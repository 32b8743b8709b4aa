"""Which level to read, and how its pixels become pixels of another size.

One definition of both for single patches, for thumbnails and for the large blocks of feature extraction, so that a
patch shown to a person is the very patch that an encoder saw.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._slide import Slide

LEVEL_TOLERANCE = 0.02
"""A level up to 2 % too coarse still serves: scanners of 0.2528 um have levels of 0.5056, and reading level 0 instead
costs four times the pixels for a hundredth in sharpness."""


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
        The level with the greatest downsample not above ``l0_per_px`` (within 2 %), or 0.
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
    if out is None:
        out = np.empty((*out_shape, image.shape[2]), np.uint8)
    resize_windows(image, np.array([[row, col]], float), (height, width), out[None])
    return out


def resize_windows(
    image: NDArray[np.uint8],
    corners_rc: NDArray[np.float64],
    size: tuple[float, float],
    out: NDArray[np.uint8],
) -> None:
    """Resample many windows of one size of an image, as `resize_area` does one.

    Windows that begin in the same row are done together.

    Parameters
    ----------
    image : (H, W, C) uint8
        The source.
    corners_rc : (n, 2) float64
        Top-left corners in source pixels.
    size : (float, float)
        Height and width of the windows in source pixels.
    out : (n, rows, cols, C) uint8
        Where to put them.
    """
    steps = size[0] / out.shape[1], size[1] / out.shape[2]
    whole = steps[0] == steps[1] and steps[0] in _WHOLE_STEPS
    for row in np.unique(corners_rc[:, 0]):
        members = np.flatnonzero(corners_rc[:, 0] == row)
        cols = corners_rc[members, 1]
        if whole and _inside(image, row, cols, size):
            for k, col in zip(members, cols, strict=True):
                _mean_of_blocks(image[int(row) :, int(col) :], int(steps[0]), out[k])
        else:
            found = np.empty((len(members), *out.shape[1:]), np.uint8)
            _average(image, float(row), cols, size, found)
            out[members] = found


_WHOLE_STEPS = frozenset(range(1, 9))
"""Steps at which windows on whole pixels are averaged in whole numbers."""


def _inside(image: NDArray[np.uint8], row: float, cols: NDArray[np.float64], size: tuple[float, float]) -> bool:
    """Whether windows lie on whole pixels, within the image."""
    return bool(
        row == int(row)
        and 0 <= row <= image.shape[0] - size[0]
        and (cols == np.floor(cols)).all()
        and cols.min() >= 0
        and cols.max() <= image.shape[1] - size[1]
    )


def _mean_of_blocks(image: NDArray[np.uint8], step: int, out: NDArray[np.uint8]) -> None:
    rows, cols = out.shape[:2]
    if step == 1:
        out[:] = image[:rows, :cols]
        return
    # whole rows first, then each channel along its rows: adding triples of numbers takes two to four times as long
    window = image[: rows * step, : cols * step]
    down = np.add(window[::step], window[1::step], dtype=np.uint16)  # 64 pixels of 255 fit
    for r in range(2, step):
        down += window[r::step]
    for channel in range(out.shape[2]):
        total = np.full((rows, cols), step * step // 2, np.uint16)  # rounds to the nearest
        for c in range(step):
            total += down[:, c::step, channel]
        total //= np.uint16(step * step)
        out[..., channel] = total


def _average(
    image: NDArray[np.uint8],
    row: float,
    cols: NDArray[np.float64],
    size: tuple[float, float],
    out: NDArray[np.uint8],
) -> None:
    """Average windows that begin in one row into ``out`` (n, rows, cols, C).

    Averaging along an axis is a product with a sparse matrix, first down the rows, then, turned, along the columns.
    """
    rows, channels = out.shape[1], out.shape[3]
    down, (top, bottom) = _averaging(np.array([row]), size[0], rows, image.shape[0])
    along, (left, right) = _averaging(cols, size[1], out.shape[2], image.shape[1])
    # channel by channel: turning single numbers is four times as fast as turning triples
    strip = image[top:bottom, left:right].transpose(0, 2, 1).astype(np.float32, order="C")
    low = (down @ strip.reshape(bottom - top, -1)).reshape(rows * channels, right - left)
    result: NDArray[np.float32] = along @ np.ascontiguousarray(low.T)
    result += np.float32(0.5)  # so that cutting off rounds
    turned = result.astype(np.uint8).reshape(len(cols), out.shape[2], rows, channels)
    out[:] = turned.transpose(0, 2, 1, 3)


def _averaging(starts: NDArray[np.float64], length: float, n_out: int, n_in: int) -> tuple[csr_array, tuple[int, int]]:
    """Return the matrix that averages windows of one axis, and the source pixels [first, last) that it takes."""
    index, share = _taps(starts, length, n_out, n_in)
    first, last = int(index.min()), int(index.max()) + 1
    rows, taps = index.shape
    places = np.arange(0, rows * taps + 1, taps, dtype=np.int32)
    matrix = csr_array(
        (share.ravel(), (index - first).astype(np.int32).ravel(), places), shape=(rows, last - first), copy=False
    )
    return matrix, (first, last)


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
    if block.shape[:2] == out_shape and height == out_shape[0] and width == out_shape[1]:
        return block  # pixel for pixel
    return resize_area(block, row - top, col - left, height, width, out_shape)


def cover(start: float, length: float, n_out: int) -> tuple[int, int]:
    """Return the whole source pixels [first, last) that `resize_area` looks at along one axis."""
    # interpolation looks half a source pixel beyond the window, averaging does not
    reach = max(0.0, (1 - length / n_out) / 2)
    return math.floor(start - reach + _SNAP), math.ceil(start + length + reach - _SNAP)


_SNAP = 1e-6
"""Source pixels by which a window's edge may miss a whole number through rounding alone."""


def _taps(
    starts: NDArray[np.float64], length: float, n_out: int, n_in: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return, per result pixel, the source pixels it covers and the share of it that each takes.

    Both (windows * n_out, K), window after window.
    """
    step = length / n_out
    span = max(step, 1.0)
    centre = (starts[:, None] + (np.arange(n_out) + 0.5) * step).ravel()
    low, high = centre - span / 2, centre + span / 2
    first = np.floor(low + _SNAP).astype(np.int64)
    index = first[:, None] + np.arange(math.ceil(span - _SNAP) + 1)
    share = np.minimum(high[:, None], index + 1) - np.maximum(low[:, None], index)
    share[share < _SNAP] = 0
    share /= share.sum(axis=1, keepdims=True)
    used = share.any(axis=0)
    return np.clip(index, 0, n_in - 1)[:, used], share[:, used].astype(np.float32)
