"""Whether a model's scores name the patches that its predictions rest on, over the test slides of candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from zlib import crc32

import numpy as np
import torch

from ..errors import EvaluationError
from ..maps import one_class
from ..models import iter_gradient_x_input, iter_integrated_gradients, iter_leave_one_out
from ..progress import Progress, Steps
from ._bootstrap import interval, resample, share_of
from ._cost import fitting_model
from ._flipping import STEPS, Flips, aupc, iter_flips, relevance_order
from ._measures import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models import MILModel, Score
    from ..training import Bags
    from ._predictions import Candidate

ON_REQUEST: Mapping[str, Callable[[MILModel, torch.Tensor], Steps[Score]]] = {
    "leave_one_out": iter_leave_one_out,
    "gradient_x_input": iter_gradient_x_input,
    "integrated_gradients": iter_integrated_gradients,
}
GRID = np.linspace(0, 1, STEPS + 1)  # share of patches flipped, on which curves are averaged
RANDOM = "random order"
T = TypeVar("T")
_NAMES = ("drop_morf", "drop_lerf", "add_morf", "add_lerf")


@dataclass(frozen=True, slots=True, eq=False)
class SlideFlips:
    """One score on one slide.

    Parameters
    ----------
    candidate, slide, patient, score : str
        Which; the score `RANDOM` is one random order.
    fold : int
        Whose model.
    target : str
        The class that the model predicts, whose probability is followed.
    areas : mapping of str to float
        `aupc` of each curve of `Flips`, by its name.
    """

    candidate: str
    slide: str
    patient: str
    score: str
    fold: int
    target: str
    areas: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Faithfulness:
    """One score of one candidate, over slides.

    Parameters
    ----------
    candidate, score : str
        Which; `RANDOM` is the baseline.
    n_slides : int
        Slides flipped.
    areas : mapping of str to float
        Mean over slides of the area under each curve of `Flips`. For the baseline, over random orders too.
    difference : Estimate
        Area of dropping the least relevant first, less that of the most relevant first, with the 95 % interval over
        resampled patients. Above nought: better than chance.
    random_sd : float
        For the baseline: the standard deviation of that difference between random orders; NaN for scores.
    curves : mapping of str to (STEPS + 1,) float64
        Mean curves on `GRID`.
    """

    candidate: str
    score: str
    n_slides: int
    areas: Mapping[str, float]
    difference: Estimate
    random_sd: float
    curves: Mapping[str, NDArray[np.float64]]


def iter_faithfulness(
    candidates: Sequence[Candidate],
    bags: Bags,
    *,
    scores: Sequence[str] | None = None,
    random_orders: int = 5,
    most_slides: int | None = None,
    replicates: int = 2000,
    seed: int = 0,
    device: str = "cpu",
) -> Steps[tuple[list[Faithfulness], list[SlideFlips]]]:
    """Flip patches of test slides in the order of each score, and in random orders.

    Followed is the probability of the class that the slide's model predicts, of its one class where it has one; of
    scores per class what a map shows of that class is judged (`one_class`): evidence for it less that against it, since
    the probability answers to nothing else.

    Parameters
    ----------
    candidates : sequence of Candidate
        With model files.
    bags : Bags
        Features of their test slides.
    scores : sequence of str, optional
        Names of scores; those that a model gives by itself by default. "leave_one_out", "gradient_x_input" and
        "integrated_gradients" are computed where asked for.
    random_orders : int
        Random orders per slide, at least 2.
    most_slides : int, optional
        Flip so many drawn test slides of each candidate, the same for all where they share them; all by default.
    replicates, seed : int
        Of the bootstrap; the seed is also that of orders, ties and drawn slides.
    device : str
        Torch device.

    Yields
    ------
    Progress
        In slides.

    Returns
    -------
    list of Faithfulness, list of SlideFlips
        Over slides, and of each slide.

    Raises
    ------
    EvaluationError
        If a candidate has no model files, or a model does not give a score asked for.
    ModelError
        If a model cannot be loaded, or takes other features.
    """
    if random_orders < 2:
        raise ValueError(f"need at least 2 random orders, not {random_orders}")
    over, each = [], []
    for candidate in candidates:
        drawn = _drawn_slides(candidate, most_slides, seed)
        found: dict[str, list[tuple[SlideFlips, Flips]]] = {}
        for number, (model, row) in enumerate(_models_and_rows(candidate, drawn, bags, device)):
            now = Progress("Flipping patches", number, len(drawn), message=candidate.name, unit="slides")
            slide = yield from _within(_flip_slide(candidate, model, row, bags, scores, random_orders, seed), now)
            for flipped in slide:
                found.setdefault(flipped[0].score, []).append(flipped)
        for name, some in found.items():
            over.append(_over_slides(candidate, name, some, replicates, seed))
            each += [one for one, _ in some]
    return over, each


def _drawn_slides(candidate: Candidate, most: int | None, seed: int) -> NDArray[np.intp]:
    """Return rows of the test slides to flip, in the table's order; which ones depends on their names alone."""
    names = np.array(candidate.test.slides)
    if most is None or most >= len(names):
        return np.arange(len(names))
    by_name = np.argsort(names, kind="stable")
    return np.sort(np.random.default_rng(seed).permutation(by_name)[:most])


def _models_and_rows(
    candidate: Candidate, rows: NDArray[np.intp], bags: Bags, device: str
) -> Iterator[tuple[MILModel, int]]:
    folds = candidate.test.folds[rows]
    for fold in np.unique(folds).tolist():
        if fold not in candidate.models:
            raise EvaluationError(
                f"{candidate.name} has no model of fold {fold} (fold_{fold}.safetensors), without which no patch can "
                "be flipped. Train it again, or leave it out."
            )
        model = fitting_model(candidate.models[fold], bags.encoder).to(device)
        for row in rows[folds == fold].tolist():
            yield model, row


def _flip_slide(
    candidate: Candidate,
    model: MILModel,
    row: int,
    bags: Bags,
    names: Sequence[str] | None,
    random_orders: int,
    seed: int,
) -> Steps[list[tuple[SlideFlips, Flips]]]:
    test = candidate.test
    bag = torch.from_numpy(bags.values[test.slides[row]])
    target, relevance = yield from _relevance(candidate.name, model, bag, names)
    generator = np.random.default_rng([seed, crc32(test.slides[row].encode())])
    orders = {name: relevance_order(values, seed) for name, values in relevance.items()}
    labelled = [*orders.items(), *((RANDOM, generator.permutation(len(bag))) for _ in range(random_orders))]
    flips = yield from iter_flips(model, bag, [order for _, order in labelled], target)
    class_name = model.card.class_names[target]
    return [
        (
            SlideFlips(
                candidate.name,
                test.slides[row],
                test.patients[row],
                name,
                int(test.folds[row]),
                class_name,
                {curve: aupc(getattr(flip, curve)) for curve in _NAMES},
            ),
            flip,
        )
        for (name, _), flip in zip(labelled, flips, strict=True)
    ]


def _within(steps: Steps[T], now: Progress) -> Steps[T]:
    """Do a slide's work, which counts other things than slides, and say each time how many slides are done."""
    yield now
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        yield now


def _relevance(
    who: str, model: MILModel, bag: torch.Tensor, names: Sequence[str] | None
) -> Steps[tuple[int, dict[str, NDArray[np.float32]]]]:
    """Return the predicted class and what each score says of it."""
    with torch.inference_mode():
        output = model(bag)
    target = int(output.logits.argmax())
    found = dict(output.scores)
    for name in names or ():
        if name not in found and name in ON_REQUEST:
            found[name] = yield from ON_REQUEST[name](model, bag)
    missing = [name for name in names or () if name not in found]
    if missing:
        raise EvaluationError(
            f"{who} does not give the score {missing[0]}. It gives {', '.join(output.scores)} and, asked for, "
            f"{', '.join(name for name in ON_REQUEST if name not in output.scores)}."
        )
    kept = {name: score for name, score in found.items() if names is None or name in names}
    rows = {name: one_class(score.raw.float().cpu().numpy(), score.kind, target) for name, score in kept.items()}
    # leaving out the only patch of a bag says nothing, and nothing is to be ordered
    return target, {name: np.nan_to_num(raw) for name, raw in rows.items()}


def _over_slides(
    candidate: Candidate, score: str, found: Sequence[tuple[SlideFlips, Flips]], replicates: int, seed: int
) -> Faithfulness:
    """Average over slides; random orders of one slide are averaged first."""
    rows = {slide: row for row, slide in enumerate(candidate.test.slides)}
    by_slide: dict[str, list[tuple[SlideFlips, Flips]]] = {}
    for slide, flips in found:
        by_slide.setdefault(slide.slide, []).append((slide, flips))
    areas = {name: [[flips.areas[name] for flips, _ in some] for some in by_slide.values()] for name in _NAMES}
    means = {name: np.array(areas[name]).mean(axis=1) for name in _NAMES}  # (slides,)
    gaps = np.array(areas["drop_lerf"]) - np.array(areas["drop_morf"])  # (slides, orders)
    gap = gaps.mean(axis=1)
    targets = candidate.test.targets[[rows[slide] for slide in by_slide]]
    drawn = resample(targets, [some[0][0].patient for some in by_slide.values()], replicates, seed)
    low, high = interval(drawn, share_of(gap, np.ones(len(gap), dtype=np.bool_)))
    curves = {name: np.mean([_on_grid(flips, getattr(flips, name)) for _, flips in found], axis=0) for name in _NAMES}
    return Faithfulness(
        candidate.name,
        score,
        len(by_slide),
        {name: float(values.mean()) for name, values in means.items()},
        Estimate(float(gap.mean()), low, high),
        float(gaps.mean(axis=0).std(ddof=1)) if score == RANDOM else float("nan"),
        curves,
    )


def _on_grid(flips: Flips, curve: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.interp(GRID, flips.flipped / flips.flipped[-1], curve)
