"""What the Run tab offers: the models, encoders and devices at hand, with the reason beside those that do not fit."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ...features import EncoderEntry, known_encoders, list_encoders, models_folder
from ...models import ModelCard, ModelEntry, check_fit, list_models, read_card, read_entry
from ...samples import demo_model_files
from .choice_box import Choice

_DEVICE_TITLES = {
    "auto": "Automatic",
    "cpu": "CPU",
    "cuda": "NVIDIA GPU (CUDA)",
    "mps": "Apple GPU (MPS)",
}


def model_choices(extra: Iterable[Path] = ()) -> list[Choice]:
    """Return the models at hand: those of the models folder, files opened by hand, then the demo models.

    Parameters
    ----------
    extra : iterable of Path
        Files opened by hand.

    Returns
    -------
    list of Choice
        The value is the file.
    """
    return [
        Choice(_title(entry), entry.path, describe_card(entry.card) if entry.card else "", entry.reason)
        for entry in model_entries(extra)
    ]


def model_entries(extra: Iterable[Path] = ()) -> list[ModelEntry]:
    """Return the model files at hand, usable or not, in the order of `model_choices`.

    Parameters
    ----------
    extra : iterable of Path
        Files opened by hand.

    Returns
    -------
    list of ModelEntry
        With card, or the reason why there is none.
    """
    return [
        *list_models(models_folder()),
        *(read_entry(path) for path in extra),
        *(read_entry(path) for path in demo_model_files()),
    ]


def encoder_choices(model: Path | None) -> list[Choice]:
    """Return the encoders at hand, and the one that a model asks for; those that fit first.

    Parameters
    ----------
    model : Path or None
        The model's file; None leaves all encoders open.

    Returns
    -------
    list of Choice
        The value is what `load_encoder` takes.
    """
    card = read_card(model) if model is not None else None
    entries = list_encoders()
    if card is not None and card.encoder not in {entry.info.name for entry in entries if entry.info}:
        # the one that it asks for is shown in any case, with what is missing
        entries += [entry for entry in known_encoders() if entry.name == card.encoder]
    choices = [_encoder_choice(entry, card) for entry in entries]
    return sorted(choices, key=lambda choice: bool(choice.reason))


def device_choices() -> list[Choice]:
    """Return where the computation can run, with the reason beside what is not there.

    Loads PyTorch, which takes seconds: not for the window's thread.

    Returns
    -------
    list of Choice
        The value is what `choose_device` takes.
    """
    from ...features import device_options

    options = device_options()
    return [
        Choice(_DEVICE_TITLES[name], name, help="" if not usable else reason, reason="" if usable else reason)
        for name, usable, reason in options
    ]


def find_devices() -> list[Choice]:
    """Return `device_choices`, and load what the first result needs, so that its arrival does not stop the window."""
    importlib.import_module("pandas")  # napari's Shapes layer loads it at first use
    return device_choices()


def encoder_wanted(model: Path) -> str:
    """Say which encoder a model needs and where to put it.

    Parameters
    ----------
    model : Path
        The model's file.

    Returns
    -------
    str
        Two sentences.
    """
    name = read_card(model).encoder or "that this model was trained with"
    return f"This model needs the encoder {name}. Put its file into {models_folder()}."


def describe_card(card: ModelCard) -> str:
    """Say what a model is: the first line what it predicts, then classes, encoder, tiles and training.

    Parameters
    ----------
    card : ModelCard
        The model's card.

    Returns
    -------
    str
        For a tooltip.
    """
    lines = [card.task or "This model does not say what it predicts."]
    lines.append(f"Classes: {', '.join(card.class_names)}")
    lines.append(f"Pooling: {card.pooling}")
    if card.encoder:
        lines.append(f"Encoder: {card.encoder}")
    if card.tile_px and card.mpp:
        lines.append(f"Patches: {card.tile_px * card.mpp:g} µm ({card.tile_px} px at {card.mpp:g} µm/px)")
    data = card.training.get("data")
    if data:
        lines.append(f"Trained on: {data}")
    return "\n".join(lines)


def _title(entry: ModelEntry) -> str:
    return (entry.card.title if entry.card else "") or entry.path.stem


def _encoder_choice(entry: EncoderEntry, card: ModelCard | None) -> Choice:
    info = entry.info
    if card is None or info is None:
        return Choice(entry.title, entry.name, "", entry.reason)
    # A run cuts the tiles that the model was trained on, and what is not remembered of a file cannot speak against it.
    info = replace(
        info,
        tile_px=card.tile_px or info.tile_px,
        mpp=card.mpp or info.mpp,
        dim=info.dim or card.in_features,
        weights_hash=info.weights_hash or card.encoder_hash,
    )
    if not (info.tile_px and info.mpp):
        return Choice(entry.title, entry.name, "", entry.reason)
    patches = f"Patches of {info.tile_px * info.mpp:g} µm"
    # of a file that only lacks its patches, the model says them
    missing = "" if entry.usable or not entry.parameters else entry.reason
    return Choice(entry.title, entry.name, patches, check_fit(card, info) or missing)
