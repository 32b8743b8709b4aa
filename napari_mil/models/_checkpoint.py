"""Checkpoints: safetensors files that carry their card. Nothing in them is ever executed."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from ..errors import ModelError
from ..files import replacing
from ._card import ModelCard
from ._hub import fetch_model, is_on_hub
from ._registry import empty_model, is_known

if TYPE_CHECKING:
    from torch import Tensor

    from ._base import MILModel

_KEY = "napari_mil"
_FORMAT = 1
FOREIGN_ENDINGS = (".pt", ".pth")  # of other projects' checkpoints


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One file of a models folder.

    Parameters
    ----------
    path : Path
        The file.
    card : ModelCard or None
        Its card, or None where it cannot be used.
    reason : str
        Why it cannot be used; empty where it can.
    """

    path: Path
    card: ModelCard | None
    reason: str


def save_model(path: str | os.PathLike[str], model: MILModel) -> None:
    """Write a model and its card to a safetensors file, whole or not at all.

    Parameters
    ----------
    path : path
        Where to; an existing file is replaced. The folder must exist.
    model : MILModel
        The model.

    Raises
    ------
    ModelError
        If the file cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = json.dumps({"format": _FORMAT, "card": asdict(model.card)}, sort_keys=True, allow_nan=False)
    data = save(tensors, {_KEY: metadata})
    with replacing(path, ModelError) as partial:
        partial.write_bytes(data)


def read_card(path: str | os.PathLike[str]) -> ModelCard:
    """Read the card of a model file; of a safetensors file without loading its weights or torch.

    Parameters
    ----------
    path : path
        A safetensors file written by `save_model`, a ``.pt`` or ``.pth`` file of another project, or either on the
        Hugging Face hub: ``hf:owner/name[@revision][/file]``.

    Returns
    -------
    ModelCard
        The card.

    Raises
    ------
    ModelError
        If the file is missing, is no safetensors file, has no card, or was written by a newer version; of another
        project, as `load_foreign`; of the hub, as `fetch_model`.
    """
    path = local_file(path)
    if path.suffix.lower() in FOREIGN_ENDINGS:
        from ._foreign import load_foreign

        return load_foreign(path).card
    if not path.is_file():
        raise _missing(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path.name} is not a readable safetensors file, so it was not loaded. "
            "Models are .safetensors files as napari-mil's training writes them, or .pt files of weights alone."
        ) from error
    if _KEY not in metadata:
        raise ModelError(
            f"{path.name} holds weights but no napari-mil model card. "
            "Give a model that napari-mil trained or saved; files of other tools say too little to be run safely."
        )
    try:
        return _parse(json.loads(metadata[_KEY]), path.name)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"The model card in {path.name} is damaged ({error}). Get the file again.") from error


def check_model_file(path: str | os.PathLike[str]) -> ModelCard | None:
    """Refuse a model file that is missing or damaged, as far as that can be told without loading torch.

    Parameters
    ----------
    path : path
        As `read_card` takes it.

    Returns
    -------
    ModelCard or None
        Its card; None of another project's file, which only loading it tells.

    Raises
    ------
    ModelError
        As `read_card`.
    """
    path = local_file(path)
    if path.is_file() and path.suffix.lower() in FOREIGN_ENDINGS:
        return None
    if not path.is_file():
        raise _missing(path)
    return read_card(path)


def _missing(path: Path) -> ModelError:
    return ModelError(f"There is no model file {path}. Check the path.")


def load_model(path: str | os.PathLike[str]) -> MILModel:
    """Load a model, on the CPU and in evaluation mode.

    Parameters
    ----------
    path : path
        A safetensors file written by `save_model`, or a ``.pt`` or ``.pth`` file of another project, recognised by
        its tensors and opened as weights alone; or either on the Hugging Face hub, fetched into its cache where it does
        not lie there: ``hf:owner/name[@revision][/file]``.

    Returns
    -------
    MILModel
        The model, with its card.

    Raises
    ------
    ModelError
        As `read_card`, and if the tensors are not those that the card describes, or not all numbers.
    """
    import torch
    from safetensors.torch import load_file

    path = local_file(path)
    if path.suffix.lower() in FOREIGN_ENDINGS:
        from ._foreign import load_foreign

        return load_foreign(path)
    card = read_card(path)
    model = empty_model(card)
    tensors = load_file(path)
    _check_tensors(path.name, model.state_dict(), tensors)
    check_finite(path.name, tensors)
    # copied out of the mapped file: aligned, so that answers do not depend on where the model came from
    model.load_state_dict({name: tensor.to(torch.float32, copy=True) for name, tensor in tensors.items()}, assign=True)
    return model


def list_models(folder: str | os.PathLike[str]) -> list[ModelEntry]:
    """List the model files of a folder by name, those that cannot be used with the reason.

    Parameters
    ----------
    folder : path
        The folder; one that does not exist holds no models.

    Returns
    -------
    list of ModelEntry
        One per ``.safetensors`` file directly in the folder.
    """
    return [read_entry(path) for path in sorted(Path(folder).glob("*.safetensors"))]


def foreign_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files of a folder that may be checkpoints of other projects; reading one loads torch.

    Parameters
    ----------
    folder : path
        The folder; one that does not exist holds none.

    Returns
    -------
    list of Path
        The ``.pt`` and ``.pth`` files directly in it, by name, programs (TorchScript encoders) left out.
    """
    files = (path for path in Path(folder).glob("*") if path.suffix.lower() in FOREIGN_ENDINGS and path.is_file())
    return sorted(path for path in files if not is_program(path))


def is_program(path: Path) -> bool:
    """Tell whether a file is a TorchScript program, which is no model of weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.count("/") == 1 and name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # damaged in its directory
        return False


def read_entry(path: str | os.PathLike[str]) -> ModelEntry:
    """Return one file as a list of models shows it; a file that cannot be used says why instead of failing.

    Parameters
    ----------
    path : path
        As `read_card` takes it.

    Returns
    -------
    ModelEntry
        With its card, or with the reason; of one on the hub with the file in the hub's cache.
    """
    try:
        path = local_file(path)
        card = read_card(path)
    except ModelError as error:
        return ModelEntry(Path(path), None, str(error))
    if not is_known(card.pooling):
        return ModelEntry(path, None, f"Its pooling {card.pooling!r} is not known here. Update napari-mil.")
    return ModelEntry(path, card, "")


def local_file(path: str | os.PathLike[str]) -> Path:
    """Return the file on this machine that a path, or a name of the hub, means."""
    return fetch_model(Path(path).as_posix()) if is_on_hub(path) else Path(path)


def _parse(content: Mapping[str, Any], name: str) -> ModelCard:
    if content["format"] > _FORMAT:
        raise ModelError(
            f"{name} was written by a newer napari-mil (format {content['format']}, this one reads up to {_FORMAT}). "
            "Update napari-mil to use it."
        )
    card = content["card"]
    return ModelCard(
        pooling=str(card["pooling"]),
        in_features=int(card["in_features"]),
        config=dict(card["config"]),
        class_names=tuple(str(class_name) for class_name in card["class_names"]),
        title=str(card["title"]),
        task=str(card["task"]),
        encoder=str(card["encoder"]),
        encoder_hash=str(card["encoder_hash"]),
        encoder_version=str(card["encoder_version"]),
        tile_px=int(card["tile_px"]),
        mpp=float(card["mpp"]),
        training=dict(card["training"]),
    )


def _check_tensors(name: str, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    missing, unexpected = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or unexpected:
        faults = [f"missing: {', '.join(missing)}"] * bool(missing)
        faults += [f"unexpected: {', '.join(unexpected)}"] * bool(unexpected)
        raise ModelError(
            f"The weights in {name} are not those its card describes ({'; '.join(faults)}). Save it again."
        )
    for key, tensor in expected.items():
        if tensor.shape != found[key].shape:
            raise ModelError(
                f"The weight {key} in {name} has the shape {tuple(found[key].shape)}, its card says "
                f"{tuple(tensor.shape)}. Save the model again."
            )


def check_finite(name: str, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not all numbers.

    Raises
    ------
    ModelError
        If there is NaN or an infinite number among them.
    """
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ModelError(
                f"The weight {key} in {name} holds NaN or infinite numbers, as after a training that failed. Take an "
                "earlier checkpoint, or train again."
            )
