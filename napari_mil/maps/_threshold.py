"""The threshold on what is shown, what lies above it, and how widely attention is spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tiling import TileGrid
    from ._map import MapView


@dataclass(frozen=True, slots=True)
class ThresholdSummary:
    """What lies at or above a threshold.

    Parameters
    ----------
    count, n : int
        Patches at or above it, and in all.
    area_mm2 : float
        Area that those patches cover on the screen, overlaps counted once.
    fraction_of_tissue : float
        Their share of the tissue in all patches, in [0, 1]; of the patches where the tissue in each is unknown.
    raw_cut : float or None
        The lowest raw score among them; None where there are none.
    """

    count: int
    n: int
    area_mm2: float
    fraction_of_tissue: float
    raw_cut: float | None


def above(values: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Tell which values are at or above a threshold on the scale shown; NaN never is.

    Parameters
    ----------
    values : (N,) float32
        Values as shown.
    threshold : float
        In the same units.

    Returns
    -------
    (N,) bool
        True at or above it.
    """
    # the slider's float64 must find the float32 value that it stands on
    return np.asarray(values >= np.float32(threshold))


def summarise(view: MapView, grid: TileGrid, threshold: float) -> ThresholdSummary:
    """Count and measure what lies at or above a threshold.

    Parameters
    ----------
    view : MapView
        What is shown.
    grid : TileGrid
        Its tiles.
    threshold : float
        On the scale shown.

    Returns
    -------
    ThresholdSummary
        Count, area, share and raw cut.
    """
    chosen = above(view.values, threshold)
    count, n = int(chosen.sum()), len(grid)
    tissue = grid.tissue_fraction.astype(np.float64)
    weights = tissue if np.isfinite(tissue).all() and tissue.sum() > 0 else np.ones(n)
    share = float(weights[chosen].sum() / weights.sum()) if n else 0.0
    raw_cut = float(view.raw[chosen].min()) if count else None
    return ThresholdSummary(count, n, count * grid.tile_mm2, share, raw_cut)


def effective_patches(attention: NDArray[np.float32]) -> float:
    """Return how many patches the attention is effectively spread over: ``1 / sum a_i^2`` (effective sample size).

    Parameters
    ----------
    attention : (N,) float32
        Sums to 1.

    Returns
    -------
    float
        N where attention is even, 1 where a single patch has it all; NaN without patches.
    """
    squares = float(np.square(attention.astype(np.float64)).sum())
    return 1.0 / squares if squares > 0 else float("nan")


def normalised_entropy(attention: NDArray[np.float32]) -> float:
    """Return the entropy of the attention over its largest possible value: ``-sum a_i ln a_i / ln N``.

    Parameters
    ----------
    attention : (N,) float32
        Sums to 1.

    Returns
    -------
    float
        1 where attention is even, 0 where a single patch has it all; NaN for fewer than two patches.
    """
    if len(attention) < 2:
        return float("nan")
    a = attention[attention > 0].astype(np.float64)
    return float(abs((a * np.log(a)).sum()) / np.log(len(attention)))
