"""The threshold above which a slide is called positive, chosen on slides that are not tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def youden_threshold(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return the threshold at which sensitivity + specificity - 1 (Youden, Cancer 1950) is largest.

    Parameters
    ----------
    positive : (S,) bool
        Which slides are of the positive class.
    scores : (S,) float64
        Their probability of it; those at or above the threshold are called positive.

    Returns
    -------
    float
        Half-way between two neighbouring scores, so that it does not sit on a slide; of several equally good ones the
        nearest to 0.5. NaN where a class is absent.
    """
    if positive.all() or not positive.any():
        return float("nan")
    ranked = np.unique(scores)
    cuts = np.r_[ranked[0], (ranked[1:] + ranked[:-1]) / 2, np.nextafter(ranked[-1], np.inf)]
    called = scores[None, :] >= cuts[:, None]  # (cuts, S)
    youden = called[:, positive].mean(axis=1) - called[:, ~positive].mean(axis=1)
    best = cuts[np.isclose(youden, youden.max(), rtol=0, atol=1e-12)]
    return float(best[np.abs(best - 0.5).argmin()])
