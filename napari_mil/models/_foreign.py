"""Checkpoints of other projects: recognised by the names and shapes of their tensors, never executed.

Files are opened with ``torch.load(weights_only=True)`` alone. A `Layout` says by which tensors a project's model is
known and how they become one of ours.
"""

from __future__ import annotations

import codecs
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ._base import MILModel
from ._card import ModelCard
from ._checkpoint import check_finite, is_program
from ._layouts import LAYOUTS, Converted, Layout
from ._registry import empty_model

_ENVELOPES = ("state_dict", "model_state_dict", "model")  # under which training scripts keep the weights
_PREFIXES = ("module.", "model.")  # of torch's DataParallel and of Lightning

# projects whose layouts are not read, by a name that their tensors have: what they compute differs from ours
_NOT_READ: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("MIL-Lab", lambda name: name.startswith("patch_embed.")),
    ("STAMP", lambda name: "project_features." in name),
)

# what training scripts store beside the weights: numbers of numpy; making one runs nothing else
_NUMBERS: list[Any] = [
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
    (codecs.encode, "_codecs.encode"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "bool")),
]


def load_foreign(path: Path) -> MILModel:
    """Load a model of another project, on the CPU and in evaluation mode.

    Parameters
    ----------
    path : Path
        A file written by ``torch.save`` that holds tensors, numbers and text and nothing else.

    Returns
    -------
    MILModel
        One of ours, with the file's weights and a card that says where they come from. What such a file does not
        know (classes, encoder, patch size) the card leaves open.

    Raises
    ------
    ModelError
        If the file is missing, holds anything but weights, is of no known layout, or lacks tensors of its layout.
    """
    state = _read_state(path)
    names = frozenset(state)
    layout = next((layout for layout in LAYOUTS if layout.known_by(names)), None)
    if layout is None:
        raise ModelError(_unknown(path.name, names))
    asked = _Asked(layout.tidy(state))
    try:
        converted = layout.convert(asked)
    except KeyError as error:
        raise ModelError(f"{path.name} looks like {layout.title} but lacks {error}. Save it anew.") from error
    except (IndexError, TypeError, ValueError, RuntimeError) as error:  # tensors of shapes that do not go together
        raise ModelError(f"{path.name} looks like {layout.title} but its tensors do not fit: {error}.") from error
    if unread := sorted(asked.keys() - asked.names):
        raise ModelError(
            f"{path.name} looks like {layout.title} but holds more than that has ({', '.join(unread[:5])}), so that it "
            "would not answer as it did. Check which version wrote it."
        )
    return _build(path, layout, converted)


def _unknown(file: str, names: frozenset[str]) -> str:
    """Say that the names of a file's tensors are of no layout known here, and what can be done."""
    whose = next((f", but as {project} names them" for project, mark in _NOT_READ if any(map(mark, names))), "")
    known = ", ".join(layout.title for layout in LAYOUTS)
    return (
        f"The weights in {file} ({', '.join(sorted(names)[:3])}) are not named as in a layout that can be read here"
        f"{whose}: train a model on the same features (napari-mil train), or give a checkpoint of {known}."
    )


class _Asked(dict[str, Tensor]):
    """Tensors by name, and the names that were asked for: what nobody asks for would be lost in silence."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(tensors)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.names.add(name)
        return super().__getitem__(name)


def _build(path: Path, layout: Layout, converted: Converted) -> MILModel:
    card = ModelCard(
        converted.pooling,
        converted.in_features,
        dict(converted.config),
        tuple(f"class {c}" for c in range(converted.n_classes)),
        title=f"{path.stem} ({layout.title})",
        training={"source": f"{layout.title} checkpoint", "file": path.name},
    )
    model = empty_model(card)
    for key, expected in model.state_dict().items():
        found = converted.tensors.get(key)
        if found is None or found.shape != expected.shape:
            shape = None if found is None else tuple(found.shape)
            raise ModelError(
                f"{path.name} looks like {layout.title} but does not fit it: our {key} is {tuple(expected.shape)}, "
                f"the file gives {shape}. Check which version wrote it."
            )
    check_finite(path.name, converted.tensors)
    tensors = {name: tensor.detach().to(torch.float32, copy=True) for name, tensor in converted.tensors.items()}
    model.load_state_dict(tensors, assign=True)
    return model


def _read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by dotted name."""
    if not path.is_file():
        raise ModelError(f"There is no model file {path}. Check the path.")
    if is_program(path):
        raise ModelError(
            f"{path.name} is a program (TorchScript), as encoders are, no model's weights. Give it as the encoder, or "
            "save the model's state_dict() alone."
        )
    try:
        with torch.serialization.safe_globals(_NUMBERS), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles' protocols: of no use to who opens a file
            state = _state(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # damaged bytes make the unpickler fail in any way: with what follows from no list
        raise ModelError(
            f"{path.name} was not opened: it is damaged, or holds more than weights, which could run code on this "
            "machine. Save the model's state_dict() alone, or as safetensors."
        ) from error
    if not state:
        raise ModelError(f"{path.name} holds no named tensors. Save the model's state_dict().")
    return state


def _state(content: object) -> dict[str, Tensor]:
    """Return the tensors of what a file holds by dotted name, out of envelopes and prefixes."""
    for name in _ENVELOPES:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    state = _flat(content)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _flat(content: object, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors of nested dictionaries, names joined with dots; what is no tensor is left out."""
    if not isinstance(content, Mapping):
        return {}
    state: dict[str, Tensor] = {}
    for name, value in content.items():
        if isinstance(value, Tensor):
            state[f"{prefix}{name}"] = value
        else:
            state |= _flat(value, f"{prefix}{name}.")
    return state
