"""What pictures of a map share: the part of the slide shown, its pixels, the colours over it, axes in inches."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from ..errors import ExportError
from ..files import replacing
from ..maps import enlarged, paint, smoothed, smoothing_factor
from ._colour_bar import draw_colour_bar

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ..maps import AttentionMap, MapView
    from ..slides import Slide, SlideRef
    from ._display import Display

INK, GREY = "#1c1c1c", "#5c5c5c"
_OVERVIEW_BELOW = 0.6  # share of the slide that the part shown covers


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the slide: top-left corner and size, level-0 pixels, pixel edges on whole numbers."""

    row: float
    col: float
    height: float
    width: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top as matplotlib's imshow wants it."""
        return self.col, self.col + self.width, self.row + self.height, self.row


def save_figure(figure: Figure, target: Path, **options: Any) -> None:
    """Write a figure whole or not at all; matplotlib's own writers fail in other ways than words on a full disk."""
    file = io.BytesIO()
    figure.savefig(file, format=target.suffix.lower().lstrip("."), facecolor="white", **options)
    with replacing(target, ExportError) as partial:
        partial.write_bytes(file.getbuffer())


def rendered(figure: Figure) -> NDArray[np.uint8]:
    """Return a figure on white as pixels, (rows, cols, 3)."""
    figure.set_facecolor("white")
    canvas = figure.canvas
    canvas.draw()
    pixels: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())  # type: ignore[attr-defined]
    return np.ascontiguousarray(pixels[..., :3])


def add_axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Add axes without ticks at left, bottom, width, height in inches."""
    wide, tall = figure.get_size_inches()
    left, bottom, width, height = box
    axes = figure.add_axes((left / wide, bottom / tall, width / wide, height / tall))
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color="#c8c8c8", linewidth=0.8)
    return axes


def whole_slide(slide: Slide | SlideRef) -> Window:
    """Return all of the slide."""
    height, width = slide.shape
    return Window(0, 0, height, width)


def tissue_window(slide: Slide | SlideRef, amap: AttentionMap) -> Window:
    """Return the bounding box of the tiles with a margin, inside the slide; the whole slide where there are none."""
    if not len(amap):
        return whole_slide(slide)
    height, width = slide.shape
    low, high = amap.grid.l0_rc.min(axis=0), amap.grid.l0_rc.max(axis=0) + amap.grid.tile_l0
    margin = max(0.04 * float((high - low).max()), amap.grid.tile_l0)
    row, col = (max(0.0, float(v) - margin) for v in low)
    return Window(row, col, min(height, float(high[0]) + margin) - row, min(width, float(high[1]) + margin) - col)


def read_window(slide: Slide, window: Window, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the window in true colours at about the shape asked for, from the coarsest level that has the detail."""
    levels = slide.levels(srgb=False)
    for level in reversed(levels):
        shrink_r, shrink_c = slide.shape[0] / level.shape[0], slide.shape[1] / level.shape[1]
        rows, cols = window.height / shrink_r, window.width / shrink_c
        if rows >= shape[0] and cols >= shape[1]:
            return slide.to_srgb(level.resized(window.row / shrink_r, window.col / shrink_c, rows, cols, shape))
    finest = max(1, int(window.height)), max(1, int(window.width))
    return slide.to_srgb(levels[0].resized(window.row, window.col, window.height, window.width, finest))


def draw_slide(axes: Axes, pixels: NDArray[np.uint8], window: Window) -> None:
    """Show pixels of the slide in level-0 coordinates."""
    axes.imshow(pixels, extent=window.extent, interpolation="antialiased")
    axes.set(xlim=window.extent[:2], ylim=window.extent[2:])


def overlay_rgba(amap: AttentionMap, view: MapView, display: Display) -> tuple[NDArray[np.uint8], Window]:
    """Return the map's colours, (rows, cols, 4), as the window lays them over the slide, and the part they cover."""
    raster = paint(view.values, amap.grid)
    # the raster's origin is a cell's centre with pixel centres on whole numbers, the window counts pixel edges
    row, col = (o + 0.5 - raster.l0_step / 2 for o in raster.l0_origin)
    rows, cols = raster.values.shape
    cells = Window(row, col, rows * raster.l0_step, cols * raster.l0_step)
    seen, pixels = display.shows(raster.values), view.scale.to_axis(raster.values)
    if display.smooth:
        factor = smoothing_factor(raster.values.shape)
        seen, pixels = enlarged(seen, factor), smoothed(pixels, factor)
    low, high = view.scale.to_axis(np.asarray(view.limits, np.float32))
    lookup = mpl.colormaps[display.colourmap(view)]
    # coloured before it is enlarged: numbers of a large picture would take gigabytes
    rgba = lookup(np.where(seen, np.clip((pixels - low) / (high - low), 0, 1), 0), alpha=display.opacity, bytes=True)
    rgba[~seen] = 0
    return rgba, cells


def draw_overlay(axes: Axes, amap: AttentionMap, view: MapView, display: Display) -> None:
    """Lay the map's colours over the slide."""
    rgba, cells = overlay_rgba(amap, view, display)
    axes.imshow(rgba, extent=cells.extent, interpolation="nearest")


def draw_bar(axes: Axes, view: MapView, display: Display) -> None:
    """Draw the colour bar as the overlay is shown."""
    draw_colour_bar(
        axes, view, display.threshold, display.opacity, colourmap=display.colours, inverted=display.inverted
    )


def patch_value(view: MapView, tile: int) -> str:
    """Return the number to write below a patch: the value shown; the raw score where what is shown is its rank."""
    return f"{float(view.raw[tile] if view.scale.name == 'rank' else view.values[tile]):.3g}"


def patch_value_words(view: MapView) -> str:
    """Say what the number below each patch is."""
    title = view.title[:1].lower() + view.title[1:]
    return f"raw {title}" if view.scale.name == "rank" else f"{title} ({view.scale.label.lower()})"


def fills_slide(slide: Slide, window: Window) -> bool:
    """Tell whether a part is so much of the slide that showing the whole beside it says nothing more."""
    height, width = slide.shape
    return window.height * window.width >= _OVERVIEW_BELOW * height * width


def l0_mpp_yx(amap: AttentionMap) -> tuple[float, float]:
    """Return microns per level-0 pixel, (y, x): what was in force when the map was made."""
    return amap.slide.mpp or (amap.l0_mpp, amap.l0_mpp)
