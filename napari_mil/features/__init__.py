"""Features: encoders, the extraction engine, and the feature file."""

from __future__ import annotations

from ._features import EncoderInfo, Features

__all__ = ["EncoderInfo", "Features"]
