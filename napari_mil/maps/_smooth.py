"""Smoothing for the eye: what is between patches is drawn gradually; no number changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGMA_CELLS = 0.75
_MOST_PIXELS = 4_000_000


def smoothing_factor(shape: tuple[int, int]) -> int:
    """Return how many pixels a cell's edge becomes: 4, fewer where the picture would be large.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of cells.

    Returns
    -------
    int
        1 to 4.
    """
    cells = max(1, shape[0] * shape[1])
    return int(min(4, max(1, np.sqrt(_MOST_PIXELS / cells))))


def enlarged(cells: NDArray[Any], factor: int) -> NDArray[Any]:
    """Return each cell as a square of factor x factor pixels.

    Parameters
    ----------
    cells : (rows, cols) array
        Of any kind.
    factor : int
        Pixels along a cell's edge.

    Returns
    -------
    (rows * factor, cols * factor) array
        Of the same kind.
    """
    return np.repeat(np.repeat(cells, factor, axis=0), factor, axis=1)


def smoothed(cells: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return a raster drawn gradually: a Gaussian mean over the cells that are known, seen where a cell is known.

    Parameters
    ----------
    cells : (rows, cols) float32
        NaN where there is no tile.
    factor : int
        Pixels along a cell's edge, see `smoothing_factor`.

    Returns
    -------
    (rows * factor, cols * factor) float32
        Within the range of the cells; NaN where they are NaN.
    """
    from scipy.ndimage import gaussian_filter

    known = np.isfinite(cells)
    sigma = _SIGMA_CELLS * factor
    weights = gaussian_filter(enlarged(known.astype(np.float32), factor), sigma, mode="constant", truncate=3)
    sums = gaussian_filter(enlarged(np.where(known, cells, np.float32(0)), factor), sigma, mode="constant", truncate=3)
    out = np.full(sums.shape, np.nan, np.float32)
    seen = enlarged(known, factor)
    out[seen] = sums[seen] / weights[seen]
    return out
