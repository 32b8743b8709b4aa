"""The threshold on what is shown, what lies above it, and how widely attention is spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tiling import TileGrid
    from ._map import MapView

CutBy: TypeAlias = Literal["value", "percentile", "count", "area"]
"""What a threshold is chosen by: a value shown, a percentile of the patches, the top patches, the top square mm."""


@dataclass(frozen=True, slots=True)
class ThresholdSummary:
    """What lies on one side of a threshold.

    Parameters
    ----------
    count, n : int
        Patches on that side, and in all.
    area_mm2 : float
        Area that those patches cover on the screen, overlaps counted once.
    fraction_of_tissue : float
        Their share of the tissue in all patches, in [0, 1]; of the patches where the tissue in each is unknown.
    raw_cut : float or None
        The lowest raw score at or above the threshold; None where there is none.
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


class Cuts:
    """What lies at or above any threshold of a view, sorted once so that a slider's every step is two look-ups.

    Parameters
    ----------
    view : MapView
        What is shown; its values rise with its raw scores.
    grid : TileGrid
        Its tiles.
    """

    def __init__(self, view: MapView, grid: TileGrid) -> None:
        known = np.flatnonzero(~np.isnan(view.values))
        order = known[np.argsort(view.raw[known])]
        tissue = grid.tissue_fraction.astype(np.float64)
        weights = tissue if np.isfinite(tissue).all() and tissue.sum() > 0 else np.ones(len(grid))
        self._values, self._raw = view.values[order], view.raw[order]
        self._below = np.concatenate([[0.0], np.cumsum(weights[order])])
        self._all = float(weights.sum())
        self._raw_of = view.raw
        self._n, self._tile_mm2 = len(grid), grid.tile_mm2

    def at(self, threshold: float, *, below: bool = False) -> ThresholdSummary:
        """Count and measure what lies at or above a threshold.

        Parameters
        ----------
        threshold : float
            On the scale shown.
        below : bool
            Count what lies below it instead.

        Returns
        -------
        ThresholdSummary
            Count, area, share and raw cut.
        """
        first, known = self._first(threshold), len(self._values)
        count = first if below else known - first
        part = self._below[first] if below else self._below[-1] - self._below[first]
        share = float(part) / self._all if self._n else 0.0
        raw_cut = float(self._raw[first]) if first < known else None
        return ThresholdSummary(count, self._n, count * self._tile_mm2, share, raw_cut)

    def threshold(self, by: CutBy, amount: float) -> float:
        """Return the threshold that leaves so much at or above it; patches of one value stay together.

        Parameters
        ----------
        by : str
            "value" returns the amount itself; "percentile" hides that percentage of the patches; "count" leaves so
            many; "area" leaves so many square millimetres.
        amount : float
            How much, in percent, patches or square millimetres.

        Returns
        -------
        float
            On the scale shown; just above every patch where nothing is to be left.
        """
        if by == "value":
            return amount
        known = len(self._values)
        left = {
            "percentile": known - round(known * amount / 100),
            "count": round(amount),
            "area": round(amount / self._tile_mm2),
        }[by]
        first = min(max(known - left, 0), known)
        if first < known:
            return float(self._values[first])
        return float(np.nextafter(self._values[-1], np.float32(np.inf))) if known else 0.0

    def amount(self, by: CutBy, threshold: float) -> float:
        """Return how much a threshold leaves at or above it, in the units that `threshold` takes.

        Parameters
        ----------
        by : str
            As in `threshold`.
        threshold : float
            On the scale shown.

        Returns
        -------
        float
            For "percentile" the percentage of the patches that is hidden.
        """
        if by == "value":
            return threshold
        first, known = self._first(threshold), len(self._values)
        if by == "percentile":
            return 100 * first / max(1, known)
        return (known - first) * (1 if by == "count" else self._tile_mm2)

    def place(self, patch: int) -> tuple[int, int]:
        """Return a patch's place from the top, 1 for the highest (and all that share its score), and of how many."""
        raw = self._raw_of[patch]
        return len(self._raw) - int(np.searchsorted(self._raw, raw, side="right")) + 1, len(self._raw)

    def shown(self, raw: float) -> float:
        """Return what a raw score would be shown as, on a line between the patches next to it; NaN without patches."""
        return float(np.interp(raw, self._raw, self._values)) if len(self._raw) else float("nan")

    def _first(self, threshold: float) -> int:
        # the slider's float64 must find the float32 value that it stands on
        return int(np.searchsorted(self._values, np.float32(threshold)))


def summarise(view: MapView, grid: TileGrid, threshold: float) -> ThresholdSummary:
    """Count and measure what lies at or above a threshold, once; `Cuts` does it for many.

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
    return Cuts(view, grid).at(threshold)


def effective_patches(attention: NDArray[np.float32]) -> float:
    """Return how many patches the attention is effectively spread over: ``1 / sum a_i^2`` (effective sample size).

    Parameters
    ----------
    attention : (N,) float32
        Sums to 1; NaN is left out.

    Returns
    -------
    float
        N where attention is even, 1 where a single patch has it all; NaN where none has any.
    """
    squares = float(np.nansum(np.square(attention.astype(np.float64))))
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
