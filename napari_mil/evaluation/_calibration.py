"""Whether probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Probabilities held against what happened, in `BINS` bins of equal width over 0 to 1, closed above.

    Parameters
    ----------
    counts : (BINS,) int64
        Slides in each bin.
    said : (BINS,) float64
        Mean probability said; NaN in empty bins.
    happened : (BINS,) float64
        Share of slides for which it came true; NaN in empty bins.
    ece : float
        Expected calibration error: mean of abs(said - happened), every slide counting the same.
    brier : float
        Mean squared error of the positive class's probability; of more than two classes, summed over them.
    """

    counts: NDArray[np.int64]
    said: NDArray[np.float64]
    happened: NDArray[np.float64]
    ece: float
    brier: float


def calibrate(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Calibration:
    """Hold probabilities against what happened.

    Of two classes the probability of the second one is judged; of more, that of the likeliest class, with "it is that
    class" for what happens (Guo et al., "On calibration of modern neural networks", ICML 2017).

    Parameters
    ----------
    targets : (S,) int64
        True classes.
    probabilities : (S, C) float64
        Of each class.

    Returns
    -------
    Calibration
        With the Brier score.
    """
    if probabilities.shape[1] == 2:
        said, true = probabilities[:, 1], targets == 1
    else:
        likeliest = probabilities.argmax(axis=1)
        said, true = probabilities.max(axis=1), targets == likeliest
    bins = np.clip(np.ceil(said * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean_said = np.bincount(bins, said, BINS) / counts
        happened = np.bincount(bins, true, BINS) / counts
    filled = counts > 0
    ece = float((np.abs(mean_said - happened)[filled] * counts[filled]).sum() / len(targets))
    return Calibration(counts, mean_said, happened, ece, float(squared_errors(targets, probabilities).mean()))


def squared_errors(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each slide's part (S,) of the Brier score."""
    if probabilities.shape[1] == 2:
        squares: NDArray[np.float64] = (probabilities[:, 1] - (targets == 1)) ** 2
        return squares
    wanted = np.eye(probabilities.shape[1])[targets]
    summed: NDArray[np.float64] = ((probabilities - wanted) ** 2).sum(axis=1)
    return summed
