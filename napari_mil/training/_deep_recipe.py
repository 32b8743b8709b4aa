"""How an encoder and a pooling are fitted together: one value that holds every choice."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuning:
    """How an encoder and a pooling are fitted together, by AdamW.

    Parameters
    ----------
    epochs : int
        Most passes over the training slides. Both learning rates rise in a straight line over the first pass, then
        fall along a half cosine over the rest.
    encoder_lr, lr : float
        Highest learning rate of the encoder and of the pooling.
    weight_decay : float
        Of both.
    patience : int
        Stop after this many epochs without a lower validation loss.
    bags_per_step : int
        Slides whose gradients are averaged in one step.
    patches : int
        Patches of a slide that one step sees, drawn anew each time and spread over the slide's tissue.
    chunk : int
        Patches encoded at once; sets the memory, changes no gradient but in its last digits.
    seed : int
        Seed of everything drawn.
    """

    epochs: int = 20
    encoder_lr: float = 3e-5
    lr: float = 3e-4
    weight_decay: float = 1e-4
    patience: int = 5
    bags_per_step: int = 4
    patches: int = 64
    chunk: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "bags_per_step", "patches", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("encoder_lr", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must not be negative, not {self.weight_decay}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")
