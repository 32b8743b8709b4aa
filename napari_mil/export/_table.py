"""All patches of a map as one table."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ExportError
from ..files import replacing, text_writer
from ..maps import SCALES
from ..maps import shown as shown_on
from ._display import Display
from ._ome_tiff import score_channels
from ._picture import l0_mpp_yx

if TYPE_CHECKING:
    from ..maps import AttentionMap

_PLACES = ("patch", "x", "y", "width", "x_um", "y_um", "tissue_fraction")
_AS_SHOWN = ("score_shown", "rank", "percentile", "shown")


def write_patch_table(
    path: str | os.PathLike[str],
    amap: AttentionMap,
    *,
    display: Display | None = None,
    tags: Mapping[int, Sequence[str]] | None = None,
) -> Path:
    """Write one row per patch, in the grid's order: place, every raw score, and how the chosen one is shown.

    Columns: ``patch`` (position in the grid); ``x``, ``y``, ``width`` (level-0 pixels, top-left corner); ``x_um``,
    ``y_um``; ``tissue_fraction``; each raw score under its name, with ``: class`` where it has one per class; then of
    the score, class and scale chosen ``score_shown``, ``rank`` (1 is the highest; equal ones share the best of their
    places), ``percentile``, ``shown`` (1 where the threshold leaves it); ``tags``. An unknown number is an empty cell.

    Parameters
    ----------
    path : path
        Where; a name ending in ``.gz`` is compressed.
    amap : AttentionMap
        The map.
    display : Display or None
        What is shown; None as at first in the window.
    tags : mapping of int to sequence of str, optional
        What people said of patches, by position in the grid.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ExportError
        If the disk refuses.
    MapError
        As in `AttentionMap.view`.
    """
    target = Path(path)
    header = (*_PLACES, *(name for name, _ in score_channels(amap)), *_AS_SHOWN, "tags")
    rows = _rows(amap, display or Display(), tags or {})
    with replacing(target, ExportError) as partial, text_writer(partial) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return target


def _rows(amap: AttentionMap, display: Display, tags: Mapping[int, Sequence[str]]) -> Iterator[tuple[object, ...]]:
    """Yield the rows one at a time, so that memory stays flat."""
    view = display.view(amap)
    raws = [raw for _, raw in score_channels(amap)]
    known = np.sort(view.raw[~np.isnan(view.raw)])
    places = len(known) - np.searchsorted(known, view.raw, side="right") + 1
    percentile = 100 * shown_on(view.raw, view.kind, SCALES["rank"])
    seen = display.shows(view.values)
    mpp_y, mpp_x = l0_mpp_yx(amap)
    width = round(amap.grid.tile_l0, 4)
    for patch, (y, x) in enumerate(amap.grid.l0_rc.tolist()):
        unknown = np.isnan(view.raw[patch])
        yield (
            patch,
            x,
            y,
            width,
            round(x * mpp_x, 2),
            round(y * mpp_y, 2),
            cell(amap.grid.tissue_fraction[patch], ".4f"),
            *(cell(raw[patch], ".9g") for raw in raws),
            cell(view.values[patch], ".9g"),
            "" if unknown else int(places[patch]),
            cell(percentile[patch], ".4f"),
            int(seen[patch]),
            "; ".join(tags.get(patch, ())),
        )


def cell(value: float, form: str) -> str:
    """Write a number; an unknown one as an empty cell."""
    return "" if np.isnan(value) else format(float(value), form)
