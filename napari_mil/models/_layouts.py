"""How other projects name the tensors of their models, and which of ours those are.

Add a `Layout` to `LAYOUTS` to read another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ._registry import TORCHMIL

State = Mapping[str, Tensor]


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
        From the project's tensors to our model; a KeyError names one that is missing. Every tensor must be asked for.
    tidy : function
        Takes off, before, what is no part of the model.
    """

    title: str
    known_by: Callable[[frozenset[str]], bool]
    convert: Callable[[State], Converted]
    tidy: Callable[[State], State] = lambda state: state


def linear(ours: str, theirs: str, state: State) -> dict[str, Tensor]:
    """Return weight and bias of a linear layer under our name; a KeyError names the one that is missing."""
    return {f"{ours}.{part}": state[f"{theirs}.{part}"] for part in ("weight", "bias")}


def stacked(ours: str, theirs: list[str], state: State) -> dict[str, Tensor]:
    """Return linear layers one above the other as a single one under our name."""
    return {f"{ours}.{part}": torch.cat([state[f"{name}.{part}"] for name in theirs]) for part in ("weight", "bias")}


def _tidy_clam(state: State) -> State:
    """Take off the wrapper for several GPUs (``attention_net.module.*``) and the instance loss, which is no weight.

    CLAM's plain attention is itself called ``module``, so only that one prefix goes.
    """
    return {
        name.replace("attention_net.module.", "attention_net.", 1): tensor
        for name, tensor in state.items()
        if not name.startswith("instance_loss_fn.")
    }


def _clam(state: State) -> Converted:
    """Convert CLAM (mahmoodlab/CLAM): with one attention branch or one per class, gated or plain.

    The attention sits at 2, or at 3 behind a dropout.
    """
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


def _torchmil_abmil(state: State) -> Converted:
    """Convert torchmil's ABMIL: the very same model, behind our interface.

    Its files do not say the activation of the attention, so that is the default, tanh.
    """
    inner = linear("inner.pool.fc1.module", "pool.fc1.module", state)
    inner |= linear("inner.classifier.module", "classifier.module", state)
    inner["inner.pool.fc2.weight"] = state["pool.fc2.weight"]
    gated = "pool.fc_gated.module.weight" in state
    if gated:
        inner |= linear("inner.pool.fc_gated.module", "pool.fc_gated.module", state)
    att_dim, in_features = inner["inner.pool.fc1.module.weight"].shape
    return _of_torchmil("ABMIL", in_features, {"att_dim": att_dim, "att_act": "tanh", "gated": gated}, inner)


def _torchmil_dsmil(state: State) -> Converted:
    """Convert torchmil's DSMIL: the very same model, behind our interface; its dropout acts in training alone."""
    two_layers, passing = "q_nn.2.weight" in state, "v_nn.1.weight" in state
    names = ["inst_classifier", "bag_classifier"]
    names += ["q_nn.0", "q_nn.2"] if two_layers else ["q_nn"]
    names += ["v_nn.1"] if passing else []
    inner: dict[str, Tensor] = {}
    for name in names:
        inner |= linear(f"inner.{name}", name, state)
    config = {
        "att_dim": len(inner["inner.q_nn.0.weight" if two_layers else "inner.q_nn.weight"]),
        "nonlinear_q": two_layers,
        "nonlinear_v": passing,
        "dropout": 0.0,
    }
    return _of_torchmil("DSMIL", inner["inner.bag_classifier.weight"].shape[1], config, inner)


def _of_torchmil(name: str, in_features: int, config: Mapping[str, float | str], inner: State) -> Converted:
    """Return a model of torchmil that takes features as they are and gives one logit."""
    standard = {"mean": torch.zeros(in_features), "std": torch.ones(in_features)}
    return Converted(f"{TORCHMIL}{name}", in_features, 1, config, {**standard, **inner})


def _count(name: str, state: State) -> int:
    """Return how many numbered layers there are: the length of ``name.0``, ``name.1``, and so on."""
    return len({key.split(".")[1] for key in state if key.startswith(f"{name}.")})


LAYOUTS: tuple[Layout, ...] = (
    Layout("CLAM", lambda names: any(name.startswith("instance_classifiers.") for name in names), _clam, _tidy_clam),
    Layout("xMIL AttentionMIL", lambda names: {"linear_layers.0.0.weight", "attention.2.weight"} <= names, _xmil),
    Layout("DSMIL", lambda names: {"i_classifier.fc.0.weight", "b_classifier.fcc.weight"} <= names, _dsmil),
    Layout(
        "DTFD-MIL", lambda names: {"dim_reduction.fc1.weight", "att_classifier.classifier.fc.weight"} <= names, _dtfd
    ),
    Layout("torchmil ABMIL", lambda names: {"pool.fc1.module.weight", "pool.fc2.weight"} <= names, _torchmil_abmil),
    Layout(
        "torchmil DSMIL", lambda names: {"inst_classifier.weight", "bag_classifier.weight"} <= names, _torchmil_dsmil
    ),
    Layout("TransMIL", lambda names: {"cls_token", "_fc1.0.weight", "pos_layer.proj.weight"} <= names, _transmil),
)
