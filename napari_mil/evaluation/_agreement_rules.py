"""By what rules maps are held against outlines."""

from __future__ import annotations

from dataclasses import dataclass

TOP_K = (10, 50, 100)
"""Numbers of top patches of which a hit rate is stated, unless others are asked for."""


@dataclass(frozen=True, slots=True)
class AgreementRules:
    """By what rules maps are held against outlines.

    Parameters
    ----------
    target, exclude : tuple of str
        Classes of outlines, as `roles_of` takes them; none named means those suggested by their names.
    min_overlap : float
        Least share of a patch's area that makes it target.
    scores : tuple of str
        Scores to judge; none named means all but spreads.
    class_name : str or None
        For which class of the model, where a score differs by class; None takes the last of two, of more the predicted.
    cut : float or None
        Threshold, on the scale on which a score can be compared between slides; None takes 2 times the average for
        attention, 0.5 for probabilities, above 0 for signed scores.
    top_k : tuple of int
        For which numbers of top patches to state the hit rate.
    """

    target: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_overlap: float = 0.5
    scores: tuple[str, ...] = ()
    class_name: str | None = None
    cut: float | None = None
    top_k: tuple[int, ...] = TOP_K
