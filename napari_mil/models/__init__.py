"""MIL models: one pooling a file, the registry, checkpoints."""

from __future__ import annotations

from ._card import ModelCard, ScoreKind

__all__ = ["ModelCard", "ScoreKind"]
