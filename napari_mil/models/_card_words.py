"""A model's card in plain words, for `info` and for the panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..counting import counted
from ._card import ModelCard

_MOST_SHOWN = 10
_TOLD = frozenset(
    {
        "data", "n_slides", "n_patients", "slides_per_class", "folds", "fold", "auc", "auc_mean", "auc_sd",
        "auc_pooled", "fold_aucs", "n_train", "n_val", "n_test", "best_epoch", "epochs", "recipe", "seed", "device",
        "versions", "seen", "threshold", "source", "file", "note",
    }
)  # fmt: skip


def card_summary(card: ModelCard) -> list[str]:
    """Say what a model is, in the lines that a person needs to choose it.

    Parameters
    ----------
    card : ModelCard
        The model's card.

    Returns
    -------
    list of str
        What it predicts; classes; what it takes; what it was trained on; how well it did on patients held out.
    """
    several = len(card.class_names) > 1
    lines = [
        card.task or "It does not say what it predicts.",
        f"Classes: {', '.join(card.class_names)}" if several else f"One class: {card.class_names[0]}, yes or no",
        f"Pooling: {card.pooling}",
        _takes(card),
    ]
    training = card.training
    return [*lines, *_data(training), *_auc(training), *_source(training)]


def card_details(card: ModelCard) -> list[str]:
    """Say what else a model's card holds: sizes, how it was trained, with which versions, and what others put there.

    Parameters
    ----------
    card : ModelCard
        The model's card.

    Returns
    -------
    list of str
        Lines to follow `card_summary`.
    """
    training = card.training
    lines = [f"Sizes: {_pairs(card.config)}"] if card.config else []
    how = [_many(training["epochs"], "epoch")] if training.get("epochs") is not None else []
    how += [f"epoch {training['best_epoch']} chosen by validation"] if training.get("best_epoch") is not None else []
    how += [_pairs(training["recipe"])] if training.get("recipe") else []
    how += [f"seed {training['seed']}"] if training.get("seed") is not None else []
    how += [f"on {training['device']}"] if training.get("device") else []
    lines += [f"Training: {'; '.join(how)}"] if how else []
    lines += _threshold(card)
    lines += [f"Made with: {_pairs(training['versions'])}"] if training.get("versions") else []
    lines += [f"{_words(key).capitalize()}: {_value(training[key])}" for key in sorted(training.keys() - _TOLD)]
    return [*lines, *([f"Note: {training['note']}"] if training.get("note") else [])]


def _takes(card: ModelCard) -> str:
    numbers = f"Takes {counted(card.in_features, 'number')} per patch"
    if not card.encoder:
        return f"{numbers}; it does not say of which encoder, nor of which patches. Give the one it was trained on."
    known = [f"version {card.encoder_version}"] * bool(card.encoder_version)
    known += [f"weights {card.encoder_hash[:12]}"] * bool(card.encoder_hash)
    encoder = f"{numbers} from {card.encoder}" + (f" ({', '.join(known)})" if known else "")
    if not (card.tile_px and card.mpp):
        return f"{encoder}; it does not say of which patches"
    return f"{encoder}; patches of {card.tile_px * card.mpp:g} µm ({card.tile_px} px at {card.mpp:g} µm per pixel)"


def _data(training: Mapping[str, Any]) -> list[str]:
    told = [str(training["data"])] if training.get("data") else []
    if training.get("n_slides") is not None:
        patients = f" of {_many(training['n_patients'], 'patient')}" if training.get("n_patients") is not None else ""
        told.append(f"{_many(training['n_slides'], 'slide')}{patients}")
    elif training.get("n_train") is not None:
        told.append(f"{_many(training['n_train'], 'slide')}, {_value(training.get('n_val', 0))} more for validation")
    if training.get("slides_per_class"):
        told.append(f"slides per class: {_pairs(training['slides_per_class'])}")
    return [f"Trained on: {'; '.join(told)}"] if told else []


def _auc(training: Mapping[str, Any]) -> list[str]:
    if training.get("auc") is not None:
        fold = f" of fold {training['fold']}" if training.get("fold") is not None else ""
        slides = _many(training["n_test"], "slide") if training.get("n_test") is not None else "slides"
        return [f"AUC on the {slides}{fold} held out: {_three(training['auc'])}"]
    if training.get("auc_mean") is None:
        return []
    spread = f" ± {_three(training['auc_sd'])}" if training.get("auc_sd") is not None else ""
    more = [_many(training["folds"], "fold")] if isinstance(training.get("folds"), int) else []
    each = training.get("fold_aucs")
    more += [f"each: {', '.join(map(_three, each))}"] if isinstance(each, list | tuple) else []
    more += [f"all together {_three(training['auc_pooled'])}"] if training.get("auc_pooled") is not None else []
    return [
        f"AUC on patients held out: {_three(training['auc_mean'])}{spread}" + (f" ({'; '.join(more)})" if more else "")
    ]


def _threshold(card: ModelCard) -> list[str]:
    threshold = card.training.get("threshold")
    if not isinstance(threshold, int | float):
        return []
    return [f"Threshold: {card.class_names[-1]} from a probability of {_three(threshold)}, chosen on validation slides"]


def _source(training: Mapping[str, Any]) -> list[str]:
    told = " ".join(str(training[key]) for key in ("source", "file") if training.get(key))
    return [f"Read from: {told}"] if told else []


def _pairs(values: Any) -> str:
    if not isinstance(values, Mapping):
        return _value(values)
    return ", ".join(f"{_words(key)} {_value(value)}" for key, value in values.items())


def _three(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else _value(value)


def _value(value: Any) -> str:
    """Return a value of JSON in words; of a long list how many it holds."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    if isinstance(value, Mapping):
        return _pairs(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = ", ".join(_value(one) for one in value[:_MOST_SHOWN])
        return shown if len(value) <= _MOST_SHOWN else f"{len(value):,} ({_value(value[0])}, …)"
    return str(value)


def _many(value: Any, noun: str) -> str:
    """Return how many of what; a card that others wrote may not hold a number."""
    return counted(value, noun) if isinstance(value, int) else f"{_value(value)} {noun}s"


def _words(key: object) -> str:
    return str(key).replace("_", " ")
