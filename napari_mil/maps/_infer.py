"""Models applied to a bag of features: one as it is, one with dropout left on, or several together."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch

from .. import __version__
from ..errors import FeaturesError, MapError, ModelError
from ..models import (
    BagOutput,
    check_dropout,
    check_fit,
    dropout_passes,
    iter_gradient_x_input,
    iter_integrated_gradients,
    iter_leave_one_out,
)
from ..progress import Pacer, Steps, finish
from ._map import AttentionMap, MapScore, Prediction, Provenance
from ._members import Members, check_members, ensemble_card, shared_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ..features import Features
    from ..models import MILModel, ModelCard, Score

_WORKS: Mapping[str, Callable[[MILModel, Tensor], Steps[Score]]] = MappingProxyType(
    {
        "leave_one_out": iter_leave_one_out,
        "gradient_x_input": iter_gradient_x_input,
        "integrated_gradients": iter_integrated_gradients,
    }
)


def attention_map(
    model: MILModel,
    features: Features,
    *,
    device: str = "cpu",
    names: Iterable[str] | None = None,
    also: Iterable[str] = (),
    mc_dropout: int = 0,
    seed: int = 0,
) -> AttentionMap:
    """Run a MIL model over a slide's features and keep its raw scores; see `iter_attention_map`."""
    steps = iter_attention_map(model, features, device=device, names=names, also=also, mc_dropout=mc_dropout, seed=seed)
    return finish(steps)


def iter_attention_map(
    model: MILModel,
    features: Features,
    *,
    device: str = "cpu",
    names: Iterable[str] | None = None,
    also: Iterable[str] = (),
    mc_dropout: int = 0,
    seed: int = 0,
) -> Steps[AttentionMap]:
    """Run a MIL model over a slide's features and keep its raw scores, yielding Progress.

    Parameters
    ----------
    model : MILModel
        The model; moved to ``device`` and left there, in evaluation mode.
    features : Features
        The bag.
    device : str
        "cpu", "cuda" or "mps".
    names : iterable of str or None
        Which scores to keep; None keeps all that the model gives.
    also : iterable of str
        Scores to compute besides, each of `FURTHER_SCORES`: "leave_one_out" for models that do not give it by
        themselves (as long as one prediction per patch), "gradient_x_input" (as a few predictions) and
        "integrated_gradients" (from a bag of zero features; as some hundred predictions). ``names`` may ask for them,
        too.
    mc_dropout : int
        Passes with dropout on, 2 or more: prediction and scores are their mean, and each score gets a companion
        "<name>_spread", the standard deviation. Further scores are those of the model without dropout. 0 for none.
    seed : int
        What the passes are drawn from.

    Yields
    ------
    Progress
        At most about ten a second.

    Returns
    -------
    AttentionMap
        Raw scores with their provenance.

    Raises
    ------
    ModelError
        If the model takes other features than these, gives a prediction that is not a number, or has no dropout that
        passes could differ by.
    FeaturesError
        If there are no features, or some are not numbers.
    MapError
        If the model does not give a score asked for.
    """
    if mc_dropout:
        check_dropout(model)
    bag = _bag([model], features)
    model = model.to(device).eval()
    output, prediction = _predict(model, bag)
    wanted = _wanted(output, names, also)
    further = yield from _further(model, bag, output, wanted)
    scores = {name: as_map_score(score) for name, score in {**output.scores, **further}.items()}
    if mc_dropout:
        members = Members([name for name in wanted if name in output.scores])
        pacer = Pacer("Predicting with dropout", mc_dropout, unit="passes")
        for one in dropout_passes(model, bag, mc_dropout, seed):
            members.add(one.scores, *numbers(model, one))
            progress = pacer.step(members.count)
            if progress is not None:
                yield progress
        scores |= members.scores()
        prediction = members.prediction(model.card.class_names, "mc-dropout", seed=seed)
    scores = {name: score for name, score in scores.items() if name.removesuffix("_spread") in wanted}
    default = model.default_score if model.default_score in scores else next(iter(scores))
    return made_map(features, scores, prediction, model.card, default, device)


def ensemble_map(
    models: Sequence[MILModel],
    features: Features,
    *,
    device: str = "cpu",
    names: Iterable[str] | None = None,
    also: Iterable[str] = (),
) -> AttentionMap:
    """Run several models over a slide's features and keep mean and spread; see `iter_ensemble_map`."""
    return finish(iter_ensemble_map(models, features, device=device, names=names, also=also))


def iter_ensemble_map(
    models: Sequence[MILModel],
    features: Features,
    *,
    device: str = "cpu",
    names: Iterable[str] | None = None,
    also: Iterable[str] = (),
) -> Steps[AttentionMap]:
    """Run several models over a slide's features, yielding Progress; prediction and scores are their mean and spread.

    The mean of each score keeps its name, and "<name>_spread" is its standard deviation over the models. Where a score
    is shown as evidence for one class against the others, the spread is that of this evidence. Lakshminarayanan,
    Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS 2017.

    Parameters
    ----------
    models : sequence of MILModel
        Two or more, of the same classes and the same features. Where their poolings differ, the scores are those that
        all of them give.
    features, device, names, also
        As in `iter_attention_map`; further scores are computed for each model.

    Yields
    ------
    Progress
        At most about ten a second.

    Returns
    -------
    AttentionMap
        With a prediction that has a spread.

    Raises
    ------
    ModelError
        If the models do not belong together, in words; else as in `iter_attention_map`.
    FeaturesError, MapError
        As in `iter_attention_map`.
    """
    names, also = None if names is None else list(names), list(also)
    check_members(models, [name for name in [*(names or ()), *also] if name in _WORKS])
    bag = _bag(models, features)
    given = shared_scores(models)
    empty = BagOutput(torch.empty(0), given)
    wanted = _wanted(empty, names, also)
    members = Members(wanted)
    for model in models:
        model.to(device).eval()
        output, prediction = _predict(model, bag)
        further = yield from _further(model, bag, output, wanted)
        members.add({**output.scores, **further}, prediction.logits, prediction.probabilities)
    scores = members.scores()
    default = next((m.default_score for m in models if m.default_score in scores), next(iter(scores)))
    prediction = members.prediction(models[0].card.class_names, "ensemble", models=tuple(m.card for m in models))
    return made_map(features, scores, prediction, ensemble_card(models), default, device)


FURTHER_SCORES = tuple(_WORKS)
"""Scores that can be computed for every model."""


def _bag(models: Sequence[MILModel], features: Features) -> Tensor:
    for model in models:
        reason = check_fit(model.card, features.encoder)
        if reason:
            raise ModelError(reason)
    _check_features(features)
    return torch.from_numpy(features.values)


def numbers(model: MILModel, output: BagOutput) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return logits and probabilities (C,), or say that they are no numbers."""
    logits = output.logits.detach().float()
    if not torch.isfinite(logits).all():
        raise ModelError("The model's prediction is not a number. Its weights may be damaged: load or train it again.")
    return logits.cpu().numpy(), model.probabilities(logits).cpu().numpy()


def _predict(model: MILModel, bag: Tensor) -> tuple[BagOutput, Prediction]:
    with torch.inference_mode():
        output = model(bag)
        return output, Prediction(model.card.class_names, *numbers(model, output))


def _wanted(output: BagOutput, names: Iterable[str] | None, also: Iterable[str]) -> list[str]:
    """Return the names of the scores to keep, in the model's order and then that of the further ones."""
    asked = [*(output.scores if names is None else names), *also]
    missing = [name for name in asked if name not in output.scores and name not in _WORKS]
    if missing or not asked:
        wrong = ", ".join(missing) or "none at all"
        has = ", ".join(output.scores)
        more = ", ".join(name for name in _WORKS if name not in output.scores)
        raise MapError(f"The model does not give these scores: {wrong}. It gives: {has}. Any model: {more}.")
    return [name for name in dict.fromkeys([*output.scores, *_WORKS]) if name in asked]


def _further(model: MILModel, bag: Tensor, output: BagOutput, wanted: Sequence[str]) -> Steps[dict[str, Score]]:
    """Compute the scores that are wanted and that the model does not give by itself."""
    found = {}
    for name in wanted:
        if name not in output.scores:
            found[name] = yield from _WORKS[name](model, bag)
    return found


def as_map_score(score: Score) -> MapScore:
    """Return a model's score as a map keeps it."""
    return MapScore(score.raw.detach().float().cpu().numpy(), score.kind)


def made_map(
    features: Features,
    scores: Mapping[str, MapScore],
    prediction: Prediction,
    card: ModelCard,
    default: str,
    device: str,
) -> AttentionMap:
    """Return scores and prediction of a bag as a map, with where they come from."""
    return AttentionMap(
        scores=scores,
        grid=features.grid,
        prediction=prediction,
        slide=features.slide,
        encoder=features.encoder,
        model=card,
        default_score=default,
        provenance=Provenance(
            napari_mil=__version__,
            torch=str(torch.__version__),
            python=platform.python_version(),
            device=device,
            seed=card.training.get("seed"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )


def _check_features(features: Features) -> None:
    if len(features) == 0:
        raise FeaturesError("There are no patches to look at. Check the tissue mask, then extract the features again.")
    broken = int((~np.isfinite(features.values).all(axis=1)).sum())
    if broken:
        raise FeaturesError(
            f"The features of {broken:,} of {len(features):,} patches are not numbers. Extract the features again."
        )
