"""Several answers to one bag: mean and spread, and which models belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from ..errors import ModelError
from ._map import MapScore, Prediction, Spread
from ._shown import one_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models import MILModel, ModelCard, Score, ScoreKind


class Members:
    """Collects the answers of models or passes one at a time; memory does not grow with their number.

    Parameters
    ----------
    names : sequence of str
        Scores to collect, which every answer must have.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._kinds: dict[str, ScoreKind] = {}
        self._raw = {name: _Moments() for name in names}
        self._shown = {name: _Moments() for name in names}
        self._logits, self._probabilities = _Moments(), _Moments()

    @property
    def count(self) -> int:
        """How many answers there are."""
        return self._logits.count

    def add(self, scores: Mapping[str, Score], logits: NDArray[np.float32], probabilities: NDArray[np.float32]) -> None:
        """Take one answer: its scores, logits (C,) and probabilities (C,)."""
        for name in self._raw:
            raw, kind = scores[name].raw.detach().float().cpu().numpy(), scores[name].kind
            self._kinds[name] = kind
            self._raw[name].add(raw)
            self._shown[name].add(_by_class(raw, kind))
        self._logits.add(logits)
        self._probabilities.add(probabilities)

    def scores(self) -> dict[str, MapScore]:
        """Return mean ("<name>") and spread ("<name>_spread") of each score."""
        found = {}
        for name, kind in self._kinds.items():
            found[name] = MapScore(self._raw[name].mean, kind)
            found[f"{name}_spread"] = MapScore(self._shown[name].std, "spread", kind)
        return found

    def prediction(
        self,
        class_names: tuple[str, ...],
        method: Literal["ensemble", "mc-dropout"],
        *,
        models: tuple[ModelCard, ...] = (),
        seed: int | None = None,
    ) -> Prediction:
        """Return the mean prediction with its spread; parameters as in `Spread`."""
        spread = Spread(method, self.count, self._logits.std, self._probabilities.std, models, seed)
        return Prediction(class_names, self._logits.mean, self._probabilities.mean, spread)


class _Moments:
    """Mean and standard deviation of arrays that come one at a time, after Welford."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: NDArray[np.float64] = np.zeros(())
        self._squares: NDArray[np.float64] = np.zeros(())

    def add(self, values: NDArray[np.float32]) -> None:
        self.count += 1
        away = values - self._mean
        self._mean = self._mean + away / self.count
        self._squares = self._squares + away * (values - self._mean)

    @property
    def mean(self) -> NDArray[np.float32]:
        return self._mean.astype(np.float32)

    @property
    def std(self) -> NDArray[np.float32]:
        return np.sqrt(self._squares / self.count).astype(np.float32)


def check_members(models: Sequence[MILModel], further: Sequence[str] = ()) -> None:
    """Refuse models that do not belong together in an ensemble.

    Parameters
    ----------
    models : sequence of MILModel
        Two or more.
    further : sequence of str
        Scores that are to be computed for each; with any of them the models need share none of their own.

    Raises
    ------
    ValueError
        If there are fewer than two.
    ModelError
        If their classes, encoders or patches differ, or they share no score; in words.
    """
    if len(models) < 2:
        raise ValueError(f"an ensemble takes two models or more, not {len(models)}")
    first = models[0].card
    for card in (model.card for model in models[1:]):
        for what, found, wanted in (
            ("classes", ", ".join(card.class_names), ", ".join(first.class_names)),
            ("features", _features_of(card), _features_of(first)),
            ("encoder", card.encoder, first.encoder),
            ("encoder version", card.encoder_version, first.encoder_version),
            ("encoder weights", card.encoder_hash[:12], first.encoder_hash[:12]),
            ("patches", _patches_of(card), _patches_of(first)),
        ):
            if found != wanted and found and wanted:
                raise ModelError(
                    f'"{_title(card)}" and "{_title(first)}" cannot be taken together: their {what} differ '
                    f"({found}; {wanted}). Give models that were trained for the same task on the same features."
                )
    if not further and not shared_scores(models):
        each = "; ".join(f"{_title(model.card)}: {', '.join(_given(model))}" for model in models)
        raise ModelError(
            f"These models have no score in common, so there is no map of them together ({each}). "
            "Give models whose poolings share one, or ask for one that is computed for any (leave_one_out)."
        )


def shared_scores(models: Sequence[MILModel]) -> dict[str, Score]:
    """Return the scores that all models give under one name, kind and shape, as a bag of two patches shows them."""
    given = [_given(model) for model in models]
    return {
        name: score
        for name, score in given[0].items()
        if all(name in other and _form(other[name]) == _form(score) for other in given[1:])
    }


def _given(model: MILModel) -> Mapping[str, Score]:
    like = next(model.parameters())
    with torch.inference_mode():
        return model.eval()(torch.zeros(2, model.card.in_features, dtype=like.dtype)).scores  # type: ignore[no-any-return]


def ensemble_card(models: Sequence[MILModel]) -> ModelCard:
    """Return the card by which an ensemble is shown: the first model's under another title; `Spread` holds them all."""
    poolings = ", ".join(dict.fromkeys(model.card.pooling for model in models))
    return replace(models[0].card, title=f"{len(models)} models together ({poolings})", training={})


def _form(score: Score) -> tuple[str, int]:
    return score.kind, score.raw.ndim


def _by_class(raw: NDArray[np.float32], kind: ScoreKind) -> NDArray[np.float32]:
    """Return what is shown of each class: a spread of logits' own offsets, which nobody sees, would mislead."""
    if raw.ndim == 1:
        return raw
    return np.stack([one_class(raw, kind, c) for c in range(len(raw))])


def _title(card: ModelCard) -> str:
    return card.title or card.pooling


def _features_of(card: ModelCard) -> str:
    return f"{card.in_features} numbers a patch"


def _patches_of(card: ModelCard) -> str:
    return f"{card.tile_px} px at {card.mpp:g} um/px" if card.tile_px and card.mpp else ""
