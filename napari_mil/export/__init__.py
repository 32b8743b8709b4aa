"""Export: take the evidence away as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._figure import overlay_figure as overlay_figure
    from ._geojson import write_map_geojson as write_map_geojson
    from ._patches import PatchExport as PatchExport
    from ._patches import check_patch_folder as check_patch_folder
    from ._patches import export_patches as export_patches
    from ._patches import top_tiles as top_tiles

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_figure": ["overlay_figure"],
        "_geojson": ["write_map_geojson"],
        "_patches": ["PatchExport", "check_patch_folder", "export_patches", "top_tiles"],
    },
)
