"""From a raw score to the one number per patch that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models import ScoreKind
    from ._scales import Scale


_SIGNED = ("contribution", "leave_one_out", "gradient_x_input", "integrated_gradients")


def class_evidence(raw: NDArray[np.float32], class_index: int) -> NDArray[np.float32]:
    """Return evidence for one class against the mean of the others, for scores that add up to a logit.

    A softmax does not change when a number is added to all logits, so only differences mean anything:
    ``s_c - mean_{k != c} s_k``; with two classes the difference of the two.

    Parameters
    ----------
    raw : (C, N) float32
        Contributions, leave-one-out effects or gradients per logit; C = 1 (a sigmoid) is returned as it is.
    class_index : int
        Class c.

    Returns
    -------
    (N,) float32
        In units of a logit.
    """
    if len(raw) == 1:
        return np.asarray(raw[0])
    wide = raw.astype(np.float64)
    others = (wide.sum(axis=0) - wide[class_index]) / (len(raw) - 1)
    return np.asarray(wide[class_index] - others, np.float32)


def class_log_odds(raw: NDArray[np.float32], class_index: int) -> NDArray[np.float32]:
    """Return the log odds of one class from instance logits: ``s_c - log sum_{k != c} exp(s_k)``.

    Parameters
    ----------
    raw : (C, N) float32
        Instance logits; C = 1 (a sigmoid) is returned as it is.
    class_index : int
        Class c.

    Returns
    -------
    (N,) float32
        Natural log of p / (1 - p), so that its sigmoid is the softmax probability of the class.
    """
    if len(raw) == 1:
        return np.asarray(raw[0])
    wide = raw.astype(np.float64)
    with np.errstate(invalid="ignore"):  # a patch without a score stays without, and nobody need be warned
        others = np.logaddexp.reduce(np.delete(wide, class_index, axis=0), axis=0)
    return np.asarray(wide[class_index] - others, np.float32)


def one_class(raw: NDArray[np.float32], kind: ScoreKind, class_index: int | None) -> NDArray[np.float32]:
    """Return the one number per patch that every scale shows: the raw score, for one class.

    Parameters
    ----------
    raw : (N,) or (C, N) float32
        Raw score.
    kind : str
        Its kind.
    class_index : int or None
        Class, for a raw score of shape (C, N).

    Returns
    -------
    (N,) float32
        Attention, probability and spread as they are; instance logits as `class_log_odds`; what is signed as
        `class_evidence`.
    """
    if raw.ndim == 1 or class_index is None:
        return np.asarray(raw.reshape(-1))
    if kind == "instance_logit":
        return class_log_odds(raw, class_index)
    if kind in _SIGNED:
        return class_evidence(raw, class_index)
    return np.asarray(raw[class_index])


def shown(raw: NDArray[np.float32], kind: ScoreKind, scale: Scale) -> NDArray[np.float32]:
    """Return values as shown on a scale.

    Parameters
    ----------
    raw : (N,) float32
        One number per patch, see `one_class`.
    kind : str
        Kind of score.
    scale : Scale
        An honest scale for the kind.

    Returns
    -------
    (N,) float32
        Rises with ``raw``; NaN stays NaN.
    """
    if scale.name == "rank":
        return ranks(raw)
    if scale.name == "ratio":
        return np.asarray(np.float64(len(raw)) * raw, np.float32)
    if scale.name == "robust":
        return _robust(raw, log=kind == "attention")
    if scale.name == "probability" and kind == "instance_logit":
        from scipy.special import expit

        return np.asarray(expit(raw.astype(np.float64)), np.float32)
    return raw


def ranks(raw: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return average rank / N, in (0, 1]; as scipy's rankdata, whose stable sort takes several times as long.

    Parameters
    ----------
    raw : (N,) float
        Any numbers; NaN stays NaN and does not count.

    Returns
    -------
    (N,) float32
        Equal numbers share the mean of the places that they take.
    """
    known = np.flatnonzero(~np.isnan(raw))
    order = known[np.argsort(raw[known])]
    ordered = raw[order]
    # patches of one score share the mean of the places that they take
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(order) else order
    after = np.append(first[1:], len(order))
    out = np.full(raw.shape, np.nan, np.float32)
    out[order] = np.repeat((first + after + 1) / 2 / max(1, len(order)), after - first)
    return out


def _robust(raw: NDArray[np.float32], *, log: bool) -> NDArray[np.float32]:
    """Return the (log) score clipped to its 1st and 99th percentile, scaled to [0, 1]; 0.5 where all are equal."""
    wide = raw.astype(np.float64)
    if log:
        positive = wide[wide > 0]
        wide = np.log(np.maximum(wide, positive.min(initial=1.0)))
    finite = wide[np.isfinite(wide)]
    if finite.size == 0:
        return raw
    low, high = np.percentile(finite, (1, 99))
    if high <= low:
        return np.where(np.isnan(raw), np.nan, 0.5).astype(np.float32)
    return np.asarray((np.clip(wide, low, high) - low) / (high - low), np.float32)
