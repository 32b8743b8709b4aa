"""The picture of the map over its slide at any size: drawn and written in strips, in memory that stays the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import ExportError
from ..files import replacing
from ..progress import Pacer, Progress, Steps
from ._picture import Window, overlay_rgba
from ._png import LARGEST_EDGE, packed, png_writer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..maps import AttentionMap, MapView
    from ..slides import PyramidLevel, Slide
    from ._display import Display

STRIP_BYTES = 12 << 20
_SAMPLES, _SAMPLE_ROWS = 25, 4
_GB, _MB = 1e9, 1e6


@dataclass(frozen=True, slots=True)
class Box:
    """Where a picture lies on the page, in its pixels."""

    top: int
    left: int
    height: int
    width: int


class Backdrop:
    """What lies behind and beside the pictures - words, legend, scale bar, frames - drawn small and enlarged in strips.

    Parameters
    ----------
    drawn : (rows, cols, 3) uint8
        The page without its pictures.
    shape : (int, int)
        Rows and columns that are wanted.
    """

    def __init__(self, drawn: NDArray[np.uint8], shape: tuple[int, int]) -> None:
        self._drawn, self.shape = drawn, shape

    def rows(self, first: int, last: int) -> NDArray[np.uint8]:
        """Return rows of the page, each from those drawn that lie nearest: strips of any height fit together."""
        if self.shape == self._drawn.shape[:2]:
            return self._drawn[first:last].copy()
        there = len(self._drawn)
        at = np.clip((np.arange(first, last) + 0.5) * there / self.shape[0] - 0.5, 0, there - 1)
        low = np.floor(at).astype(np.intp)
        high, share = np.minimum(low + 1, there - 1), (at - low).astype(np.float32)[:, None, None]
        mixed = self._drawn[low] * (1 - share) + self._drawn[high] * share
        # of unchanged height: Pillow works along rows alone
        small = Image.fromarray(np.rint(mixed).astype(np.uint8))
        return np.array(small.resize((self.shape[1], last - first), Image.Resampling.BILINEAR))


class SlideRows:
    """A part of the slide at a size, rows by rows, plain and under the map.

    Parameters
    ----------
    slide : Slide
        Open.
    window : Window
        Which part.
    shape : (int, int)
        Rows and columns of the picture.
    """

    def __init__(self, slide: Slide, window: Window, shape: tuple[int, int]) -> None:
        self._slide, self._window, self._shape = slide, window, shape

    def plain(self, first: int, last: int) -> NDArray[np.uint8]:
        """Return rows in true colours: averaged over area; of more pixels than the slide has, the nearest."""
        level, row, col, rows, cols = self._source()
        high, wide = self._shape
        if rows >= high and cols >= wide:
            top, step = row + first * rows / high, rows / high
            tall = min(step * (last - first), level.shape[0] - top)
            pixels = level.resized(top, col, tall, min(cols, level.shape[1] - col), (last - first, wide))
        else:
            down = np.clip((row + (np.arange(first, last) + 0.5) * rows / high).astype(np.intp), 0, level.shape[0] - 1)
            right = np.clip((col + (np.arange(wide) + 0.5) * cols / wide).astype(np.intp), 0, level.shape[1] - 1)
            part = np.asarray(level[down[0] : down[-1] + 1, right[0] : right[-1] + 1])
            pixels = part[down - down[0]][:, right - right[0]]
        return self._slide.to_srgb(pixels)

    def _source(self) -> tuple[PyramidLevel, float, float, float, float]:
        """Return the coarsest level with enough detail, and the part in its pixels."""
        window, levels = self._window, self._slide.levels(srgb=False)
        for level in reversed(levels):
            down, right = self._slide.shape[0] / level.shape[0], self._slide.shape[1] / level.shape[1]
            rows, cols = window.height / down, window.width / right
            if rows >= self._shape[0] and cols >= self._shape[1]:
                return level, window.row / down, window.col / right, rows, cols
        return levels[0], window.row, window.col, window.height, window.width


class MapRows:
    """The map's colours laid over rows of its slide, as `draw_overlay` lays them over a small picture.

    Parameters
    ----------
    amap, view, display
        The map, and how it is shown.
    window : Window
        The part of the slide.
    shape : (int, int)
        Rows and columns of the picture.
    """

    def __init__(
        self, amap: AttentionMap, view: MapView, display: Display, window: Window, shape: tuple[int, int]
    ) -> None:
        rgba, cells = overlay_rgba(amap, view, display)
        self._colour = rgba[..., :3].astype(np.float32)
        self._strength = (rgba[..., 3] / np.float32(255)).astype(np.float32)
        down = window.row + (np.arange(shape[0]) + 0.5) * window.height / shape[0]
        right = window.col + (np.arange(shape[1]) + 0.5) * window.width / shape[1]
        self._rows, self._rows_in = _cells(down, cells.row, cells.height, rgba.shape[0])
        self._cols, self._cols_in = _cells(right, cells.col, cells.width, rgba.shape[1])

    def over(self, pixels: NDArray[np.uint8], first: int) -> NDArray[np.uint8]:
        """Return rows of the slide, from the first given on, under the map."""
        last = first + len(pixels)
        rows = self._rows[first:last]
        strength = self._strength[rows][:, self._cols] * self._rows_in[first:last, None] * self._cols_in
        strength = strength[..., None]
        mixed = pixels * (1 - strength) + self._colour[rows][:, self._cols] * strength
        return np.rint(mixed).astype(np.uint8)


def _cells(
    at: NDArray[np.float64], start: float, length: float, count: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the cell that each place lies in, and whether it lies in any."""
    cell = np.floor((at - start) / length * count).astype(np.intp)
    return np.clip(cell, 0, count - 1), (cell >= 0) & (cell < count)


def write_in_strips(
    target: Path, rows: Callable[[int, int], NDArray[np.uint8]], shape: tuple[int, int], dpi: float
) -> Steps[Path]:
    """Write a picture of any size as PNG, yielding Progress.

    Parameters
    ----------
    target : Path
        Where.
    rows : callable
        Returns rows from the first to before the last, (rows, columns, 3) uint8.
    shape : (int, int)
        Rows and columns.
    dpi : float
        Pixels per inch.

    Yields
    ------
    Progress
        With the picture's size, and what the file will take as far as some rows tell.

    Returns
    -------
    Path
        The file, whole; after a cancel or a fault there is none.

    Raises
    ------
    ExportError
        If the disk has not the room, or refuses.
    """
    high, wide = shape
    if max(shape) > LARGEST_EDGE:
        raise ExportError(f"A PNG can be {LARGEST_EDGE:,} pixels long, not {max(shape):,}. Choose a smaller picture.")
    yield Progress("Drawing the picture", message=f"{wide:,} x {high:,} pixels")
    expected = yield from _expected_bytes(rows, shape)
    _check_room(target, expected)
    words = f"{wide:,} x {high:,} pixels, about {format_bytes(expected)}"
    step = max(1, STRIP_BYTES // (3 * wide))
    pacer = Pacer("Drawing the picture", high, unit="rows")
    with replacing(target, ExportError) as partial, png_writer(partial, shape, dpi) as file:
        for first in range(0, high, step):
            last = min(high, first + step)
            file.write(rows(first, last))
            if found := pacer.step(last, words):
                yield found
    return target


def _expected_bytes(rows: Callable[[int, int], NDArray[np.uint8]], shape: tuple[int, int]) -> Steps[int]:
    """Return about how large the file will be: as rows here and there are, packed as in the file."""
    count = min(_SAMPLE_ROWS, shape[0])
    size = 0
    for number in range(_SAMPLES):
        first = round((shape[0] - count) * (number + 0.5) / _SAMPLES)
        flat = rows(first, first + count).reshape(count, -1)
        # the first row has none above it here
        data, _ = packed(flat[1:], flat[:-1]) if count > 1 else packed(flat, np.zeros_like(flat))
        size += len(data)
        yield Progress("Drawing the picture", message="Estimating the size of the file")
    return round(size * shape[0] / (_SAMPLES * max(1, count - 1)))


def _check_room(target: Path, expected: int) -> None:
    try:
        free = shutil.disk_usage(target.parent).free
    except OSError:
        return  # who writes will say why
    if expected > free:
        raise ExportError(
            f"The picture would take about {format_bytes(expected)}, and {target.parent} has {format_bytes(free)} "
            "free. Choose a smaller picture, or a folder on another disk."
        )


def format_bytes(count: int) -> str:
    """Write a number of bytes for people: 1.2 GB, 340 MB."""
    return f"{count / _GB:,.1f} GB" if count >= _GB else f"{max(1, round(count / _MB)):,} MB"
