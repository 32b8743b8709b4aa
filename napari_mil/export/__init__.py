"""Export: take the evidence away as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._bundle import EXPORT_KINDS as EXPORT_KINDS
    from ._bundle import ExportKind as ExportKind
    from ._bundle import ExportOptions as ExportOptions
    from ._bundle import FigureFormat as FigureFormat
    from ._bundle import iter_export_file as iter_export_file
    from ._bundle import iter_export_files as iter_export_files
    from ._comparison import ComparisonReport as ComparisonReport
    from ._comparison import iter_compare as iter_compare
    from ._comparison_figure import comparison_figure as comparison_figure
    from ._contact_sheet import write_contact_sheet as write_contact_sheet
    from ._display import Display as Display
    from ._figure import LARGEST_PX as LARGEST_PX
    from ._figure import overlay_figure as overlay_figure
    from ._folders import check_patch_folder as check_patch_folder
    from ._geojson import write_hot_spots_geojson as write_hot_spots_geojson
    from ._geojson import write_map_geojson as write_map_geojson
    from ._geojson import write_outline_geojson as write_outline_geojson
    from ._ome_tiff import write_map_ome_tiff as write_map_ome_tiff
    from ._overlay import as_scanned_px as as_scanned_px
    from ._overlay import write_overlay as write_overlay
    from ._patches import ImageFormat as ImageFormat
    from ._patches import PatchExport as PatchExport
    from ._patches import export_patches as export_patches
    from ._patches import top_tiles as top_tiles
    from ._publication import write_figure as write_figure
    from ._report import write_report as write_report
    from ._table import write_patch_table as write_patch_table

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_bundle": [
            "EXPORT_KINDS",
            "ExportKind",
            "ExportOptions",
            "FigureFormat",
            "iter_export_file",
            "iter_export_files",
        ],
        "_comparison": ["ComparisonReport", "iter_compare"],
        "_comparison_figure": ["comparison_figure"],
        "_contact_sheet": ["write_contact_sheet"],
        "_display": ["Display"],
        "_figure": ["LARGEST_PX", "overlay_figure"],
        "_folders": ["check_patch_folder"],
        "_geojson": ["write_hot_spots_geojson", "write_map_geojson", "write_outline_geojson"],
        "_ome_tiff": ["write_map_ome_tiff"],
        "_overlay": ["as_scanned_px", "write_overlay"],
        "_patches": ["ImageFormat", "PatchExport", "export_patches", "top_tiles"],
        "_publication": ["write_figure"],
        "_report": ["write_report"],
        "_table": ["write_patch_table"],
    },
)
