"""The map over the slide as one picture, with everything that a reader must know beside it."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..errors import ExportError
from ..files import replacing
from ..maps import DISCLAIMER, above, effective_patches, normalised_entropy, paint, patches_sentence
from ._colour_bar import draw_colour_bar
from ._scale_bar import SCALE_BAR_HEIGHT, draw_scale_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from ..maps import AttentionMap, MapView
    from ..slides import Slide

# All lengths in inches of a picture 12 inches wide; ``max_px`` sets the dots per inch.
_WIDTH = 12.0
_MARGIN = 0.3
_CAPTION = 0.24
_PANEL_WIDTH = 3.2
_PANEL_HEIGHT = 5.0
_MOST_LETTERS = 72  # in a line of the panel
_SIDE_BY_SIDE_BELOW = 1.25  # width over height of the part shown
_OVERVIEW_BELOW = 0.6  # share of the slide that the part shown covers
_INK, _GREY = "#1c1c1c", "#5c5c5c"


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of the slide: top-left corner and size, level-0 pixels, pixel edges on whole numbers."""

    row: float
    col: float
    height: float
    width: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top as matplotlib's imshow wants it."""
        return self.col, self.col + self.width, self.row + self.height, self.row


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """What is drawn: a map's view over its slide."""

    slide: Slide
    amap: AttentionMap
    view: MapView
    threshold: float | None
    opacity: float
    window: _Window

    @property
    def mpp_x(self) -> float:
        """Microns per level-0 pixel along a row: that in force when the map was made."""
        mpp = self.amap.slide.mpp or self.slide.mpp
        return mpp[1] if mpp else self.amap.l0_mpp


def overlay_figure(
    path: str | os.PathLike[str],
    slide: Slide,
    amap: AttentionMap,
    *,
    score: str | None = None,
    scale: str | None = None,
    class_index: int | None = None,
    threshold: float | None = None,
    opacity: float = 0.6,
    max_px: int = 2400,
) -> Path:
    """Draw the map over its slide and write it as a picture.

    Shown is the part of the slide that has tiles, as scanned and under the map, with a scale bar, in the colours that
    the slide's colour profile gives them; beside it a colour bar, the model, the prediction, what was thresholded, and
    where on the slide the part lies.

    Parameters
    ----------
    path : path
        Where; the ending chooses the format (.png, .pdf, .tif).
    slide : Slide
        The map's slide, open.
    amap : AttentionMap
        The map.
    score, scale : str or None
        As in `AttentionMap.view`.
    class_index : int or None
        As in `AttentionMap.view`.
    threshold : float or None
        Colour only what is at or above it on the scale shown; None colours all tiles.
    opacity : float
        Of the colours over the slide, 0 to 1.
    max_px : int
        Long edge of the picture in pixels.

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
    SlideError
        If the slide cannot be read.
    """
    if not 0 <= opacity <= 1 or max_px < 300:
        raise ValueError(f"opacity must be 0 to 1 and max_px at least 300, not {opacity} and {max_px}")
    view = amap.view(score, scale, class_index)
    target = Path(path)
    subject = _Subject(slide, amap, view, threshold, opacity, _tissue_window(slide, amap))
    figure = _compose(subject, max_px)
    with replacing(target, ExportError) as partial:
        figure.savefig(partial, facecolor="white", metadata={"Software": None} if target.suffix == ".png" else None)
    return target


def _compose(subject: _Subject, max_px: int) -> Figure:
    window = subject.window
    room = _WIDTH - _PANEL_WIDTH - 3 * _MARGIN
    beside = window.width / window.height < _SIDE_BY_SIDE_BELOW
    if beside:
        room = (room - _MARGIN) / 2
    zoom = room / max(window.width, window.height)
    wide, tall = window.width * zoom, window.height * zoom
    pictures_wide = 2 * wide + _MARGIN if beside else wide
    pictures_tall = tall + _CAPTION if beside else 2 * (tall + _CAPTION) + _MARGIN / 2
    size = (
        pictures_wide + _PANEL_WIDTH + 3 * _MARGIN,
        max(pictures_tall + SCALE_BAR_HEIGHT, _PANEL_HEIGHT) + 2 * _MARGIN,
    )
    figure = Figure(figsize=size, dpi=max_px / max(size))
    FigureCanvasAgg(figure)
    shape = max(1, round(tall * figure.dpi)), max(1, round(wide * figure.dpi))
    pixels = subject.slide.to_srgb(_read_window(subject.slide, window, shape))
    left, bottom = _MARGIN, size[1] - _MARGIN - _CAPTION - tall
    step = (wide + _MARGIN, 0.0) if beside else (0.0, -(tall + _CAPTION + _MARGIN / 2))
    for number, caption in enumerate(("The slide", subject.view.title)):
        corner = (left + number * step[0], bottom + number * step[1])
        axes = _add_axes(figure, (*corner, wide, tall))
        axes.set_title(caption, loc="left", size=9, color=_GREY, pad=4, parse_math=False)
        axes.imshow(pixels, extent=window.extent, interpolation="antialiased")
        if number == 1:
            _draw_overlay(axes, subject)
        axes.set(xlim=window.extent[:2], ylim=window.extent[2:])
    strip = (left, bottom + step[1] - SCALE_BAR_HEIGHT, wide, SCALE_BAR_HEIGHT)
    draw_scale_bar(_add_axes(figure, strip), window.width * subject.mpp_x, wide)
    _draw_panel(figure, subject)
    return figure


def _add_axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Add axes without ticks at left, bottom, width, height in inches."""
    wide, tall = figure.get_size_inches()
    left, bottom, width, height = box
    axes = figure.add_axes((left / wide, bottom / tall, width / wide, height / tall))
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#c8c8c8", linewidth=0.8)
    return axes


def _tissue_window(slide: Slide, amap: AttentionMap) -> _Window:
    """Return the bounding box of the tiles with a margin, inside the slide; the whole slide where there are none."""
    height, width = slide.shape
    if not len(amap):
        return _Window(0, 0, height, width)
    low, high = amap.grid.l0_rc.min(axis=0), amap.grid.l0_rc.max(axis=0) + amap.grid.tile_l0
    margin = max(0.04 * float((high - low).max()), amap.grid.tile_l0)
    row, col = (max(0.0, float(v) - margin) for v in low)
    return _Window(row, col, min(height, float(high[0]) + margin) - row, min(width, float(high[1]) + margin) - col)


def _read_window(slide: Slide, window: _Window, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the window at about the shape asked for, from the coarsest level that has the detail."""
    levels = slide.levels(srgb=False)
    for level in reversed(levels):
        shrink_r, shrink_c = slide.shape[0] / level.shape[0], slide.shape[1] / level.shape[1]
        rows, cols = window.height / shrink_r, window.width / shrink_c
        if rows >= shape[0] and cols >= shape[1]:
            return level.resized(window.row / shrink_r, window.col / shrink_c, rows, cols, shape)
    finest = max(1, int(window.height)), max(1, int(window.width))
    return levels[0].resized(window.row, window.col, window.height, window.width, finest)


def _draw_overlay(axes: Axes, subject: _Subject) -> None:
    view = subject.view
    raster = paint(view.values, subject.amap.grid)
    values = raster.values
    if subject.threshold is not None:
        values = np.where(above(values, subject.threshold), values, np.float32(np.nan))
    low, high = view.scale.to_axis(np.asarray(view.limits, np.float32))
    # the raster's origin is a cell's centre with pixel centres on whole numbers, the window counts pixel edges
    row, col = (o + 0.5 - raster.l0_step / 2 for o in raster.l0_origin)
    cells = _Window(row, col, values.shape[0] * raster.l0_step, values.shape[1] * raster.l0_step)
    axes.imshow(
        np.ma.masked_invalid(view.scale.to_axis(values)),
        cmap=view.scale.colourmap,
        vmin=low,
        vmax=high,
        alpha=subject.opacity,
        extent=cells.extent,
        interpolation="nearest",
    )


def _draw_panel(figure: Figure, subject: _Subject) -> None:
    """Draw what stands beside the pictures, from top to bottom."""
    amap, view = subject.amap, subject.view
    wide, tall = figure.get_size_inches()
    left = float(wide) - _MARGIN - _PANEL_WIDTH
    y = float(tall) - _MARGIN
    y = _write(figure, left, y, amap.model.title or amap.model.pooling, size=12, weight="bold")
    y = _write(figure, left, y, Path(amap.slide.path).name, colour=_GREY)
    y = _write(figure, left, y - 0.1, f"Prediction: {amap.prediction.sentence}")
    y = _write(figure, left, y - 0.14, view.title, weight="bold")
    bar = _add_axes(figure, (left, y - 0.26, _PANEL_WIDTH, 0.18))
    draw_colour_bar(bar, view, subject.threshold, subject.opacity)
    y = _write(figure, left, y - 0.62, view.scale.title)
    y = _write(figure, left, y, view.scale.help, size=8, colour=_GREY)
    y = _write(figure, left, y - 0.1, _details(subject))
    figure.text(left / wide, _MARGIN / tall, DISCLAIMER, size=8.5, color=_GREY, style="italic", va="bottom")
    height, width = subject.slide.shape
    if subject.window.height * subject.window.width < _OVERVIEW_BELOW * height * width:
        bottom = _MARGIN + 0.28
        _draw_overview(figure, subject, (left, bottom, _PANEL_WIDTH, min(2.2, max(0.5, y - 0.12 - bottom))))


def _write(
    figure: Figure, left: float, top: float, text: str, *, size: float = 9, weight: str = "normal", colour: str = _INK
) -> float:
    """Write text wrapped to the panel, its top at ``top`` inches; return where the next text may start.

    Lines are as long as their width on the page allows; a word too long for a line is broken.
    """
    wide, tall = figure.get_size_inches()
    written = figure.text(
        left / wide, top / tall, "", size=size, weight=weight, color=colour, va="top", linespacing=1.2
    )
    written.set_parse_math(False)
    lines: list[str] = []
    for letters in range(_MOST_LETTERS, 4, -1):
        lines = textwrap.wrap(text, letters)
        written.set_text("\n".join(lines))
        if written.get_window_extent().width <= _PANEL_WIDTH * figure.dpi:
            break
    # a line of this typeface is 1.42 of its size high
    return float(top - max(1, len(lines)) * size * 1.42 / 72 - 0.03)


def _details(subject: _Subject) -> str:
    amap, view = subject.amap, subject.view
    sentences = [patches_sentence(amap, view, subject.threshold), f"Each patch is {amap.grid.tile_um:.0f} µm wide"]
    if view.kind == "attention" and len(amap) > 1:
        spread, evenness = effective_patches(view.raw), normalised_entropy(view.raw)
        sentences.append(f"The attention is spread as if over {spread:,.0f} patches (evenness {evenness:.2f} of 1)")
    return ". ".join(sentences) + "."


def _draw_overview(figure: Figure, subject: _Subject, room: tuple[float, float, float, float]) -> None:
    """Draw the whole slide, small, with a frame around the part shown."""
    left, bottom, width, height = room
    l0_height, l0_width = subject.slide.shape
    zoom = min(width / l0_width, height / l0_height)
    axes = _add_axes(figure, (left, bottom, l0_width * zoom, l0_height * zoom))
    picture = subject.slide.to_srgb(subject.slide.thumbnail(max(64, round(_PANEL_WIDTH * figure.dpi)))[0])
    whole, part = _Window(0, 0, l0_height, l0_width), subject.window
    axes.imshow(picture, extent=whole.extent, interpolation="antialiased")
    axes.add_patch(Rectangle((part.col, part.row), part.width, part.height, fill=False, edgecolor=_INK, linewidth=1.2))
