"""Export: take the evidence away as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._comparison import ComparisonReport as ComparisonReport
    from ._comparison import iter_compare as iter_compare
    from ._comparison_figure import comparison_figure as comparison_figure
    from ._display import Display as Display
    from ._figure import overlay_figure as overlay_figure
    from ._folders import check_patch_folder as check_patch_folder
    from ._geojson import write_hot_spots_geojson as write_hot_spots_geojson
    from ._geojson import write_map_geojson as write_map_geojson
    from ._geojson import write_outline_geojson as write_outline_geojson
    from ._patches import ImageFormat as ImageFormat
    from ._patches import PatchExport as PatchExport
    from ._patches import export_patches as export_patches
    from ._patches import top_tiles as top_tiles

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_comparison": ["ComparisonReport", "iter_compare"],
        "_comparison_figure": ["comparison_figure"],
        "_display": ["Display"],
        "_figure": ["overlay_figure"],
        "_folders": ["check_patch_folder"],
        "_geojson": ["write_hot_spots_geojson", "write_map_geojson", "write_outline_geojson"],
        "_patches": ["ImageFormat", "PatchExport", "export_patches", "top_tiles"],
    },
)
