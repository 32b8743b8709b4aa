"""A model applied to a bag of features."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import torch

from .. import __version__
from ..errors import FeaturesError, MapError, ModelError
from ..models import BagOutput, check_fit, iter_leave_one_out
from ..progress import finish
from ._map import AttentionMap, MapScore, Prediction, Provenance

if TYPE_CHECKING:
    from ..features import Features
    from ..models import MILModel


def attention_map(
    model: MILModel, features: Features, *, device: str = "cpu", names: Iterable[str] | None = None
) -> AttentionMap:
    """Run a MIL model over a slide's features and keep its raw scores.

    Parameters
    ----------
    model : MILModel
        The model; moved to ``device`` and left there, in evaluation mode.
    features : Features
        The bag.
    device : str
        "cpu", "cuda" or "mps".
    names : iterable of str or None
        Which scores to keep; None keeps all that the model gives. "leave_one_out" is computed for models that do not
        give it by themselves: as long as one prediction per patch.

    Returns
    -------
    AttentionMap
        Raw scores with their provenance.

    Raises
    ------
    ModelError
        If the model takes other features than these, or gives a prediction that is not a number.
    FeaturesError
        If there are no features, or some are not numbers.
    MapError
        If the model does not give a score asked for.
    """
    reason = check_fit(model.card, features.encoder)
    if reason:
        raise ModelError(reason)
    _check_features(features)
    model = model.to(device).eval()
    bag = torch.from_numpy(features.values)
    with torch.inference_mode():
        output = model(bag)
        chance = model.probabilities(output.logits)
    logits = output.logits.float().cpu().numpy()
    if not np.isfinite(logits).all():
        raise ModelError("The model's prediction is not a number. Its weights may be damaged: load or train it again.")
    names = None if names is None else list(names)
    if names is not None and "leave_one_out" in names and "leave_one_out" not in output.scores:
        left_out = finish(iter_leave_one_out(model, bag))
        output = BagOutput(output.logits, {**output.scores, "leave_one_out": left_out})
    scores = _kept_scores(output, names)
    default = model.default_score if model.default_score in scores else next(iter(scores))
    return AttentionMap(
        scores=scores,
        grid=features.grid,
        prediction=Prediction(model.card.class_names, logits, chance.float().cpu().numpy()),
        slide=features.slide,
        encoder=features.encoder,
        model=model.card,
        default_score=default,
        provenance=Provenance(
            napari_mil=__version__,
            torch=str(torch.__version__),
            python=platform.python_version(),
            device=device,
            seed=model.card.training.get("seed"),
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


def _kept_scores(output: BagOutput, names: Iterable[str] | None) -> dict[str, MapScore]:
    """Return the scores asked for as float32 arrays, in the model's order."""
    wanted = list(output.scores) if names is None else list(names)
    missing = [name for name in wanted if name not in output.scores]
    if missing or not wanted:
        asked = ", ".join(missing) or "none at all"
        raise MapError(f"The model does not give these scores: {asked}. It gives: {', '.join(output.scores)}.")
    return {
        name: MapScore(score.raw.detach().float().cpu().numpy(), score.kind)
        for name, score in output.scores.items()
        if name in wanted
    }
