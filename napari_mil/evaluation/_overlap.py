"""How well what lies above a threshold agrees with the target, for every threshold from one sort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..annotations import PatchLabels


@dataclass(frozen=True, slots=True)
class Overlap:
    """What lies at or above one threshold, held against the target.

    Parameters
    ----------
    threshold : float
        On the scale shown.
    hits, false_alarms, misses, rest : int
        Patches above that are target, above that are not, below that are, below that are not.
    dice, iou : float
        Of patches: ``2 |A & T| / (|A| + |T|)`` and ``|A & T| / |A | T|``; NaN without target.
    pixel_dice, pixel_iou : float
        The same of areas, every pixel counted: what is above is the patches' area, the target is its outlines' area,
        also where it lies beside all patches.
    """

    threshold: float
    hits: int
    false_alarms: int
    misses: int
    rest: int
    dice: float
    iou: float
    pixel_dice: float
    pixel_iou: float

    @property
    def precision(self) -> float:
        """Share of what is above that is target; NaN with nothing above."""
        return _share(self.hits, self.hits + self.false_alarms)

    @property
    def sensitivity(self) -> float:
        """Share of the target patches that are above; NaN without target."""
        return _share(self.hits, self.hits + self.misses)

    @property
    def specificity(self) -> float:
        """Share of the other patches that are below; NaN where all are target."""
        return _share(self.rest, self.rest + self.false_alarms)


class OverlapCurve:
    """Overlap with the target at any threshold, sorted once so that a slider's every step is a look-up.

    Parameters
    ----------
    values : (N,) float32
        As shown; NaN is never above.
    labels : PatchLabels
        Of the same patches.
    """

    def __init__(self, values: NDArray[np.float32], labels: PatchLabels) -> None:
        known = np.flatnonzero(~np.isnan(values))
        order = known[np.argsort(values[known], kind="stable")]
        self._values = values[order]
        self._hits = _from_top(labels.target[order].astype(np.float64))
        self._inside = _from_top(labels.cell_overlap[order]) * labels.cell_l0**2
        self._cell = labels.cell_l0**2
        self._target, self._n = int(labels.target.sum()), len(values)
        self._area = float(labels.area.area)
        # the first patch of each value: a threshold between two values cuts like the higher one
        self._firsts = np.flatnonzero(np.r_[True, self._values[1:] != self._values[:-1]][: len(self._values)])

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """Every value that occurs, rising: the thresholds at which anything changes."""
        return self._values[self._firsts]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many patches lie at or above each of `thresholds`."""
        return len(self._values) - self._firsts

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice of patches at each of `thresholds`; NaN without target."""
        return self._ratios(self._firsts)[0]

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of patches at each of `thresholds`; NaN without target."""
        return self._ratios(self._firsts)[1]

    @property
    def pixel_dice(self) -> NDArray[np.float64]:
        """Dice of areas at each of `thresholds`; NaN without target."""
        return self._pixel_ratios(self._firsts)[0]

    def at(self, threshold: float, *, below: bool = False) -> Overlap:
        """Return the overlap at one threshold.

        Parameters
        ----------
        threshold : float
            On the scale shown.
        below : bool
            Hold what lies below it against the target instead.

        Returns
        -------
        Overlap
            Counts and ratios.
        """
        # the slider's float64 must find the float32 value that it stands on
        first = int(np.searchsorted(self._values, np.float32(threshold)))
        known = len(self._values)
        above, hits = known - first, int(self._hits[first])
        inside = float(self._inside[first])
        if below:
            above, hits, inside = first, int(self._hits[0]) - hits, float(self._inside[0]) - inside
        dice, iou = _dice_iou(np.array([hits]), np.array([above]), self._target)
        pixel_dice, pixel_iou = _dice_iou(np.array([inside]), np.array([above * self._cell]), self._area)
        misses = self._target - hits
        return Overlap(
            threshold,
            hits,
            above - hits,
            misses,
            self._n - above - misses,
            *(float(found[0]) for found in (dice, iou, pixel_dice, pixel_iou)),
        )

    def best(self) -> Overlap | None:
        """Return the overlap at the threshold with the best Dice of patches, the highest of several.

        Chosen on the slide that it is measured on, so an upper limit, never an estimate of how well a threshold does.

        Returns
        -------
        Overlap or None
            None without target or known values.
        """
        if not self._target or not len(self._values):
            return None
        dice = self.dice
        return self.at(float(self.thresholds[len(dice) - 1 - int(np.argmax(dice[::-1]))]))

    def _ratios(self, first: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return _dice_iou(self._hits[first], len(self._values) - first, self._target)

    def _pixel_ratios(self, first: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return _dice_iou(self._inside[first], (len(self._values) - first) * self._cell, self._area)


def _from_top(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each place and the one beyond the last, the sum of the weights from there on."""
    return np.append(np.cumsum(weights[::-1])[::-1], 0.0)


def _dice_iou(
    shared: NDArray[np.floating] | NDArray[np.integer],
    above: NDArray[np.floating] | NDArray[np.integer],
    target: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if target <= 0:
        nothing = np.full(len(shared), np.nan)
        return nothing, nothing
    both = above + target
    return 2 * shared / both, shared / (both - shared)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
