"""A figure laid out for a paper: slide, map, highest patches, legend."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..counting import counted
from ..maps import DISCLAIMER, colours, limits_words
from ..progress import Pacer, Progress, Steps
from ._display import Display
from ._folders import check_ending
from ._patches import read_field, top_tiles
from ._picture import (
    GREY,
    INK,
    Window,
    add_axes,
    draw_bar,
    draw_overlay,
    draw_slide,
    l0_mpp_yx,
    patch_value,
    patch_value_words,
    read_window,
    save_figure,
    tissue_window,
    whole_slide,
)
from ._scale_bar import SCALE_BAR_HEIGHT, draw_scale_bar

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from ..maps import AttentionMap, MapView
    from ..slides import Slide

# Inches. The width is that of two columns of most journals, 183 mm.
_WIDTH, _MARGIN, _GAP = 7.2, 0.12, 0.18
_TALLEST, _CAPTION, _LEGEND, _WORDS = 3.6, 0.22, 0.5, 0.2
_PER_ROW = 6
_MOST_PATCHES = 24
_FORMATS = (".png", ".svg", ".pdf")
_DPI = 300
_DATES = {".svg": "Date", ".pdf": "CreationDate"}


def write_figure(
    path: str | os.PathLike[str],
    slide: Slide,
    amap: AttentionMap,
    *,
    display: Display | None = None,
    k: int = 12,
) -> Steps[Path]:
    """Draw a figure for a paper, 183 mm wide at 300 dots per inch, yielding Progress.

    (a) the whole slide with a frame around the part shown in (b); (b) that part under the map, with colour bar; (c) the
    k patches that score highest, with rank and value as shown. All with scale bars and in true colours. Words stay
    text in SVG and PDF, so that they can be edited and searched.

    Parameters
    ----------
    path : path
        Where; the ending chooses PNG, SVG or PDF.
    slide : Slide
        The map's slide, open.
    amap : AttentionMap
        The map.
    display : Display or None
        How it is shown; None as at first in the window.
    k : int
        How many patches, at most 24; all if there are fewer.

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
        If the ending is another, or the disk refuses.
    MapError
        As in `AttentionMap.view`.
    SlideError
        If the slide cannot be read.
    """
    if not 0 <= k <= _MOST_PATCHES:
        raise ValueError(f"k must be 0 to {_MOST_PATCHES}, not {k}")
    target = Path(path)
    check_ending(target, _FORMATS, "A figure")
    shown = display or Display()
    view = shown.view(amap)
    yield Progress("Drawing the figure")
    tiles = top_tiles(view.raw, k)
    window = tissue_window(slide, amap)
    whole = whole_slide(slide)
    aspects = [part.width / part.height for part in (whole, window)]
    tall = min(_TALLEST, (_WIDTH - 2 * _MARGIN - _GAP) / sum(aspects))
    edge = (_WIDTH - 2 * _MARGIN - (_PER_ROW - 1) * 0.08) / _PER_ROW
    rows = -(-len(tiles) // _PER_ROW)
    patches_tall = rows * (edge + _WORDS) + (_CAPTION + SCALE_BAR_HEIGHT if rows else 0)
    size = (_WIDTH, 2 * _MARGIN + _CAPTION + tall + SCALE_BAR_HEIGHT + _LEGEND + patches_tall + 1.4 * _WORDS)
    figure = Figure(figsize=size, dpi=_DPI)
    FigureCanvasAgg(figure)
    top = size[1] - _MARGIN - _CAPTION
    left = _MARGIN
    for letter, part, aspect, caption in zip("ab", (whole, window), aspects, ("The slide", view.title), strict=True):
        axes = _draw_part(figure, slide, part, (left, top - tall, tall * aspect, tall), amap)
        _caption(figure, left, top, letter, caption)
        if letter == "b":
            draw_overlay(axes, amap, view, shown)
            axes.set(xlim=part.extent[:2], ylim=part.extent[2:])
        else:
            frame = Rectangle((window.col, window.row), window.width, window.height, fill=False, ec=INK, lw=0.8)
            axes.add_patch(frame)
        left += tall * aspect + _GAP
    below = top - tall - SCALE_BAR_HEIGHT
    _draw_legend(figure, amap, view, shown, below)
    yield from _draw_patches(figure, slide, amap, view, shown, tiles, (below - _LEGEND, edge))
    _draw_foot(figure, amap)
    # words stay words, and the same figure gives the same file
    settings: Any = {"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "napari-mil"}
    undated = {_DATES[ending]: None} if (ending := target.suffix.lower()) in _DATES else None
    with mpl.rc_context(settings):
        save_figure(figure, target, dpi=_DPI, metadata=undated)
    return target


def _draw_part(
    figure: Figure, slide: Slide, part: Window, box: tuple[float, float, float, float], amap: AttentionMap
) -> Axes:
    """Draw a part of the slide with its scale bar below."""
    left, bottom, wide, tall = box
    axes = add_axes(figure, box)
    draw_slide(axes, read_window(slide, part, (max(1, round(tall * _DPI)), max(1, round(wide * _DPI)))), part)
    strip = (left, bottom - SCALE_BAR_HEIGHT, wide, SCALE_BAR_HEIGHT)
    draw_scale_bar(add_axes(figure, strip), part.width * l0_mpp_yx(amap)[1], wide, size=7)
    return axes


def _caption(figure: Figure, left: float, top: float, letter: str, text: str) -> None:
    wide, tall = figure.get_size_inches()
    y = (top + 0.06) / tall
    figure.text(left / wide, y, letter, size=9, weight="bold", color=INK)
    figure.text((left + 0.16) / wide, y, text, size=7, color=INK, parse_math=False)


def _draw_legend(figure: Figure, amap: AttentionMap, view: MapView, display: Display, top: float) -> None:
    wide, tall = figure.get_size_inches()
    bar = add_axes(figure, (_MARGIN, top - 0.14, 2.4, 0.11))
    draw_bar(bar, view, display)
    bar.tick_params(labelsize=6)
    sentence = display.sentence(amap, view)
    smooth = "Drawn smoothly from patch to patch" if display.smooth else ""
    lines = "\n".join(line for line in (view.scale.title, limits_words(view), sentence, smooth) if line)
    x = (_MARGIN + 2.55) / wide
    figure.text(x, (top - 0.01) / tall, lines, size=6.5, color=INK, va="top", linespacing=1.3, parse_math=False)


def _draw_patches(
    figure: Figure,
    slide: Slide,
    amap: AttentionMap,
    view: MapView,
    display: Display,
    tiles: NDArray[np.int64],
    place: tuple[float, float],
) -> Steps[None]:
    """Draw the patches in rows; ``place`` is the top of the room for them and the edge of each, in inches."""
    if not len(tiles):
        return
    (top, edge), (wide, tall) = place, figure.get_size_inches()
    top -= _CAPTION
    _caption(
        figure,
        _MARGIN,
        top,
        "c",
        f"The {counted(len(tiles), 'patch')} with the highest score: place from the top, {patch_value_words(view)}",
    )
    rgb = colours(view, display.colours)
    pacer = Pacer("Drawing the figure", len(tiles))
    for number, tile in enumerate(tiles):
        left = _MARGIN + number % _PER_ROW * (edge + 0.08)
        bottom = top - number // _PER_ROW * (edge + _WORDS) - edge
        axes = add_axes(figure, (left, bottom, edge, edge))
        axes.imshow(slide.to_srgb(read_field(slide, amap, int(tile), round(edge * _DPI))))
        for spine in axes.spines.values():
            spine.set(color=rgb[tile] / 255, linewidth=1.6)
        words = f"{number + 1}.  {patch_value(view, int(tile))}"
        figure.text(left / wide, (bottom - 0.05) / tall, words, size=6.5, color=INK, va="top")
        if step := pacer.step(number + 1):
            yield step
    rows = -(-len(tiles) // _PER_ROW)
    strip = (_MARGIN, top - rows * (edge + _WORDS) - SCALE_BAR_HEIGHT + 0.06, edge, SCALE_BAR_HEIGHT)
    draw_scale_bar(add_axes(figure, strip), amap.grid.tile_um, edge, size=7, share=0.75)


def _draw_foot(figure: Figure, amap: AttentionMap) -> None:
    wide, tall = figure.get_size_inches()
    title = amap.model.title or amap.model.pooling
    lines = (
        f"{Path(amap.slide.path).name}. {title}. Prediction: {amap.prediction.sentence}",
        f"Each patch is {amap.grid.tile_um:.0f} µm wide. Colours: {DISCLAIMER}.",
    )
    for line, y in zip(lines, (_MARGIN + 0.15, _MARGIN), strict=True):
        written = figure.text(_MARGIN / wide, y / tall, line, size=6, color=GREY, parse_math=False)
        room = (wide - 2 * _MARGIN) * figure.dpi
        if (length := written.get_window_extent().width) > room:
            written.set_text(f"{line[: int(len(line) * room / length) - 2]}…")
