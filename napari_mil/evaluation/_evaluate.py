"""Candidates judged side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..progress import Progress, Steps
from ._bootstrap import resample
from ._compare import Comparison, check_comparable, compare
from ._cost import Cost, iter_cost
from ._measures import Measures, measure
from ._provenance import provenance

if TYPE_CHECKING:
    from ..training import Bags
    from ._predictions import Candidate


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A candidate with its measures.

    Parameters
    ----------
    candidate : Candidate
        What was judged.
    measures : Measures
        On its test slides.
    cost : Cost or None
        None where it has no model files.
    """

    candidate: Candidate
    measures: Measures
    cost: Cost | None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Candidates judged side by side.

    Parameters
    ----------
    judged : tuple of Judged
        In the order given.
    comparisons : tuple of Comparison
        Of every two.
    replicates, seed : int
        Of the bootstrap.
    provenance : mapping of str to str
        Versions, and when.
    """

    judged: tuple[Judged, ...]
    comparisons: tuple[Comparison, ...]
    replicates: int
    seed: int
    provenance: Mapping[str, str]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that all candidates tell apart."""
        return self.judged[0].candidate.test.class_names


def iter_evaluate(
    candidates: Sequence[Candidate],
    *,
    bags: Bags | None = None,
    replicates: int = 2000,
    seed: int = 0,
    device: str = "cpu",
) -> Steps[Evaluation]:
    """Judge candidates on their test slides and compare every two of them.

    Parameters
    ----------
    candidates : sequence of Candidate
        At least one, as `read_runs` and `iter_held_out` give them.
    bags : Bags, optional
        Features of the test slides, to time predictions on.
    replicates : int
        Resamplings of patients for the intervals, at least 100.
    seed : int
        Of the resampling.
    device : str
        Torch device to time predictions on.

    Yields
    ------
    Progress
        In candidates and slides.

    Returns
    -------
    Evaluation
        All figures.

    Raises
    ------
    EvaluationError
        If the candidates answer different questions.
    ModelError
        If a model cannot be loaded, or takes other features.
    """
    if not candidates or replicates < 100:
        raise ValueError(f"need a candidate and at least 100 resamplings, not {len(candidates)} and {replicates}")
    check_comparable(candidates)
    judged = []
    for number, candidate in enumerate(candidates):
        yield Progress("Judging", number, len(candidates), message=candidate.name, unit="models")
        drawn = resample(candidate.test.targets, candidate.test.patients, replicates, seed)
        measures = measure(candidate, drawn)
        cost = yield from iter_cost(candidate, bags, device)
        judged.append(Judged(candidate, measures, cost))
    yield Progress("Comparing", len(candidates), len(candidates), unit="models")
    return Evaluation(tuple(judged), tuple(compare(candidates, replicates, seed)), replicates, seed, provenance())
