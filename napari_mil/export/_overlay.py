"""The map over the slide as one picture of any size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..progress import Progress, Steps
from ._display import Display
from ._figure import (
    FORMATS,
    LARGEST_PX,
    SMALLEST_PX,
    Subject,
    compose_page,
    overlay_figure,
    page_layout,
)
from ._folders import check_ending
from ._large_picture import Backdrop, Box, MapRows, SlideRows, write_in_strips
from ._picture import rendered, tissue_window

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from ..maps import AttentionMap
    from ..slides import Slide

_WORDS_PX = 4000
"""Long edge at which words and legend of a larger picture are drawn."""


def write_overlay(
    path: str | os.PathLike[str],
    slide: Slide,
    amap: AttentionMap,
    *,
    display: Display | None = None,
    max_px: int = 2400,
) -> Steps[Path]:
    """Draw the same as `overlay_figure`, as PNG of any size, yielding Progress.

    A picture longer than 8000 pixels is drawn and written in strips, so that it takes no more memory than a small one;
    words and legend are drawn 4000 pixels long and enlarged. Its size in bytes is estimated first.

    Parameters
    ----------
    path, slide, amap, display
        As in `overlay_figure`.
    max_px : int
        Long edge of the picture in pixels; of other formats than PNG at most 8000.

    Yields
    ------
    Progress
        With size and estimate; at most about ten a second.

    Returns
    -------
    Path
        The file; after a cancel or a fault there is none.

    Raises
    ------
    ExportError
        As in `overlay_figure`, or where the disk has not the room for it.
    MapError
        As in `AttentionMap.view`.
    SlideError
        If the slide cannot be read.
    """
    target = Path(path)
    check_ending(target, FORMATS, "A picture")
    if max_px <= LARGEST_PX or target.suffix.lower() != ".png":
        yield Progress("Drawing the picture")
        return overlay_figure(target, slide, amap, display=display, max_px=max_px)
    shown = display or Display()
    subject = Subject(slide, amap, shown.view(amap), shown, tissue_window(slide, amap))
    yield Progress("Drawing the picture", message="Words and legend")
    rows, shape, dpi = page_rows(subject, max_px)
    return (yield from write_in_strips(target, rows, shape, dpi))


def as_scanned_px(amap: AttentionMap) -> int:
    """Return how long the picture is at which a pixel of the slide is one of the picture.

    Parameters
    ----------
    amap : AttentionMap
        The map.

    Returns
    -------
    int
        For ``max_px``.
    """
    layout = page_layout(tissue_window(amap.slide, amap))
    return max(SMALLEST_PX, round(max(layout.size) * layout.window.width / layout.wide))


def page_rows(
    subject: Subject, max_px: int, words_px: int = _WORDS_PX
) -> tuple[Callable[[int, int], NDArray[np.uint8]], tuple[int, int], float]:
    """Return what draws rows of the picture, from one to before another, its shape, and its dots per inch."""
    layout = page_layout(subject.window)
    dpi = max_px / max(layout.size)
    shape = max(1, round(layout.size[1] * dpi)), max(1, round(layout.size[0] * dpi))
    figure = compose_page(subject, min(max_px, words_px), pictures=False)
    backdrop = Backdrop(rendered(figure), shape)
    boxes = [
        Box(
            *(round(inches * dpi) for inches in (layout.size[1] - bottom - layout.tall, left, layout.tall, layout.wide))
        )
        for left, bottom in layout.corners
    ]
    size = boxes[0].height, boxes[0].width
    slide_rows = SlideRows(subject.slide, subject.window, size)
    map_rows = MapRows(subject.amap, subject.view, subject.display, subject.window, size)

    def rows(first: int, last: int) -> NDArray[np.uint8]:
        page = backdrop.rows(first, last)
        for number, box in enumerate(boxes):
            top, bottom = max(first - box.top, 0), min(last - box.top, box.height)
            if top < bottom:
                pixels = slide_rows.plain(top, bottom)
                if number == 1:
                    pixels = map_rows.over(pixels, top)
                page[box.top + top - first : box.top + bottom - first, box.left : box.left + box.width] = pixels
        return page

    return rows, shape, dpi
