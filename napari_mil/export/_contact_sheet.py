"""The patches with the highest scores side by side on one sheet."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..counting import counted
from ..errors import ExportError
from ..files import replacing
from ..maps import DISCLAIMER, colours
from ..progress import Pacer, Steps
from ._display import Display
from ._folders import check_ending
from ._patches import picture_px, read_field, top_tiles
from ._picture import patch_value, patch_value_words
from ._scale_bar import format_length, round_length_um

if TYPE_CHECKING:
    from ..maps import AttentionMap
    from ..slides import Slide

_GAP, _MARGIN, _STRIP = 10, 28, 6
_TEXT, _SMALL, _LARGE = 18, 16, 24
_INK, _GREY = (28, 28, 28), (92, 92, 92)
_MOST_PIXELS = 100_000_000


def write_contact_sheet(
    path: str | os.PathLike[str],
    slide: Slide,
    amap: AttentionMap,
    *,
    display: Display | None = None,
    k: int = 50,
    thumbnail_px: int = 192,
    context: float = 1.0,
) -> Steps[Path]:
    """Draw the k patches that score highest on one sheet, in true colours, each with rank and score; yield Progress.

    Parameters
    ----------
    path : path
        Where; the ending chooses PNG or JPEG.
    slide : Slide
        The map's slide, open.
    amap : AttentionMap
        The map.
    display : Display or None
        Which score, class, scale and colours; None as at first in the window.
    k : int
        How many; all if there are fewer.
    thumbnail_px : int
        Edge of each patch on the sheet in pixels.
    context : float
        As in `export_patches`.

    Yields
    ------
    Progress
        At most about ten a second.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ExportError
        If the map has no scores, the sheet would be too large, the ending is another, or the disk refuses.
    MapError
        As in `AttentionMap.view`.
    SlideError
        If the slide cannot be read.
    """
    if k < 1 or thumbnail_px < 32:
        raise ValueError(f"k must be at least 1 and thumbnail_px at least 32, not {k} and {thumbnail_px}")
    check_ending(Path(path), (".png", ".jpg", ".jpeg"), "A contact sheet")
    shown = display or Display()
    view = shown.view(amap)
    tiles = top_tiles(view.raw, k)
    if not len(tiles):
        raise ExportError("No patch of this map has a score, so there is nothing to put on a sheet.")
    picture_px(amap, tile_px=thumbnail_px, context=context)
    columns = int(np.clip(np.ceil(np.sqrt(1.3 * len(tiles))), 5, 25))
    step_x, step_y = thumbnail_px + _GAP, thumbnail_px + _STRIP + _SMALL + 2 * _GAP
    head = [
        (_fitted_title(amap), _LARGE, _INK),
        (f"{Path(amap.slide.path).name}. Prediction: {amap.prediction.sentence}", _TEXT, _GREY),
        (
            f"The {len(tiles):,} highest of {counted(len(amap), 'patch')}: place from the top, "
            f"{patch_value_words(view)}",
            _TEXT,
            _GREY,
        ),
    ]
    top = _MARGIN + sum(round(size * 1.5) for _, size, _ in head) + _GAP
    size = (
        max(2 * _MARGIN + columns * step_x - _GAP, 2 * _MARGIN + max(_width(text, font) for text, font, _ in head)),
        top + -(-len(tiles) // columns) * step_y + 2 * _TEXT + _MARGIN,
    )
    if size[0] * size[1] > _MOST_PIXELS:
        raise ExportError(
            f"The sheet would be {size[0]:,} x {size[1]:,} pixels. Choose fewer patches or smaller pictures."
        )
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    y = _MARGIN
    for text, font, ink in head:
        pen.text((_MARGIN, y), text, ink, _font(font))
        y += round(font * 1.5)
    rgb = colours(view, shown.colours)
    pacer = Pacer("Drawing patches", len(tiles))
    for number, tile in enumerate(tiles):
        left, upper = _MARGIN + number % columns * step_x, top + number // columns * step_y
        pixels = slide.to_srgb(read_field(slide, amap, int(tile), thumbnail_px, context))
        sheet.paste(Image.fromarray(pixels), (left, upper))
        _frame_patch(pen, left, upper, thumbnail_px, context)
        colour = tuple(rgb[tile].tolist())
        strip = upper + thumbnail_px
        pen.rectangle((left, strip, left + thumbnail_px - 1, strip + _STRIP - 1), colour)
        words = f"{number + 1}.  {patch_value(view, int(tile))}"
        pen.text((left, strip + _STRIP + 3), words, _INK, _font(_SMALL))
        if found := pacer.step(number + 1):
            yield found
    _foot(pen, size, amap.grid.tile_um * context / thumbnail_px, thumbnail_px)
    with replacing(Path(path), ExportError) as partial:
        sheet.save(partial, quality=92)  # of no meaning to PNG
    return Path(path)


def _fitted_title(amap: AttentionMap) -> str:
    title = amap.model.title or amap.model.pooling
    return title if len(title) <= 80 else f"{title[:79]}…"


def _frame_patch(pen: ImageDraw.ImageDraw, left: int, upper: int, edge: int, context: float) -> None:
    """Frame the patch where more than it is shown."""
    if context > 1:
        inner, margin = edge / context, (edge - edge / context) / 2
        box = (left + margin, upper + margin, left + margin + inner, upper + margin + inner)
        pen.rectangle(box, outline="white", width=3)
        pen.rectangle(box, outline=_INK, width=1)


def _foot(pen: ImageDraw.ImageDraw, size: tuple[int, int], mpp: float, thumbnail_px: int) -> None:
    """Draw a scale bar for all patches, and what the sheet is not."""
    y = size[1] - _MARGIN - _TEXT
    um = round_length_um(0.75 * thumbnail_px * mpp)
    bar = um / mpp
    pen.rectangle((_MARGIN, y + _TEXT // 2 - 2, _MARGIN + bar, y + _TEXT // 2 + 2), _INK)
    pen.text((_MARGIN + bar + _GAP, y), format_length(um), _INK, _font(_TEXT))
    pen.text((size[0] - _MARGIN - _width(DISCLAIMER, _TEXT), y), DISCLAIMER, _GREY, _font(_TEXT))


def _width(text: str, size: int) -> int:
    return int(np.ceil(_font(size).getlength(text)))


@cache
def _font(size: int) -> Any:
    """Return matplotlib's own typeface, which knows the letters of slide names and is there on every computer."""
    import matplotlib as mpl

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
