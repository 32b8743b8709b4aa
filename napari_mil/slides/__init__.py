"""Slides: open one, read a region, show it lazily."""

from __future__ import annotations

from ._ref import SlideRef

__all__ = ["SlideRef"]
