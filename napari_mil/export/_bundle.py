"""Several views of one map into a folder, all of them or none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from ..errors import ExportError
from ..progress import Progress, Steps
from ._contact_sheet import write_contact_sheet
from ._display import Display
from ._folders import aside, check_patch_folder
from ._geojson import write_hot_spots_geojson, write_map_geojson, write_outline_geojson
from ._ome_tiff import write_map_ome_tiff
from ._overlay import write_overlay
from ._patches import ImageFormat, export_patches
from ._publication import write_figure
from ._report import write_report
from ._table import write_patch_table

if TYPE_CHECKING:
    from ..maps import AttentionMap
    from ..slides import Slide

ExportKind: TypeAlias = Literal[
    "patches",
    "contact-sheet",
    "overlay",
    "tiles",
    "hot-spots",
    "outline",
    "ome-tiff",
    "table",
    "figure",
    "report",
]
EXPORT_KINDS: tuple[ExportKind, ...] = get_args(ExportKind)
"""What can be taken away of a map."""
FigureFormat: TypeAlias = Literal["pdf", "svg", "png"]

_FILES: Mapping[ExportKind, str] = {
    "patches": "patches",
    "contact-sheet": "contact-sheet.png",
    "overlay": "heatmap.png",
    "tiles": "attention.geojson",
    "hot-spots": "hot-spots.geojson",
    "outline": "outline.geojson",
    "ome-tiff": "attention.ome.tif",
    "table": "all-patches.csv",
    "figure": "figure",
    "report": "report.html",
}
_PATCH_TABLE = "patches.csv"
_SHOWN = 12
"""Patches in figure and report."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What an export is to look like; each kind of file takes of it what concerns it.

    Parameters
    ----------
    display : Display
        How the map is shown.
    top_k : int
        How many patches as pictures and on the contact sheet; figure and report show the first 12 of them.
    image_format : str
        "png" or "jpeg", for patches.
    mpp : float or None
        Microns per pixel of the patches; None takes what the encoder saw.
    context : float
        Edge of the field about each patch, in patches, for patches and contact sheet.
    max_px : int
        Long edge of the overlay picture; of other formats than PNG at most 8000.
    figure_format : str
        "pdf", "svg" or "png".
    compress : bool
        Write GeoJSON as ``.geojson.gz``.
    tags : mapping of int to sequence of str
        What people said of patches, by position in the grid.
    """

    display: Display = field(default_factory=Display)
    top_k: int = 50
    image_format: ImageFormat = "png"
    mpp: float | None = None
    context: float = 1.0
    max_px: int = 2400
    figure_format: FigureFormat = "pdf"
    compress: bool = False
    tags: Mapping[int, Sequence[str]] = field(default_factory=dict)

    def file_name(self, kind: ExportKind) -> str:
        """Return what a file of a kind is called in an export's folder."""
        name = _FILES[kind]
        if kind == "figure":
            return f"{name}.{self.figure_format}"
        return f"{name}.gz" if self.compress and name.endswith(".geojson") else name


def iter_export_file(
    kind: ExportKind, path: str | os.PathLike[str], slide: Slide, amap: AttentionMap, options: ExportOptions
) -> Steps[Path]:
    """Write one view of a map, yielding Progress; an older file of that name is replaced.

    Parameters
    ----------
    kind : str
        Which; "patches" makes a folder with a table in it.
    path : path
        Where.
    slide : Slide
        The map's slide, open.
    amap : AttentionMap
        The map.
    options : ExportOptions
        What it is to look like.

    Yields
    ------
    Progress
        At most about ten a second.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    NapariMilError
        In words a user can act on: the disk, the slide, a score or scale that the map does not have.
    """
    target = Path(path)
    yield Progress("Writing files", message=target.name)
    if kind == "patches":
        done = yield from _write_patches(target, None, slide, amap, options)
        return done
    return (yield from _write_file(kind, target, slide, amap, options))


def iter_export_files(
    folder: str | os.PathLike[str],
    slide: Slide,
    amap: AttentionMap,
    what: Sequence[ExportKind],
    options: ExportOptions,
    *,
    overwrite: bool = False,
) -> Steps[dict[str, Path]]:
    """Write several views of a map into a folder, all of them or none, yielding Progress.

    Everything is written aside and put in its place at the end: after a cancel, a full disk or any other fault the
    folder is as it was before.

    Parameters
    ----------
    folder : path
        Made where it is not there; other files in it are left alone.
    slide : Slide
        The map's slide, open.
    amap : AttentionMap
        The map.
    what : sequence of str
        Which views, see `EXPORT_KINDS`.
    options : ExportOptions
        What they are to look like.
    overwrite : bool
        Replace what is there of an earlier export.

    Yields
    ------
    Progress
        At most about ten a second.

    Returns
    -------
    dict of str to Path
        What was written, by name.

    Raises
    ------
    NapariMilError
        As `iter_export_file`, or if files are there that must not be replaced.
    """
    kinds = tuple(dict.fromkeys(what))
    if not kinds or not set(kinds) <= set(EXPORT_KINDS):
        raise ValueError(f"what must be some of {', '.join(EXPORT_KINDS)}, not {', '.join(what) or 'nothing'}")
    _check_before(amap, kinds, options)
    target = Path(folder).absolute()
    names = [options.file_name(kind) for kind in kinds]
    names += [_PATCH_TABLE] * ("patches" in kinds)
    _check_free(target, names, overwrite=overwrite)
    with aside(target, names) as partial:
        for kind in kinds:
            name = options.file_name(kind)
            yield Progress("Writing files", message=name)
            if kind == "patches":
                yield from _write_patches(partial / name, partial / _PATCH_TABLE, slide, amap, options)
            else:
                yield from _write_file(kind, partial / name, slide, amap, options)
    return {name: target / name for name in names}


def _check_before(amap: AttentionMap, kinds: Sequence[ExportKind], options: ExportOptions) -> None:
    """Refuse what cannot work before minutes are spent on the rest."""
    options.display.view(amap)
    if "hot-spots" in kinds and options.display.threshold is None:
        raise ExportError(
            "Hot spots are regions above a threshold, and none is chosen. Choose one (--threshold on the command line)."
        )


def _check_free(folder: Path, names: Sequence[str], *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{folder} is a file. Choose a folder.")
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise ExportError(
            f"The folder {folder} holds {there[0]} already. "
            "Choose another folder, or allow overwriting (--overwrite on the command line)."
        )
    if "patches" in names:
        check_patch_folder(folder / "patches", overwrite=overwrite)


def _write_patches(
    target: Path, table: Path | None, slide: Slide, amap: AttentionMap, options: ExportOptions
) -> Steps[Path]:
    display = options.display
    done = yield from export_patches(
        slide,
        amap,
        target,
        k=options.top_k,
        score=display.score,
        scale=display.scale,
        class_index=display.class_index,
        tags=options.tags,
        mpp=options.mpp,
        context=options.context,
        image_format=options.image_format,
        table=table,
    )
    return done.folder


def _write_file(kind: ExportKind, path: Path, slide: Slide, amap: AttentionMap, options: ExportOptions) -> Steps[Path]:
    display, origin = options.display, slide.bounds_origin_xy
    if kind == "contact-sheet":
        return (
            yield from write_contact_sheet(path, slide, amap, display=display, k=options.top_k, context=options.context)
        )
    if kind == "figure":
        k = min(options.top_k, _SHOWN)
        return (yield from write_figure(path, slide, amap, display=display, k=k))
    if kind == "report":
        k = min(options.top_k, _SHOWN)
        return (yield from write_report(path, slide, amap, display=display, k=k, tags=options.tags))
    if kind == "overlay":
        return (yield from write_overlay(path, slide, amap, display=display, max_px=options.max_px))
    if kind == "tiles":
        return write_map_geojson(path, amap, display=display, offset_xy=origin)
    if kind == "hot-spots":
        return write_hot_spots_geojson(path, amap, display=display, offset_xy=origin)
    if kind == "outline":
        return write_outline_geojson(path, amap, display=display, offset_xy=origin)
    if kind == "table":
        return write_patch_table(path, amap, display=display, tags=options.tags)
    return write_map_ome_tiff(path, amap)
