"""Checkpoints of other projects: recognised by the names and shapes of their tensors, never executed.

Files are opened with ``torch.load(weights_only=True)`` alone. A `Layout` says by which tensors a project's model is
known and how they become one of ours; add one to `LAYOUTS` to read another.
"""

from __future__ import annotations

import codecs
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ._base import MILModel
from ._card import ModelCard
from ._registry import empty_model

State = Mapping[str, Tensor]

_ENVELOPES = ("state_dict", "model_state_dict", "model")  # under which training scripts keep the weights
_PREFIXES = ("module.", "model.")  # of torch's DataParallel and of Lightning

# what training scripts store beside the weights: numbers of numpy; making one runs nothing else
_NUMBERS: list[Any] = [
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
    (codecs.encode, "_codecs.encode"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "bool")),
]


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """A foreign model in our words.

    Parameters
    ----------
    pooling : str
        Which of our models it is.
    in_features, n_classes : int
        Its lengths D and C.
    config : mapping
        Its sizes, all of them.
    tensors : mapping of str to Tensor
        Its weights by our names.
    """

    pooling: str
    in_features: int
    n_classes: int
    config: Mapping[str, float | str]
    tensors: State


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How one project names the tensors of one model.

    Parameters
    ----------
    title : str
        Project and model, as a person knows them.
    known_by : function
        True if the names are those of this layout.
    convert : function
        From the project's tensors to our model; a KeyError names one that is missing.
    """

    title: str
    known_by: Callable[[frozenset[str]], bool]
    convert: Callable[[State], Converted]


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
        known = ", ".join(layout.title for layout in LAYOUTS)
        raise ModelError(
            f"The weights in {path.name} are of no model known here (they begin with {', '.join(sorted(names)[:3])}). "
            f"These can be read: {known}."
        )
    try:
        converted = layout.convert(state)
    except KeyError as error:
        raise ModelError(f"{path.name} looks like {layout.title} but lacks {error}. Save it anew.") from error
    except (IndexError, ValueError, RuntimeError) as error:  # tensors of shapes that do not go together
        raise ModelError(f"{path.name} looks like {layout.title} but its tensors do not fit: {error}.") from error
    return _build(path, layout, converted)


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
    tensors = {name: tensor.detach().to(torch.float32, copy=True) for name, tensor in converted.tensors.items()}
    model.load_state_dict(tensors, assign=True)
    return model


def _read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by dotted name, out of the envelopes and prefixes that scripts add."""
    if not path.is_file():
        raise ModelError(f"There is no model file {path}. Check the path.")
    try:
        with torch.serialization.safe_globals(_NUMBERS), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles' protocols: of no use to who opens a file
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path.name} was not opened: it is damaged, or holds more than weights, which could run code on this "
            "machine. Save the model's state_dict() alone, or as safetensors."
        ) from error
    for name in _ENVELOPES:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    state = _flat(content)
    if not state:
        raise ModelError(f"{path.name} holds no named tensors. Save the model's state_dict().")
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


def linear(ours: str, theirs: str, state: State) -> dict[str, Tensor]:
    """Return weight and bias of a linear layer under our name; a KeyError names the one that is missing."""
    return {f"{ours}.{part}": state[f"{theirs}.{part}"] for part in ("weight", "bias")}


def stacked(ours: str, theirs: list[str], state: State) -> dict[str, Tensor]:
    """Return linear layers one above the other as a single one under our name."""
    return {f"{ours}.{part}": torch.cat([state[f"{name}.{part}"] for name in theirs]) for part in ("weight", "bias")}


def _clam(state: State) -> Converted:
    """Convert CLAM (mahmoodlab/CLAM): with one attention branch or one per class, gated or plain.

    ``attention_net`` was once wrapped for several GPUs (``attention_net.module.*``). Its plain attention is itself
    called ``module``, so only that one prefix is taken off. The attention sits at 2, or at 3 behind a dropout.
    """
    state = {
        name.replace("attention_net.module.", "attention_net.", 1): tensor
        for name, tensor in state.items()
        if not name.startswith("instance_loss_fn.")
    }
    with_dropout = any(name.startswith("attention_net.3.") for name in state)
    at = f"attention_net.{3 if with_dropout else 2}"
    gated = f"{at}.attention_a.0.weight" in state
    if gated:
        attention = linear("attention_V", f"{at}.attention_a.0", state)
        attention |= linear("attention_U", f"{at}.attention_b.0", state)
        attention |= linear("attention_w", f"{at}.attention_c", state)
    else:
        attention = linear("attention_V", f"{at}.module.0", state)
        attention |= linear("attention_w", f"{at}.module.{3 if with_dropout else 2}", state)
    multi = "classifiers.0.weight" in state
    n_classes = _count("classifiers", state) if multi else len(state["classifiers.weight"])
    heads = [f"classifiers.{c}" for c in range(n_classes)] if multi else ["classifiers"]
    instance = [f"instance_classifiers.{c}" for c in range(n_classes)]
    projection = linear("projection", "attention_net.0", state)
    hidden, in_features = projection["projection.weight"].shape
    config = {
        "hidden": hidden,
        "attention_dim": len(attention["attention_V.weight"]),
        "attention": "gated" if gated else "plain",
        "k_sample": 8,
        "instance_classes": "all" if multi else "own",
        "dropout": 0.25 if with_dropout else 0.0,
    }
    tensors = projection | attention | stacked("head", heads, state) | stacked("instance_head", instance, state)
    return Converted("clam-mb" if multi else "clam-sb", in_features, n_classes, config, tensors)


def _xmil(state: State) -> Converted:
    """Convert xMIL's AttentionMIL: Linear-ReLU, tanh attention, linear head; our `attention` under other names."""
    tensors = linear("projection", "linear_layers.0.0", state) | linear("attention_V", "attention.0", state)
    tensors |= linear("attention_w", "attention.2", state) | linear("head", "classifier", state)
    hidden, in_features = tensors["projection.weight"].shape
    attention_dim = len(tensors["attention_V.weight"])
    config = {"hidden": hidden, "attention_dim": attention_dim, "dropout": 0.0}
    return Converted("attention", in_features, len(tensors["head.weight"]), config, tensors)


def _dsmil(state: State) -> Converted:
    """Convert DSMIL (binli123/dsmil-wsi): with the query of one layer or two, values as they are or through a layer.

    Its last layer is a convolution over the features of all classes at once, which is a full linear layer.
    """
    linear_query = "b_classifier.q.weight" in state
    tensors = linear("instance", "i_classifier.fc.0", state)
    tensors |= linear("query_in", "b_classifier.q" if linear_query else "b_classifier.q.0", state)
    if not linear_query:
        tensors |= linear("query_out", "b_classifier.q.2", state)
    passing = "b_classifier.v.1.weight" in state
    if passing:
        tensors |= linear("value", "b_classifier.v.1", state)
    tensors |= {"head.weight": state["b_classifier.fcc.weight"].flatten(1), "head.bias": state["b_classifier.fcc.bias"]}
    n_classes, in_features = tensors["instance.weight"].shape
    config: dict[str, float | str] = {
        "query_dim": len(tensors["query_in.weight"]),
        "query": "linear" if linear_query else "two-layer",
        "value": "layer" if passing else "identity",
        "dropout": 0.0,
    }
    return Converted("dsmil", in_features, n_classes, config, tensors)


def _dtfd(state: State) -> Converted:
    """Convert DTFD-MIL (hrzhang1123/DTFD-MIL); its files do not say the distillation, so that is the default, AFS."""
    reduction = state["dim_reduction.fc1.weight"]
    hidden, in_features = reduction.shape
    tensors = {"projection.weight": reduction, "projection.bias": reduction.new_zeros(hidden)}
    for ours, theirs in (("energy1", "attention"), ("energy2", "att_classifier.attention")):
        tensors |= linear(f"{ours}.V", f"{theirs}.attention_V.0", state)
        tensors |= linear(f"{ours}.U", f"{theirs}.attention_U.0", state)
        tensors |= linear(f"{ours}.w", f"{theirs}.attention_weights", state)
    tensors |= linear("group_head", "classifier.fc", state) | linear("head", "att_classifier.classifier.fc", state)
    config: dict[str, float | str] = {
        "hidden": hidden,
        "attention_dim": len(tensors["energy1.V.weight"]),
        "groups": 4,
        "distillation": "afs",
        "splits": 8,
        "split_seed": 0,
        "dropout": 0.0,
    }
    return Converted("dtfd", in_features, len(tensors["head.weight"]), config, tensors)


def _transmil(state: State) -> Converted:
    """Convert TransMIL (szc19990412/TransMIL): the same layers under other names."""
    tensors = linear("projection", "_fc1.0", state) | linear("norm", "norm", state) | linear("head", "_fc2", state)
    tensors["class_token"] = state["cls_token"].flatten()
    for n in (1, 2):
        tensors |= linear(f"norm{n}", f"layer{n}.norm", state)
        tensors |= linear(f"attention{n}.to_out", f"layer{n}.attn.to_out.0", state)
        tensors[f"attention{n}.to_qkv.weight"] = state[f"layer{n}.attn.to_qkv.weight"]
        tensors[f"attention{n}.residual.weight"] = state[f"layer{n}.attn.res_conv.weight"].squeeze(3)
    for kernel, theirs in ((7, "proj"), (5, "proj1"), (3, "proj2")):
        tensors |= linear(f"conv{kernel}", f"pos_layer.{theirs}", state)
    hidden, in_features = tensors["projection.weight"].shape
    config: dict[str, float | str] = {
        "hidden": hidden,
        "heads": len(tensors["attention1.residual.weight"]),
        "landmarks": hidden // 2,  # as its code sets them; the file does not say
        "pinv_iterations": 6,
        "dropout": 0.1,
    }
    return Converted("transmil", in_features, len(tensors["head.weight"]), config, tensors)


def _count(name: str, state: State) -> int:
    """Return how many numbered layers there are: the length of ``name.0``, ``name.1``, and so on."""
    return len({key.split(".")[1] for key in state if key.startswith(f"{name}.")})


LAYOUTS: tuple[Layout, ...] = (
    Layout("CLAM", lambda names: any(name.startswith("instance_classifiers.") for name in names), _clam),
    Layout("xMIL AttentionMIL", lambda names: {"linear_layers.0.0.weight", "attention.2.weight"} <= names, _xmil),
    Layout("DSMIL", lambda names: {"i_classifier.fc.0.weight", "b_classifier.fcc.weight"} <= names, _dsmil),
    Layout(
        "DTFD-MIL", lambda names: {"dim_reduction.fc1.weight", "att_classifier.classifier.fc.weight"} <= names, _dtfd
    ),
    Layout("TransMIL", lambda names: {"cls_token", "_fc1.0.weight", "pos_layer.proj.weight"} <= names, _transmil),
)
