"""What the Run tab offers: the models, encoders and devices at hand, with the reason beside those that do not fit."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import replace

from ...features import EncoderEntry, known_encoders, list_encoders, models_folder
from ...models import ModelCard, ModelEntry, card_summary, check_fit, list_models, read_entry
from ...samples import demo_model_files
from .choice_box import Choice

_DEVICE_TITLES = {
    "auto": "Automatic",
    "cpu": "CPU",
    "cuda": "NVIDIA GPU (CUDA)",
    "mps": "Apple GPU (MPS)",
}


def model_choices(entries: Iterable[ModelEntry]) -> list[Choice]:
    """Return models as lines of a list.

    Parameters
    ----------
    entries : iterable of ModelEntry
        As `model_entries` returns them.

    Returns
    -------
    list of Choice
        The value is the file.
    """
    return [
        Choice(_title(entry), entry.path, "\n".join(card_summary(entry.card)) if entry.card else "", entry.reason)
        for entry in entries
    ]


def model_entries(others: Iterable[ModelEntry] = ()) -> list[ModelEntry]:
    """Return the models at hand, usable or not: those of the models folder, others, then the demo models.

    Parameters
    ----------
    others : iterable of ModelEntry
        Of other projects, and opened by hand.

    Returns
    -------
    list of ModelEntry
        With card, or the reason why there is none; each file once.
    """
    entries = [*list_models(models_folder()), *others, *(read_entry(path) for path in demo_model_files())]
    return list({entry.path: entry for entry in entries}.values())


def encoder_choices(card: ModelCard | None) -> list[Choice]:
    """Return the encoders at hand, and those that a model may ask for; those that fit first.

    Parameters
    ----------
    card : ModelCard or None
        The model's card; None leaves all encoders open.

    Returns
    -------
    list of Choice
        The value is what `load_encoder` takes.
    """
    entries = list_encoders()
    if card is not None:
        # what it asks for, or could ask for, is shown in any case, with what is missing
        here = {entry.info.name for entry in entries if entry.info}
        entries += [entry for entry in known_encoders() if entry.name not in here and _may_ask_for(card, entry)]
    choices = [_encoder_choice(entry, card) for entry in entries]
    return sorted(choices, key=lambda choice: bool(choice.reason))


def _may_ask_for(card: ModelCard, entry: EncoderEntry) -> bool:
    if card.encoder:
        return entry.name == card.encoder
    return entry.info is not None and entry.info.dim == card.in_features


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


def encoder_wanted(card: ModelCard) -> str:
    """Say which encoder a model needs and where to put it.

    Parameters
    ----------
    card : ModelCard
        The model's card.

    Returns
    -------
    str
        Two sentences.
    """
    if card.encoder:
        return f"This model needs the encoder {card.encoder}. Put its file into {models_folder()}."
    return (
        f"This model takes {card.in_features:,} numbers per patch, and no encoder at hand gives as many. Put the one "
        f"that it was trained with into {models_folder()}."
    )


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
