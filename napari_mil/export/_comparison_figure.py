"""Maps of one slide beside each other, each with its legend, in the same colours."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..counting import counted
from ..maps import DISCLAIMER, format_probability, paint
from ._colour_bar import draw_colour_bar
from ._scale_bar import SCALE_BAR_HEIGHT, draw_scale_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from ..maps import AttentionMap, MapComparison, MapFacts, MapView
    from ..slides import Slide

# inches
_WIDTH, _MARGIN, _GAP, _BAR, _WORDS = 11.0, 0.35, 0.3, 0.14, 0.62
_MOST_COLUMNS = 3
_OPACITY = 0.6
_INK, _GREY = "#1c1c1c", "#5c5c5c"


def comparison_figure(slide: Slide, comparison: MapComparison, *, dpi: float = 150) -> Figure:
    """Draw every map over the part of the slide that any of them covers.

    Parameters
    ----------
    slide : Slide
        The maps' slide, open.
    comparison : MapComparison
        The maps, and how they are shown: one scale, the same limits.
    dpi : float
        Dots per inch of the pictures of the slide.

    Returns
    -------
    matplotlib Figure
        11 inches wide.
    """
    row, col, height, width = _window(slide, comparison.maps)
    columns = _columns(len(comparison.maps), width / height)
    rows = math.ceil(len(comparison.maps) / columns)
    wide = (_WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns
    tall = wide * height / width
    step = tall + _WORDS + _BAR + 0.5
    size = _WIDTH, 2 * _MARGIN + rows * step + SCALE_BAR_HEIGHT
    figure = Figure(figsize=size, dpi=dpi)
    FigureCanvasAgg(figure)
    pixels = slide.to_srgb(_read(slide, (row, col, height, width), (round(tall * dpi), round(wide * dpi))))
    extent = (col, col + width, row + height, row)
    for k, (amap, view, fact) in enumerate(zip(comparison.maps, comparison.views, comparison.facts, strict=True)):
        left = _MARGIN + k % columns * (wide + _GAP)
        top = size[1] - _MARGIN - k // columns * step
        _words(figure, left, top, wide, fact, view)
        axes = _axes(figure, (left, top - _WORDS - tall, wide, tall))
        axes.imshow(pixels, extent=extent, interpolation="antialiased")
        _draw_map(axes, amap, view)
        axes.set(xlim=extent[:2], ylim=extent[2:])
        draw_colour_bar(_axes(figure, (left, top - _WORDS - tall - 0.08 - _BAR, wide, _BAR)), view, None, _OPACITY)
    mpp = comparison.maps[0].slide.mpp or slide.mpp
    mpp_x = mpp[1] if mpp else comparison.maps[0].l0_mpp
    draw_scale_bar(_axes(figure, (_MARGIN, _MARGIN, wide, SCALE_BAR_HEIGHT)), width * mpp_x, wide)
    said = f"All on one scale with the same limits: {comparison.views[0].scale.title}. A map shows {DISCLAIMER}."
    figure.text(1 - _MARGIN / size[0], _MARGIN / size[1], said, size=8, color=_GREY, ha="right", va="bottom")
    return figure


def table_page(title: str, texts: list[str]) -> Figure:
    """Set tables, given as lines of even width, on a page of their own."""
    lines = sum(text.count("\n") + 2 for text in texts)
    longest = max(len(line) for text in texts for line in text.splitlines())
    size = min(8.0, (_WIDTH - 2 * _MARGIN) * 72 / (0.62 * max(longest, 1)))
    figure = Figure(figsize=(_WIDTH, max(2.0, 2 * _MARGIN + 0.5 + lines * size * 1.45 / 72)))
    FigureCanvasAgg(figure)
    height = float(figure.get_size_inches()[1])
    x = _MARGIN / _WIDTH
    figure.text(x, 1 - _MARGIN / height, title, size=12, weight="bold", va="top", color=_INK, parse_math=False)
    body = "\n\n".join(texts)
    y = 1 - (_MARGIN + 0.4) / height
    figure.text(x, y, body, size=size, family="monospace", va="top", color=_INK, linespacing=1.3, parse_math=False)
    return figure


def _columns(n: int, aspect: float) -> int:
    """Return how many maps stand in a row: wide slides rather below each other."""
    most = 2 if aspect > 1.8 else _MOST_COLUMNS
    return min(n, 2 if n == 4 else most)


def _window(slide: Slide, maps: tuple[AttentionMap, ...]) -> tuple[float, float, float, float]:
    """Return row, col, height and width of what any map covers, with a margin; level-0 pixel edges."""
    boxes = [
        (amap.grid.l0_rc.min(axis=0), amap.grid.l0_rc.max(axis=0) + amap.grid.tile_l0) for amap in maps if len(amap)
    ]
    if not boxes:
        return 0.0, 0.0, float(slide.shape[0]), float(slide.shape[1])
    low, high = np.min([box[0] for box in boxes], axis=0), np.max([box[1] for box in boxes], axis=0)
    margin = 0.04 * float((high - low).max())
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, slide.shape)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def _read(slide: Slide, window: tuple[float, float, float, float], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a part of the slide at about the shape asked for, from the coarsest level with enough detail."""
    levels = slide.levels(srgb=False)
    for level in reversed(levels):
        shrink = slide.shape[0] / level.shape[0], slide.shape[1] / level.shape[1]
        row, col, rows, cols = (v / shrink[k % 2] for k, v in enumerate(window))
        if rows >= shape[0] and cols >= shape[1]:
            return level.resized(row, col, rows, cols, shape)
    row, col, rows, cols = window
    return levels[0].resized(row, col, rows, cols, (max(1, int(rows)), max(1, int(cols))))


def _draw_map(axes: Axes, amap: AttentionMap, view: MapView) -> None:
    raster = paint(view.values, amap.grid)
    low, high = view.scale.to_axis(np.asarray(view.limits, np.float32))
    # the origin is a cell's centre with pixel centres on whole numbers, the window counts pixel edges
    row, col = (origin + 0.5 - raster.l0_step / 2 for origin in raster.l0_origin)
    rows, cols = raster.values.shape
    axes.imshow(
        np.ma.masked_invalid(view.scale.to_axis(raster.values)),
        cmap=view.scale.colourmap,
        vmin=low,
        vmax=high,
        alpha=_OPACITY,
        extent=(col, col + cols * raster.l0_step, row + rows * raster.l0_step, row),
        interpolation="nearest",
    )


def _words(figure: Figure, left: float, top: float, wide: float, fact: MapFacts, view: MapView) -> None:
    """Write name, prediction and score above a map, each cut to its column."""
    size_in = figure.get_size_inches()
    effective = (
        "" if math.isnan(fact.effective) else f"; as if over {fact.effective:,.0f} of {counted(fact.patches, 'patch')}"
    )
    lines = (
        (fact.name, 10, "bold", _INK, 0.0),
        (f"{fact.predicted} {format_probability(fact.probability)}", 8.5, "normal", _INK, 0.2),
        (f"{view.title}{effective}", 8, "normal", _GREY, 0.38),
    )
    for text, size, weight, colour, down in lines:
        letters = max(8, int(wide * 72 / (size * 0.54)))
        figure.text(
            left / size_in[0],
            (top - down) / size_in[1],
            textwrap.shorten(text, letters, placeholder="…"),
            size=size,
            weight=weight,
            color=colour,
            va="top",
            parse_math=False,
        )


def _axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Add axes without ticks at left, bottom, width, height in inches."""
    wide, tall = figure.get_size_inches()
    left, bottom, width, height = box
    axes = figure.add_axes((left / wide, bottom / tall, width / wide, height / tall))
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#c8c8c8", linewidth=0.8)
    return axes
