"""Tiling: find the tissue and lay the grid of tiles, both in microns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._covered import covered_mask as covered_mask
    from ._grid import TileGrid as TileGrid
    from ._grid import TissueMask as TissueMask
    from ._learned import SEGMENTERS as SEGMENTERS
    from ._learned import why_no_segmenter as why_no_segmenter
    from ._outlines import outlines as outlines
    from ._polygons import mask_polygons as mask_polygons
    from ._polygons import mask_within as mask_within
    from ._polygons import polygon_mask as polygon_mask
    from ._spread import spread_out as spread_out
    from ._tile import tile as tile
    from ._tile import tile_grid as tile_grid
    from ._tissue import TISSUE_METHODS as TISSUE_METHODS
    from ._tissue import empty_mask as empty_mask
    from ._tissue import find_tissue as find_tissue
    from ._tissue import saturation_threshold as saturation_threshold
    from ._tissue import tissue_mask as tissue_mask

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_covered": ["covered_mask"],
        "_grid": ["TileGrid", "TissueMask"],
        "_learned": ["SEGMENTERS", "why_no_segmenter"],
        "_outlines": ["outlines"],
        "_polygons": ["mask_polygons", "mask_within", "polygon_mask"],
        "_spread": ["spread_out"],
        "_tile": ["tile", "tile_grid"],
        "_tissue": ["TISSUE_METHODS", "empty_mask", "find_tissue", "saturation_threshold", "tissue_mask"],
    },
)
