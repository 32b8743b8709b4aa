"""What a MIL model says of itself; free of torch so that panels and files can read it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

ScoreKind: TypeAlias = Literal[
    "attention",
    "relevance",
    "instance_logit",
    "probability",
    "contribution",
    "leave_one_out",
    "gradient_x_input",
    "integrated_gradients",
    "spread",
]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model's card: what it is, what it predicts, what it was trained on.

    Parameters
    ----------
    pooling : str
        Registered name ("gated-attention").
    in_features : int
        Feature length D that it takes.
    config : mapping
        The pooling's own sizes, JSON-able; with the fields above enough to build the model again.
    class_names : tuple of str
        One per class; a single name means one sigmoid output (the positive class).
    title : str
        What a person reads in a list ("Demo: tumour nests (gated attention)").
    task : str
        One plain sentence: what it predicts.
    encoder : str
        Name of the encoder whose features it takes; empty where unknown.
    encoder_hash, encoder_version : str
        Weights hash and version of that encoder; empty where it has none or it is unknown.
    tile_px : int
        Patch edge in pixels; 0 where unknown.
    mpp : float
        Microns per patch pixel; 0 where unknown.
    training : mapping
        Summary of the training run: data, folds, metrics, seed, versions; JSON-able.
    """

    pooling: str
    in_features: int
    config: Mapping[str, Any]
    class_names: tuple[str, ...]
    title: str = ""
    task: str = ""
    encoder: str = ""
    encoder_hash: str = ""
    encoder_version: str = ""
    tile_px: int = 0
    mpp: float = 0.0
    training: Mapping[str, Any] = field(default_factory=dict)
