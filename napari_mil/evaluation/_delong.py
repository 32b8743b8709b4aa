"""Variance of the AUC and the paired test between models on the same bags, after DeLong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm, rankdata

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DelongTest:
    """Whether two models on the same bags differ in AUC.

    Parameters
    ----------
    difference : float
        AUC of the first less that of the second.
    standard_error : float
        Of the difference; NaN where a class has one bag only.
    z : float
        Difference over standard error; 0 where the models rank all bags alike, NaN where undefined.
    p : float
        Two-sided, from the normal distribution.
    """

    difference: float
    standard_error: float
    z: float
    p: float


def delong(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return the AUC of K models on the same bags, and their covariance.

    .. math::

        V_{10}(x_i) = \frac{1}{n} \sum_j \psi(x_i, y_j) = \frac{T_Z(x_i) - T_X(x_i)}{n}, \quad
        V_{01}(y_j) = \frac{1}{m} \sum_i \psi(x_i, y_j) = 1 - \frac{T_Z(y_j) - T_Y(y_j)}{m}

        \hat\theta = \frac{1}{m} \sum_i V_{10}(x_i), \quad
        S = \frac{\mathrm{cov}(V_{10})}{m} + \frac{\mathrm{cov}(V_{01})}{n}

    with m scores x of positive bags, n scores y of negative ones, :math:`\psi` 1, 1/2 or 0 as x is above, at or below
    y, and midranks T among the positive (X), the negative (Y) and all bags (Z).

    DeLong, DeLong and Clarke-Pearson, Biometrics 1988; in O(N log N) by midranks as Sun and Xu, IEEE Signal
    Processing Letters 2014.

    Parameters
    ----------
    positive : (S,) bool
        Which bags are of the positive class.
    scores : (K, S) float64
        Of each model, higher for the positive class; finite.

    Returns
    -------
    (K,) float64, (K, K) float64
        NaN where a class is absent; the covariance also where a class has one bag only.
    """
    x, y = scores[:, positive], scores[:, ~positive]
    n_models, m, n = len(scores), x.shape[1], y.shape[1]
    if m == 0 or n == 0:
        return np.full(n_models, np.nan), np.full((n_models, n_models), np.nan)
    among_all = rankdata(scores, axis=1)
    v10 = (among_all[:, positive] - rankdata(x, axis=1)) / n  # (K, m)
    v01 = 1 - (among_all[:, ~positive] - rankdata(y, axis=1)) / m  # (K, n)
    if m == 1 or n == 1:
        return v10.mean(axis=1), np.full((n_models, n_models), np.nan)
    return v10.mean(axis=1), np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n


def delong_test(positive: NDArray[np.bool_], first: NDArray[np.float64], second: NDArray[np.float64]) -> DelongTest:
    """Test whether two models on the same bags differ in AUC.

    Parameters
    ----------
    positive : (S,) bool
        Which bags are of the positive class.
    first, second : (S,) float64
        Scores of either model, in the same order of bags.

    Returns
    -------
    DelongTest
        Bags count as independent of one another.
    """
    auc, covariance = delong(positive, np.stack([first, second]))
    difference = float(auc[0] - auc[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # what rounding leaves of models that rank alike is no difference
    error = float("nan") if np.isnan(variance) else float(np.sqrt(variance)) if variance > 1e-15 else 0.0
    alike = error == 0 and abs(difference) < 1e-12
    z = difference / error if error > 0 else 0.0 if alike else float("nan")
    return DelongTest(difference, error, z, float(2 * norm.sf(abs(z))))


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values adjusted for testing several at once (Holm, Scandinavian Journal of Statistics 1979).

    Parameters
    ----------
    p_values : (T,) float64
        NaN where a test was not possible; it does not count.

    Returns
    -------
    (T,) float64
        The smallest is multiplied by the number of tests, the next by one less, and so on; never falling, at most 1.
    """
    adjusted = np.full(len(p_values), np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted
