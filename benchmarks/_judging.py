"""How scores of patches are judged against labels of patches, the same way in every benchmark of models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from napari_mil.models import Score


def for_positive(score: Score) -> NDArray[np.float64]:
    """Return one number per patch, (N,): how much a score of a model of two classes speaks for the second.

    Attention says which patches a class's branch weighs, so that of the second class is taken; of all that is evidence
    for or against classes, the second class's less the first's.
    """
    raw = score.raw.double().numpy()
    if raw.ndim == 1:
        return raw
    return raw[1] if score.kind in ("attention", "probability") else raw[1] - raw[0]


def ranks_patches(score: Score, truth: NDArray[np.int64]) -> float | None:
    """Return the AUROC of a bag's score against its patch labels; None where the bag has one kind or the score is NaN.

    Parameters
    ----------
    score : Score
        Of one bag.
    truth : (N,) of 0 and 1
        What each patch is.
    """
    values = for_positive(score)
    if not 0 < truth.sum() < len(truth) or np.isnan(values).any():
        return None
    return float(roc_auc_score(truth, values))
