"""Tiling: find the tissue and lay the grid of tiles, both in microns."""

from __future__ import annotations

from ._grid import TileGrid, TissueMask

__all__ = ["TileGrid", "TissueMask"]
