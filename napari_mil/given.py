"""What a run is given: models and encoders, by name, by file or as they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .errors import ModelError
from .features import known_encoders, load_encoder, models_folder
from .models import ModelCard, check_fit, is_on_hub, load_model

if TYPE_CHECKING:
    from .features import Encoder
    from .models import MILModel

    ModelGiven: TypeAlias = MILModel | str | os.PathLike[str]


def resolve_models(model: ModelGiven | Sequence[ModelGiven]) -> list[MILModel]:
    """Return one or several models, each as `resolve_model` finds it.

    Parameters
    ----------
    model : MILModel, path or str, or a sequence of them
        As `resolve_model` takes it.

    Returns
    -------
    list of MILModel
        One or more.

    Raises
    ------
    ModelError
        If there is none, one is given twice, or as in `resolve_model`.
    """
    given = list(model) if isinstance(model, Sequence) and not isinstance(model, str) else [model]
    if not given:
        raise ModelError("No model is given. Give one, or several to take them together.")
    named = [os.fspath(one) for one in given if isinstance(one, str | os.PathLike)]
    twice = [name for name in dict.fromkeys(named) if named.count(name) > 1]
    if twice:
        raise ModelError(f"The model {twice[0]} is given twice, which would make the spread too small. Give it once.")
    return [resolve_model(one) for one in given]


def resolve_model(model: MILModel | str | os.PathLike[str]) -> MILModel:
    """Return a model, loading it from its file or by its name in the models folder.

    Parameters
    ----------
    model : MILModel, path or str
        A model, a file, the name of a file in the models folder with or without its ending, or a model of the hub
        (``hf:owner/name[@revision][/file]``).

    Returns
    -------
    MILModel
        The model.

    Raises
    ------
    ModelError
        If there is no such file, or it is not one of ours.
    """
    if not isinstance(model, str | os.PathLike):
        return model
    if is_on_hub(model):
        return load_model(model)
    path = Path(model)
    candidates = [path, models_folder() / path, models_folder() / f"{path}.safetensors"]
    for candidate in candidates:
        if candidate.is_file():
            return load_model(candidate)
    raise ModelError(f"No model file {path}, here or in the models folder {models_folder()}. Give a .safetensors file.")


def resolve_encoder(encoder: Encoder | str | os.PathLike[str] | None, card: ModelCard) -> Encoder:
    """Return an encoder that fits a model, by default the one its card names.

    Parameters
    ----------
    encoder : Encoder, path, str or None
        The encoder, its file or name; None takes the model card's.
    card : ModelCard
        What the model expects.

    Returns
    -------
    Encoder
        The encoder.

    Raises
    ------
    ModelError
        If the model takes other features than the encoder makes, or names no encoder and none was given.
    EncoderError
        If the encoder cannot be loaded.
    """
    if encoder is None:
        if not card.encoder:
            raise ModelError(
                f'The model "{card.title or card.pooling}" does not say which encoder it takes, only that it gives '
                f"{card.in_features:,} numbers per patch. Choose the one it was trained with (--encoder on the command "
                "line)."
            )
        encoder = card.encoder
    if isinstance(encoder, str | os.PathLike):
        _check_known(os.fspath(encoder), card)
        # the model's tiles win: that is what it was trained on, and a file new here need not say its own
        encoder = load_encoder(os.fspath(encoder), tile_px=card.tile_px or None, mpp=card.mpp or None)
    reason = check_fit(card, encoder.info)
    if reason:
        raise ModelError(reason)
    return encoder


def _check_known(name: str, card: ModelCard) -> None:
    """Refuse an encoder that is known to give other features than a model takes, before gigabytes of it are fetched."""
    info = next((entry.info for entry in known_encoders() if entry.name == name), None)
    if info is not None and (card.encoder not in ("", name) or card.in_features != info.dim):
        raise ModelError(str(check_fit(card, info)))
