"""How well bags are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import roc_auc_score

if TYPE_CHECKING:
    from numpy.typing import NDArray


def bag_auc(targets: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve: of the last class of two, or the plain mean over one-against-rest.

    Parameters
    ----------
    targets : (S,) int64
        True class of each bag.
    probabilities : (S, C) float
        Class probabilities of each bag, C >= 2.

    Returns
    -------
    float
        In [0, 1]; NaN where a class is absent, for then no ranking can be right or wrong.
    """
    n_classes = probabilities.shape[1]
    if len(np.unique(targets)) < n_classes:
        return float("nan")
    classes = [1] if n_classes == 2 else range(n_classes)
    return float(np.mean([roc_auc_score(targets == c, probabilities[:, c]) for c in classes]))
