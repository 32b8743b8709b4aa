"""The models by name. Knows them without loading torch, so that lists and panels stay quick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    "attention": (".attention", "AttentionPooling"),
    "gated-attention": (".gated_attention", "GatedAttentionPooling"),
}

MODEL_NAMES: tuple[str, ...] = tuple(_CLASSES)


def create_model(
    name: str,
    *,
    in_features: int,
    n_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    seed: int | None = None,
    **config: float,
) -> MILModel:
    """Make a new, untrained model, in evaluation mode.

    Parameters
    ----------
    name : str
        One of `MODEL_NAMES`.
    in_features : int
        Feature length D.
    n_classes : int, optional
        Number of classes C; the number of `class_names` where these are given, else 2.
    class_names : sequence of str, optional
        One name per class; a single one means one sigmoid output.
    seed : int, optional
        Seed of the initial weights; None draws them anew each time. The global generator is left alone.
    **config : float
        Sizes of the pooling: ``hidden``, ``dropout``, and ``attention_dim`` for the attention models.

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
    _check_sizes(card, model_class.defaults)
    with torch.device("meta"):
        return model_class(card).eval()


def _model_class(name: str) -> type[MILModel]:
    if name not in _CLASSES:
        raise ModelError(f"There is no model named {name!r}. Choose one of: {', '.join(MODEL_NAMES)}.")
    module, attribute = _CLASSES[name]
    model_class: type[MILModel] = getattr(import_module(module, __package__), attribute)
    return model_class


def _check_sizes(card: ModelCard, defaults: Mapping[str, int | float]) -> None:
    wrong = sorted(set(card.config) ^ set(defaults))
    if wrong:
        raise ModelError(f"A {card.pooling} model takes the sizes {sorted(defaults)}; amiss: {wrong}.")
    whole = {"in_features": card.in_features, "classes": len(card.class_names)}
    whole |= {key: card.config[key] for key in defaults if key != "dropout"}
    for key, value in whole.items():
        if not isinstance(value, int) or value < 1:
            raise ModelError(f"The size {key} of a model must be a whole number from 1 up, not {value!r}.")
    dropout = card.config["dropout"]
    if not (isinstance(dropout, int | float) and 0 <= dropout < 1):
        raise ModelError(f"dropout must lie in [0, 1), not {dropout!r}.")


def _initialise(model: MILModel, generator: torch.Generator) -> None:
    """Fill every linear layer uniformly within 1 / sqrt(inputs), torch's own rule, from one seeded generator."""
    from torch import nn

    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator)
            nn.init.uniform_(layer.bias, -bound, bound, generator)
