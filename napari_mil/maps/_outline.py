"""The outline of the cells of a raster that are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def outline(seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the edges between cells that are seen and cells that are not, straight runs in one piece.

    Parameters
    ----------
    seen : (rows, cols) bool
        Which cells are.

    Returns
    -------
    (S, 2, 2) float32
        Both ends of each run, (row, col), in cells: cell (r, c) reaches from (r, c) to (r + 1, c + 1).
    """
    return np.concatenate([_runs(seen), _runs(seen.T)[..., ::-1]])


def _runs(seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the runs along rows: where a row differs from the one before."""
    padded = np.pad(seen, ((1, 1), (0, 0)))
    differs = np.pad(padded[1:] != padded[:-1], ((0, 0), (1, 1)))
    turns = np.diff(differs.astype(np.int8), axis=1)
    row, start = np.nonzero(turns == 1)
    _, end = np.nonzero(turns == -1)
    return np.stack([np.stack([row, start], 1), np.stack([row, end], 1)], 1).astype(np.float32)
