"""The map over the slide as one picture, with everything that a reader must know beside it."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..errors import ExportError
from ..maps import DISCLAIMER, evenness_words, limits_words
from ._display import Display
from ._folders import check_ending
from ._picture import (
    GREY,
    INK,
    Window,
    add_axes,
    draw_bar,
    draw_overlay,
    draw_slide,
    fills_slide,
    l0_mpp_yx,
    read_window,
    save_figure,
    tissue_window,
    whole_slide,
)
from ._scale_bar import SCALE_BAR_HEIGHT, draw_scale_bar

if TYPE_CHECKING:
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
FORMATS = (".png", ".pdf", ".svg", ".tif", ".tiff", ".jpg", ".jpeg")
SMALLEST_PX, LARGEST_PX = 300, 8000
"""Pixels along the long edge of a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is drawn: a map's view over its slide."""

    slide: Slide
    amap: AttentionMap
    view: MapView
    display: Display
    window: Window


def overlay_figure(
    path: str | os.PathLike[str],
    slide: Slide,
    amap: AttentionMap,
    *,
    display: Display | None = None,
    max_px: int = 2400,
) -> Path:
    """Draw the map over its slide and write it as a picture.

    Shown is the part of the slide that has tiles, as scanned and under the map, with a scale bar, in the colours that
    the slide's colour profile gives them; beside it a colour bar, the model, the prediction, what was thresholded, and
    where on the slide the part lies.

    Parameters
    ----------
    path : path
        Where; the ending chooses the format (.png, .pdf, .svg, .tif, .jpg).
    slide : Slide
        The map's slide, open.
    amap : AttentionMap
        The map.
    display : Display or None
        How it is shown; None as at first in the window.
    max_px : int
        Long edge of the picture in pixels, 300 to 8000.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ExportError
        If the disk refuses, the ending is another, or the picture would be too small or too large.
    MapError
        As in `AttentionMap.view`.
    SlideError
        If the slide cannot be read.
    """
    target = Path(path)
    check_ending(target, FORMATS, "A picture")
    if not SMALLEST_PX <= max_px <= LARGEST_PX:
        raise ExportError(
            f"A picture can be {SMALLEST_PX:,} to {LARGEST_PX:,} pixels long, as PNG longer, not {max_px:,}."
        )
    shown = display or Display()
    subject = Subject(slide, amap, shown.view(amap), shown, tissue_window(slide, amap))
    figure = compose_page(subject, max_px)
    save_figure(figure, target, metadata={"Software": None} if target.suffix == ".png" else None)
    return target


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the pictures lie, in inches: the size of the page, of each of the two, and their bottom left corners."""

    window: Window
    size: tuple[float, float]
    wide: float
    tall: float
    corners: tuple[tuple[float, float], tuple[float, float]]


def page_layout(window: Window) -> Layout:
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
    left, bottom = _MARGIN, size[1] - _MARGIN - _CAPTION - tall
    step = (wide + _MARGIN, 0.0) if beside else (0.0, -(tall + _CAPTION + _MARGIN / 2))
    return Layout(window, size, wide, tall, ((left, bottom), (left + step[0], bottom + step[1])))


def compose_page(subject: Subject, max_px: int, *, pictures: bool = True) -> Figure:
    """Return the page; without pictures only what is behind and beside them."""
    window, layout = subject.window, page_layout(subject.window)
    wide, tall = layout.wide, layout.tall
    figure = Figure(figsize=layout.size, dpi=max_px / max(layout.size))
    FigureCanvasAgg(figure)
    shape = max(1, round(tall * figure.dpi)), max(1, round(wide * figure.dpi))
    pixels = read_window(subject.slide, window, shape) if pictures else None
    for number, caption in enumerate(("The slide", subject.view.title)):
        axes = add_axes(figure, (*layout.corners[number], wide, tall))
        axes.set_title(caption, loc="left", size=9, color=GREY, pad=4, parse_math=False)
        if pixels is None:
            continue
        draw_slide(axes, pixels, window)
        if number == 1:
            draw_overlay(axes, subject.amap, subject.view, subject.display)
            axes.set(xlim=window.extent[:2], ylim=window.extent[2:])
    (left, _), (_, bottom) = layout.corners
    strip = (left, bottom - SCALE_BAR_HEIGHT, wide, SCALE_BAR_HEIGHT)
    draw_scale_bar(add_axes(figure, strip), window.width * l0_mpp_yx(subject.amap)[1], wide)
    _draw_panel(figure, subject)
    return figure


def _draw_panel(figure: Figure, subject: Subject) -> None:
    """Draw what stands beside the pictures, from top to bottom."""
    amap, view = subject.amap, subject.view
    wide, tall = figure.get_size_inches()
    left = float(wide) - _MARGIN - _PANEL_WIDTH
    y = float(tall) - _MARGIN
    y = _write(figure, left, y, amap.model.title or amap.model.pooling, size=12, weight="bold")
    y = _write(figure, left, y, Path(amap.slide.path).name, colour=GREY)
    y = _write(figure, left, y - 0.1, f"Prediction: {amap.prediction.sentence}")
    y = _write(figure, left, y - 0.14, view.title, weight="bold")
    bar = add_axes(figure, (left, y - 0.26, _PANEL_WIDTH, 0.18))
    draw_bar(bar, view, subject.display)
    y = _write(figure, left, y - 0.62, view.scale.title)
    y = _write(figure, left, y, view.scale.help, size=8, colour=GREY)
    y = _write(figure, left, y - 0.1, _details(subject))
    figure.text(left / wide, _MARGIN / tall, DISCLAIMER, size=8.5, color=GREY, style="italic", va="bottom")
    if not fills_slide(subject.slide, subject.window):
        bottom = _MARGIN + 0.28
        _draw_overview(figure, subject, (left, bottom, _PANEL_WIDTH, min(2.2, max(0.5, y - 0.12 - bottom))))


def _write(
    figure: Figure, left: float, top: float, text: str, *, size: float = 9, weight: str = "normal", colour: str = INK
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


def _details(subject: Subject) -> str:
    amap, view = subject.amap, subject.view
    sentences = [subject.display.sentence(amap, view), limits_words(view)]
    sentences.append(f"Each patch is {amap.grid.tile_um:.0f} µm wide")
    if subject.display.smooth:
        sentences.append("Drawn smoothly; numbers are those of the patches")
    sentences.append(evenness_words(view))
    return ". ".join(words for words in sentences if words) + "."


def _draw_overview(figure: Figure, subject: Subject, room: tuple[float, float, float, float]) -> None:
    """Draw the whole slide, small, with a frame around the part shown."""
    left, bottom, width, height = room
    l0_height, l0_width = subject.slide.shape
    zoom = min(width / l0_width, height / l0_height)
    axes = add_axes(figure, (left, bottom, l0_width * zoom, l0_height * zoom))
    picture = subject.slide.to_srgb(subject.slide.thumbnail(max(64, round(_PANEL_WIDTH * figure.dpi)))[0])
    whole, part = whole_slide(subject.slide), subject.window
    axes.imshow(picture, extent=whole.extent, interpolation="antialiased")
    axes.add_patch(Rectangle((part.col, part.row), part.width, part.height, fill=False, edgecolor=INK, linewidth=1.2))
