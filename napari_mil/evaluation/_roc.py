"""ROC curves with a band over resampled patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._bootstrap import LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._predictions import Predictions

FPR = np.linspace(0, 1, 201)  # where curves are averaged and the band is drawn
_MOST = 500  # resamplings drawn from; a band in a picture needs no more


def roc_band(
    test: Predictions, drawn: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the ROC curve of test slides and its pointwise 95 % band.

    Parameters
    ----------
    test : Predictions
        Of the test slides. Of more than two classes the curves of each against the rest are averaged.
    drawn : (B, S) int32
        As `resample` returns it.

    Returns
    -------
    tpr, low, high : (201,) float64
        True positive rate at `FPR`; NaN where a class is absent.
    """
    classes = [1] if len(test.class_names) == 2 else list(range(len(test.class_names)))
    once = np.ones((1, len(test)))
    weights = np.concatenate([once, drawn[:_MOST].astype(np.float64)])
    curves = np.mean([_curves(test.targets == c, test.probabilities[:, c], weights) for c in classes], axis=0)
    resampled = curves[1:][np.isfinite(curves[1:, 0])]
    if len(resampled) <= (len(curves) - 1) / 2:
        nothing = np.full(len(FPR), np.nan)
        return curves[0], nothing, nothing
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return curves[0], low, high


def _curves(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the true positive rate at `FPR` for each row of weights, (b, 201)."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    hits = np.cumsum((weights * positive)[:, order], axis=1)[:, last]
    misses = np.cumsum((weights * ~positive)[:, order], axis=1)[:, last]
    found = np.full((len(weights), len(FPR)), np.nan)
    for row, (hit, miss) in enumerate(zip(hits, misses, strict=True)):
        if hit[-1] > 0 and miss[-1] > 0:
            found[row] = np.interp(FPR, np.r_[0, miss / miss[-1]], np.r_[0, hit / hit[-1]])
    return found
