"""What a run is given: models and encoders, by name, by file or as they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .errors import AnnotationError, FeaturesError, ModelError
from .features import check_encoder_name, known_encoders, load_encoder, models_folder
from .models import (
    ModelCard,
    check_fit,
    check_model_file,
    has_dropout,
    is_on_hub,
    load_model,
    no_dropout,
    trained_on_another,
)
from .slides import open_slide
from .tiling import TISSUE_METHODS

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
    return [resolve_model(one) for one in _each_once(model)]


def _each_once(model: ModelGiven | Sequence[ModelGiven]) -> list[ModelGiven]:
    """Return one or several models as a list; refuse none, and one given twice."""
    given = list(model) if isinstance(model, Sequence) and not isinstance(model, str) else [model]
    if not given:
        raise ModelError("No model is given. Give one, or several to take them together.")
    named = [os.fspath(one) for one in given if isinstance(one, str | os.PathLike)]
    twice = [name for name in dict.fromkeys(named) if named.count(name) > 1]
    if twice:
        raise ModelError(f"The model {twice[0]} is given twice, which would make the spread too small. Give it once.")
    return given


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
    return load_model(_model_file(model)) if isinstance(model, str | os.PathLike) else model


def _model_file(model: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Return the file that a name means, or a name of the hub as it is."""
    if is_on_hub(model):
        return model
    path = Path(model)
    candidates = [path, models_folder() / path, models_folder() / f"{path}.safetensors"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
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
        encoder = _encoder_of(card)
    if isinstance(encoder, str | os.PathLike):
        _check_known(os.fspath(encoder), card)
        # the model's tiles win: that is what it was trained on, and a file new here need not say its own
        encoder = load_encoder(os.fspath(encoder), tile_px=card.tile_px or None, mpp=card.mpp or None)
    reason = check_fit(card, encoder.info)
    if reason:
        raise ModelError(reason)
    return encoder


def _encoder_of(card: ModelCard) -> str:
    """Return the encoder that a model's card names."""
    if not card.encoder:
        raise ModelError(
            f'The model "{card.title or card.pooling}" does not say which encoder it takes, only that it takes '
            f"{card.in_features:,} numbers per patch. Choose the one it was trained with (--encoder on the command "
            "line)."
        )
    return card.encoder


def check_run(
    slide_path: str | os.PathLike[str],
    *,
    model: Sequence[str | os.PathLike[str]],
    encoder: str | os.PathLike[str] | None = None,
    slide_mpp: float | None = None,
    tissue: str | os.PathLike[str] | None = None,
    within: str | os.PathLike[str] | None = None,
    features: str | os.PathLike[str] | None = None,
    mc_dropout: int = 0,
) -> None:
    """Say what is wrong with what a run is given, as far as it can be told at once: without loading torch.

    Parameters
    ----------
    slide_path, model, encoder, slide_mpp, tissue, within, features, mc_dropout
        As `iter_run` takes them.

    Raises
    ------
    NapariMilError
        As `iter_run` would: the slide, a model or another file is missing or damaged, or they do not go together.
    """
    open_slide(slide_path, mpp=slide_mpp).close()
    files = [_model_file(one) for one in _each_once(list(model))]  # type: ignore[arg-type]  # paths all of them
    cards = [card for card in map(check_model_file, files) if card is not None]
    for card in cards:
        if mc_dropout and not has_dropout(card):
            raise no_dropout(card)
    for outlines in (tissue, within):
        if outlines is not None and os.fspath(outlines) not in TISSUE_METHODS and not Path(outlines).exists():
            raise AnnotationError(f"There is no annotation file {outlines}. Check the name.")
    if features is not None:
        if not Path(features).exists():
            raise FeaturesError(f"There is no {features}. Check the path.")
        return
    if encoder is not None or (cards and len(cards) == len(files)):
        name = os.fspath(encoder) if encoder is not None else _encoder_of(cards[0])
        by_name = check_encoder_name(name) is None
        for card in cards:
            if by_name and card.encoder not in ("", name):
                raise ModelError(trained_on_another(card, name))
            _check_known(name, card)


def _check_known(name: str, card: ModelCard) -> None:
    """Refuse an encoder that is known to give other features than a model takes, before gigabytes of it are fetched."""
    info = next((entry.info for entry in known_encoders() if entry.name == name), None)
    if info is not None and (card.encoder not in ("", name) or card.in_features != info.dim):
        raise ModelError(str(check_fit(card, info)))
