"""The top patches as picture files with a table."""

from __future__ import annotations

import csv
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import ExportError
from ..files import cannot_write, replacing
from ..maps import SCALES
from ..maps import shown as shown_on
from ..progress import Pacer, Steps
from ..slides import slide_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..maps import AttentionMap, MapView
    from ..slides import Slide

TABLE_NAME = "patches.csv"
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
)
_DESKTOP_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_PATCH_NAME = re.compile(r"\d{3,}_.*_x\d+_y\d+_a.+\.png")


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
    table: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Steps[PatchExport]:
    """Write the k patches that score highest, or given ones, as PNG files, with a table; yield Progress.

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
        If the folder holds other files or the disk refuses, or no patches are given.
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
    size_px = amap.grid.tile_px if tile_px is None else tile_px
    stem = re.sub(r"[^\w.-]+", "_", slide_name(amap.slide.path))
    names = [_file_name(rank, stem, amap, view, int(tile)) for rank, tile in enumerate(tiles, start=1)]
    target = Path(out).absolute()
    csv_path = target / TABLE_NAME if table is None else Path(table).absolute()
    rows = _rows(amap, view, tiles, [_relative(target / name, csv_path) for name in names], tags or {})
    pacer = Pacer("Saving patches", len(tiles))
    with _new_folder(target, overwrite=overwrite) as folder:
        for done, (name, tile) in enumerate(zip(names, tiles, strict=True), start=1):
            row, col = amap.grid.l0_rc[tile]
            pixels = slide.read_patch(int(row), int(col), amap.grid.tile_l0, size_px)
            Image.fromarray(pixels).save(folder / name, icc_profile=slide.icc_profile)
            if step := pacer.step(done):
                yield step
        if table is None:
            _write_table(folder / TABLE_NAME, rows)
    if table is not None:
        with replacing(csv_path, ExportError) as partial:
            _write_table(partial, rows)
    return PatchExport(target, csv_path, tuple(target / name for name in names))


def _given(patches: Sequence[int] | NDArray[np.int64], raw: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return given patches once each, highest score first, those without a score last."""
    tiles = np.unique(np.asarray(patches, np.int64))
    if not len(tiles):
        raise ExportError("No patches are chosen. Tick those to save first.")
    if tiles[0] < 0 or tiles[-1] >= len(raw):
        raise ValueError(f"patches must be 0 to {len(raw) - 1}, not {tiles[0]} to {tiles[-1]}")
    return np.asarray(tiles[np.argsort(-raw[tiles], kind="stable")], np.int64)


def _cell(value: float, form: str) -> str:
    """Write a number; an unknown one as an empty cell."""
    return "" if np.isnan(value) else format(float(value), form)


def _file_name(rank: int, stem: str, amap: AttentionMap, view: MapView, tile: int) -> str:
    row, col = amap.grid.l0_rc[tile]
    return f"{rank:03d}_{stem}_x{col}_y{row}_a{view.raw[tile]:.3g}.png"


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
                _cell(view.raw[tile], ".9g"),
                _cell(view.values[tile], ".9g"),
                _cell(percentile[tile], ".4f"),
                "" if contribution is None else _cell(contribution[tile], ".9g"),
                _cell(amap.grid.tissue_fraction[tile], ".4f"),
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


@contextmanager
def _new_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a hidden folder beside the target; put it in the target's place when the block succeeds, else remove it."""
    check_patch_folder(target, overwrite=overwrite)
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        folder = partial / "new"
        folder.mkdir()
        yield folder
        _swap(folder, target, partial / "old")
    except OSError as err:
        raise ExportError(cannot_write(target, err)) from err
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _swap(new: Path, target: Path, old: Path) -> None:
    """Put a folder in the target's place and the target, if there is one, aside; undo the latter if that fails."""
    if not target.exists():
        new.rename(target)
        return
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise


def check_patch_folder(target: Path, *, overwrite: bool) -> None:
    """Raise ExportError where exporting patches would destroy or mix with files that are there.

    Parameters
    ----------
    target : Path
        The folder wanted; it need not exist.
    overwrite : bool
        Whether an earlier export may be replaced.

    Raises
    ------
    ExportError
        If it holds an earlier export without ``overwrite``, or anything else.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise ExportError(f"{target} is a file. Choose a folder for the patches.")
    names = [entry.name for entry in target.iterdir() if entry.name not in _DESKTOP_FILES]
    foreign = [name for name in names if name != TABLE_NAME and not _PATCH_NAME.fullmatch(name)]
    if foreign:
        raise ExportError(f'The folder {target} holds other files ("{foreign[0]}"). Choose an empty or a new folder.')
    if names and not overwrite:
        raise ExportError(
            f"The folder {target} holds an earlier export. "
            "Choose another folder, or allow overwriting (--overwrite on the command line)."
        )
