"""Candidates held against one another on the slides that both were tested on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ..errors import EvaluationError
from ._bootstrap import interval, resample
from ._delong import delong_test, holm
from ._measures import Estimate, macro_auc, macro_auc_measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ._predictions import Candidate


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether two candidates differ in AUC, paired by slide.

    Parameters
    ----------
    first, second : str
        Names of the candidates.
    n_slides : int
        Slides that both were tested on; nothing else is compared.
    difference : Estimate
        AUC of the first less that of the second, with the interval over resampled patients.
    z, p : float
        DeLong's test, two-sided; NaN for more than two classes, for which it is not stated.
    p_holm : float
        The same, adjusted for all pairs tested together.
    """

    first: str
    second: str
    n_slides: int
    difference: Estimate
    z: float
    p: float
    p_holm: float


def check_comparable(candidates: Sequence[Candidate]) -> None:
    """Refuse candidates that answer different questions.

    Raises
    ------
    EvaluationError
        If their classes differ, or a slide is of one class to one and of another to another.
    """
    first = candidates[0]
    truth: dict[str, tuple[int, str]] = {}
    for candidate in candidates:
        test = candidate.test
        if test.class_names != first.test.class_names:
            raise EvaluationError(
                f"{candidate.name} tells {', '.join(test.class_names)} apart, {first.name} "
                f"{', '.join(first.test.class_names)}. Compare models of the same classes, in the same order."
            )
        for slide, target in zip(test.slides, test.targets.tolist(), strict=True):
            known, where = truth.setdefault(slide, (target, candidate.name))
            if known != target:
                names = test.class_names
                raise EvaluationError(
                    f"Slide {slide} is {names[known]} in {where} and {names[target]} in {candidate.name}. "
                    "Train both on the same table."
                )


def compare(candidates: Sequence[Candidate], replicates: int, seed: int) -> list[Comparison]:
    """Compare every two candidates.

    Parameters
    ----------
    candidates : sequence of Candidate
        As `check_comparable` passes them.
    replicates, seed : int
        Of the resampling, as in `resample`.

    Returns
    -------
    list of Comparison
        One for each pair, in the candidates' order.
    """
    found = [_pair(first, second, replicates, seed) for first, second in combinations(candidates, 2)]
    adjusted = holm(np.array([p for *_, p in found]))
    return [Comparison(*values, float(p)) for values, p in zip(found, adjusted, strict=True)]


def _pair(
    first: Candidate, second: Candidate, replicates: int, seed: int
) -> tuple[str, str, int, Estimate, float, float]:
    place = {slide: row for row, slide in enumerate(second.test.slides)}
    rows = np.array([row for row, slide in enumerate(first.test.slides) if slide in place], dtype=np.intp)
    nan = float("nan")
    if len(rows) == 0:
        return first.name, second.name, 0, Estimate(nan, nan, nan), nan, nan
    a = first.test.take(rows)
    b = second.test.take(np.array([place[slide] for slide in a.slides], dtype=np.intp))
    measures = macro_auc_measure(a), macro_auc_measure(b)

    def difference(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        gap: NDArray[np.float64] = measures[0](counts) - measures[1](counts)
        return gap

    low, high = interval(resample(a.targets, a.patients, replicates, seed), difference)
    estimate = Estimate(macro_auc(a) - macro_auc(b), low, high)
    if len(a.class_names) > 2:
        return first.name, second.name, len(rows), estimate, nan, nan
    test = delong_test(a.targets == 1, a.probabilities[:, 1], b.probabilities[:, 1])
    return first.name, second.name, len(rows), estimate, test.z, test.p
