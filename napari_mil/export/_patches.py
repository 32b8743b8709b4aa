"""The top patches as picture files with a table."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from PIL import Image

from ..errors import ExportError
from ..files import replacing
from ..maps import SCALES
from ..maps import shown as shown_on
from ..progress import Pacer, Steps
from ..slides import slide_name
from ._folders import TABLE_NAME, new_folder
from ._table import cell

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..maps import AttentionMap, MapView
    from ..slides import Slide

ImageFormat: TypeAlias = Literal["png", "jpeg"]
"""PNG keeps every pixel as it is; JPEG is several times as small."""

COLUMNS = (
    "rank",
    "file",
    "x",
    "y",
    "width",
    "x_um",
    "y_um",
    "score",
    "score_shown",
    "percentile",
    "contribution",
    "tissue_fraction",
    "tags",
    "picture_mpp",
    "context",
)
LARGEST_PATCH_PX = 8192
_SAVED: Mapping[str, dict[str, Any]] = {"png": {}, "jpeg": {"quality": 92, "subsampling": 0}}


@dataclass(frozen=True, slots=True)
class PatchExport:
    """What an export of patches left.

    Parameters
    ----------
    folder : Path
        Where the pictures are.
    table : Path
        The CSV with one row per picture.
    files : tuple of Path
        The pictures, highest score first.
    """

    folder: Path
    table: Path
    files: tuple[Path, ...]


def top_tiles(raw: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return which tiles score highest, highest first; ties in the grid's order, NaN never.

    Parameters
    ----------
    raw : (N,) float32
        One score per tile.
    k : int
        How many; all of them if there are fewer.

    Returns
    -------
    (min(k, known),) int64
        Indices.
    """
    known = np.flatnonzero(~np.isnan(raw))
    return np.asarray(known[np.argsort(-raw[known], kind="stable")[:k]], np.int64)


def export_patches(
    slide: Slide,
    amap: AttentionMap,
    out: str | os.PathLike[str],
    *,
    k: int = 50,
    score: str | None = None,
    scale: str | None = None,
    class_index: int | None = None,
    patches: Sequence[int] | NDArray[np.int64] | None = None,
    tags: Mapping[int, Sequence[str]] | None = None,
    tile_px: int | None = None,
    mpp: float | None = None,
    context: float = 1.0,
    image_format: ImageFormat = "png",
    table: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Steps[PatchExport]:
    """Write the k patches that score highest, or given ones, as pictures, with a table; yield Progress.

    Pixels are as stored, what the encoder saw; the slide's colour profile goes along in each file, so that programs
    that know profiles show them as the window does. The folder appears under its name when it is complete: closing the
    generator, or a full disk, leaves nothing.

    Parameters
    ----------
    slide : Slide
        The map's slide, open.
    amap : AttentionMap
        The map.
    out : path
        Folder to make. An empty one is used; one with files in it is refused, see ``overwrite``.
    k : int
        How many patches; all if there are fewer. Of no effect on given ones.
    score, scale : str or None
        As in `AttentionMap.view`.
    class_index : int or None
        As in `AttentionMap.view`.
    patches : sequence of int or None
        Positions in the grid of those to write, in whatever order; None takes the k highest. Those without a score
        come last.
    tags : mapping of int to sequence of str, optional
        What people said of patches, by position in the grid; the table has it in its column ``tags``.
    tile_px : int or None
        Edge of a picture in pixels; None takes the size that the encoder saw.
    mpp : float or None
        Microns per pixel of the pictures instead; None takes what the encoder saw.
    context : float
        Edge of the field shown, in patches: 1 shows the patch alone, 4 what lies around it, too. The patch stays in
        the middle, and pixels keep their size. Beyond the slide's edge is background.
    image_format : str
        "png" loses nothing, "jpeg" (quality 92) is several times as small.
    table : path or None
        Where the CSV goes; None puts ``patches.csv`` into the folder.
    overwrite : bool
        True replaces an earlier export. A folder that holds anything else is refused all the same.

    Yields
    ------
    Progress
        At most about ten a second.

    Returns
    -------
    PatchExport
        Folder, table and pictures.

    Raises
    ------
    ExportError
        If the folder holds other files or the disk refuses, no patches are given, or pictures would be too large.
    MapError
        As in `AttentionMap.view`.
    ValueError
        If a given patch is none of the grid's.
    SlideError
        If the slide cannot be read at a patch.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    view = amap.view(score, scale, class_index)
    tiles = top_tiles(view.raw, k) if patches is None else _given(patches, view.raw)
    size_px = picture_px(amap, tile_px=tile_px, mpp=mpp, context=context)
    stem = re.sub(r"[^\w.-]+", "_", slide_name(amap.slide.path))
    names = [_file_name(rank, stem, amap, view, int(tile), image_format) for rank, tile in enumerate(tiles, start=1)]
    target = Path(out).absolute()
    csv_path = target / TABLE_NAME if table is None else Path(table).absolute()
    rows = [
        (*row, f"{amap.grid.tile_um * context / size_px:.6g}", f"{context:g}")
        for row in _rows(amap, view, tiles, [_relative(target / name, csv_path) for name in names], tags or {})
    ]
    pacer = Pacer("Saving patches", len(tiles))
    with new_folder(target, overwrite=overwrite) as folder:
        for done, (name, tile) in enumerate(zip(names, tiles, strict=True), start=1):
            pixels = read_field(slide, amap, int(tile), size_px, context)
            Image.fromarray(pixels).save(folder / name, icc_profile=slide.icc_profile, **_SAVED[image_format])
            if step := pacer.step(done):
                yield step
        # while the folder is not there yet: a disk too full for the table leaves no pictures without one
        with replacing(folder / TABLE_NAME if table is None else csv_path, ExportError) as partial:
            _write_table(partial, rows)
    return PatchExport(target, csv_path, tuple(target / name for name in names))


def picture_px(
    amap: AttentionMap, *, tile_px: int | None = None, mpp: float | None = None, context: float = 1.0
) -> int:
    """Return the edge in pixels of the picture of a field about a patch; see `export_patches`."""
    if tile_px is not None and mpp is not None:
        raise ValueError("give tile_px or mpp, not both")
    if not 1 <= context <= 100 or (mpp is not None and not mpp > 0):
        raise ValueError(f"context must be 1 to 100 and mpp above 0, not {context} and {mpp}")
    alone = amap.grid.tile_px if tile_px is None else tile_px
    size = round(amap.grid.tile_um * context / mpp) if mpp is not None else round(alone * context)
    if size > LARGEST_PATCH_PX:
        raise ExportError(
            f"Each picture would be {size:,} pixels wide; at most {LARGEST_PATCH_PX:,} are written. "
            "Choose coarser pixels or less context."
        )
    return max(1, size)


def read_field(slide: Slide, amap: AttentionMap, tile: int, size_px: int, context: float = 1.0) -> NDArray[np.uint8]:
    """Return the (size_px, size_px, 3) pixels, in stored colours, of the field about a patch."""
    row, col = amap.grid.l0_rc[tile]
    edge = amap.grid.tile_l0
    before = edge * (context - 1) / 2
    return slide.read_patch(float(row) - before, float(col) - before, edge * context, size_px)


def _given(patches: Sequence[int] | NDArray[np.int64], raw: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return given patches once each, highest score first, those without a score last."""
    tiles = np.unique(np.asarray(patches, np.int64))
    if not len(tiles):
        raise ExportError("No patches are chosen. Tick those to save first.")
    if tiles[0] < 0 or tiles[-1] >= len(raw):
        raise ValueError(f"patches must be 0 to {len(raw) - 1}, not {tiles[0]} to {tiles[-1]}")
    return np.asarray(tiles[np.argsort(-raw[tiles], kind="stable")], np.int64)


def _file_name(rank: int, stem: str, amap: AttentionMap, view: MapView, tile: int, image_format: ImageFormat) -> str:
    row, col = amap.grid.l0_rc[tile]
    ending = "jpg" if image_format == "jpeg" else "png"
    return f"{rank:03d}_{stem}_x{col}_y{row}_a{view.raw[tile]:.3g}.{ending}"


def _relative(file: Path, table: Path) -> str:
    """Return a picture's path as seen from the table, with forward slashes."""
    return Path(os.path.relpath(file, table.parent)).as_posix()


def _rows(
    amap: AttentionMap,
    view: MapView,
    tiles: NDArray[np.int64],
    files: list[str],
    tags: Mapping[int, Sequence[str]],
) -> list[tuple[str | int | float, ...]]:
    """Return the table's rows; an unknown number is an empty cell."""
    percentile = 100 * shown_on(view.raw, view.kind, SCALES["rank"])
    contribution = _contribution(amap, view.class_index)
    mpp_y, mpp_x = amap.slide.mpp or (amap.l0_mpp, amap.l0_mpp)
    rows: list[tuple[str | int | float, ...]] = []
    for rank, (tile, file) in enumerate(zip(tiles, files, strict=True), start=1):
        y, x = (int(v) for v in amap.grid.l0_rc[tile])
        rows.append(
            (
                rank,
                file,
                x,
                y,
                round(amap.grid.tile_l0, 4),
                round(x * mpp_x, 2),
                round(y * mpp_y, 2),
                cell(view.raw[tile], ".9g"),
                cell(view.values[tile], ".9g"),
                cell(percentile[tile], ".4f"),
                "" if contribution is None else cell(contribution[tile], ".9g"),
                cell(amap.grid.tissue_fraction[tile], ".4f"),
                "; ".join(tags.get(int(tile), ())),
            )
        )
    return rows


def _contribution(amap: AttentionMap, class_index: int | None) -> NDArray[np.float32] | None:
    """Return the contribution of each tile to the class shown (else the predicted one), if the map has it."""
    for name, score in amap.scores.items():
        if score.kind == "contribution":
            return amap.view(name, class_index=class_index).raw
    return None


def _write_table(path: Path, rows: list[tuple[str | int | float, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
