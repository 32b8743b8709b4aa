"""The models by name. Knows them without loading torch, so that lists and panels stay quick."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import ModelError
from ._card import ModelCard

if TYPE_CHECKING:
    import torch

    from ._base import MILModel

_CLASSES: dict[str, tuple[str, str]] = {
    "mean": (".mean", "MeanPooling"),
    "max": (".max", "MaxPooling"),
    "lse": (".lse", "LsePooling"),
    "noisy-and": (".noisy_and", "NoisyAndPooling"),
    "attention": (".attention", "AttentionPooling"),
    "gated-attention": (".gated_attention", "GatedAttentionPooling"),
    "softmax-attention": (".softmax_attention", "SoftmaxAttentionPooling"),
    "softmax-mean": (".softmax_mean", "SoftmaxMeanPooling"),
    "clam-sb": (".clam_sb", "ClamSB"),
    "clam-mb": (".clam_mb", "ClamMB"),
    "additive": (".additive", "AdditivePooling"),
    "dsmil": (".dsmil", "DualStreamPooling"),
    "transmil": (".transmil", "TransformerPooling"),
    "dtfd": (".dtfd", "DoubleTierPooling"),
    "tda": (".tda", "TopDownPooling"),
}

MODEL_NAMES: tuple[str, ...] = tuple(_CLASSES)
TORCHMIL = "torchmil:"
_MOST = 10_000_000  # of any size: a false card is to be told, not tried


def create_model(
    name: str,
    *,
    in_features: int,
    n_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    seed: int | None = None,
    **config: float | str,
) -> MILModel:
    """Make a new, untrained model, in evaluation mode.

    Parameters
    ----------
    name : str
        One of `MODEL_NAMES`, or ``torchmil:<Class>`` for a model of the package torchmil.
    in_features : int
        Feature length D.
    n_classes : int, optional
        Number of classes C; the number of `class_names` where these are given, else 2.
    class_names : sequence of str, optional
        One name per class; a single one means one sigmoid output.
    seed : int, optional
        Seed of the initial weights; None draws them anew each time. The global generator is left alone.
    **config : float or str
        Sizes of the pooling; its class lists them with their defaults.

    Returns
    -------
    MILModel
        The model; its card holds every size, defaults included.

    Raises
    ------
    ModelError
        If the name is not known.
    ValueError
        If a size is out of range or its name unknown, or names and number of classes differ.
    """
    import torch

    if class_names is None:
        class_names = [f"class {c}" for c in range(2 if n_classes is None else n_classes)]
    if n_classes not in (None, len(class_names)):
        raise ValueError(f"n_classes is {n_classes} but {len(class_names)} class names are given")
    card = ModelCard(name, in_features, {**_model_class(name).defaults, **config}, tuple(class_names))
    try:
        model = empty_model(card)
    except ModelError as error:
        raise ValueError(str(error)) from error
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    model.to_empty(device="cpu")
    _initialise(model, generator)
    return model


def empty_model(card: ModelCard) -> MILModel:
    """Build the model that a card describes on torch's meta device: shapes without numbers.

    Raises
    ------
    ModelError
        If the card names an unknown pooling, or its sizes make no model.
    """
    import torch

    model_class = _model_class(card.pooling)
    _check_sizes(card, model_class)
    try:
        with torch.device("meta"):
            return model_class(card).eval()
    except (RuntimeError, TypeError, ValueError) as error:
        why = str(error).split("\n", 1)[0]
        raise ModelError(f"A {card.pooling} model cannot be made with these sizes: {why}.") from error


def is_known(name: str) -> bool:
    """Tell whether a name is one of `MODEL_NAMES` or of a model that torchmil may have."""
    return name in _CLASSES or name.startswith(TORCHMIL)


def gives_leave_one_out(name: str) -> bool:
    """Tell whether a pooling gives leave-one-out by itself, rather than by computing the bag anew for each patch."""
    return name in _CLASSES and name not in ("additive", "transmil", "tda")


def has_dropout(card: ModelCard) -> bool:
    """Tell whether a model was made with dropout, which passes could differ by; without loading torch."""
    shares = [share for key, share in card.config.items() if key.endswith("dropout")]
    return any(isinstance(share, int | float) and share > 0 for share in shares)


def no_dropout(card: ModelCard) -> ModelError:
    """Return what to raise where passes with dropout are asked of a model without any."""
    return ModelError(
        f'The model "{card.title or card.pooling}" has no dropout, so every pass says the same. '
        "Give several models instead, or leave the passes out."
    )


def _model_class(name: str) -> type[MILModel]:
    if name.startswith(TORCHMIL):
        from .torchmil import torchmil_class

        return torchmil_class(name)
    if name not in _CLASSES:
        raise ModelError(f"There is no model named {name!r}. Choose one of: {', '.join(MODEL_NAMES)}.")
    module, attribute = _CLASSES[name]
    model_class: type[MILModel] = getattr(import_module(module, __package__), attribute)
    return model_class


def _check_sizes(card: ModelCard, model_class: type[MILModel]) -> None:
    defaults = model_class.defaults
    wrong = sorted(set(card.config) ^ set(defaults))
    if wrong:
        raise ModelError(f"A {card.pooling} model takes the sizes {sorted(defaults)}; amiss: {wrong}.")
    _check_whole("in_features", card.in_features, 1)
    _check_whole("classes", len(card.class_names), 1)
    for key, default in defaults.items():
        value = card.config[key]
        if isinstance(default, bool):
            _check_one_of(key, value, (False, True))
        elif isinstance(default, str):
            _check_one_of(key, value, model_class.choices.get(key, (value,)))
        elif isinstance(default, int):
            _check_whole(key, value, model_class.least.get(key, 1))
        else:
            _check_number(key, value)


def _check_one_of(key: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices or not isinstance(value, type(choices[0])):
        raise ModelError(f"{key} must be one of {', '.join(map(str, choices))}, not {value!r}.")


def _check_whole(key: str, value: object, least: int) -> None:
    if not isinstance(value, int) or not least <= value <= _MOST:
        raise ModelError(f"The size {key} of a model must be a whole number from {least} to {_MOST:,}, not {value!r}.")


def _check_number(key: str, value: object) -> None:
    if key.endswith("dropout"):
        if not (isinstance(value, int | float) and 0 <= value < 1):
            raise ModelError(f"{key} must lie in [0, 1), not {value!r}.")
    elif not (isinstance(value, int | float) and 0 < value < float("inf")):
        raise ModelError(f"{key} must be a positive number, not {value!r}.")


def _initialise(model: MILModel, generator: torch.Generator) -> None:
    """Fill every linear and convolution layer uniformly within 1 / sqrt(inputs), torch's own rule, from one generator.

    Norms begin as what they do to normed input: nothing. What else a model holds it fills itself.
    """
    from torch import nn

    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -bound, bound, generator)
        elif isinstance(layer, nn.LayerNorm | nn.BatchNorm1d):
            layer.reset_parameters()
    model.initialise(generator)
