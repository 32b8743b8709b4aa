"""Where the pixels of each level really lie on level 0.

Writers halve a picture by averaging whole blocks, and cut or pad what is left over at the right and bottom. A level's
true downsample is then a whole number, while the ratio of sizes, which OpenSlide goes by, is a little off it and drifts
by up to a pixel of that level towards the far corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Shape = tuple[int, int]

_STATED = 1e-6
"""Relative difference from the ratio of sizes beyond which a downsample was stated by the file, not computed."""


def level_scales(shapes: Sequence[Shape], reported: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Return level-0 pixels per pixel of each level.

    Parameters
    ----------
    shapes : sequence of (int, int)
        (height, width) of each level, pixels of that level; level 0 is the finest.
    reported : sequence of float
        Downsample of each level as the reader reports it: what the file states, or the mean of the ratios of heights
        and of widths.

    Returns
    -------
    tuple of (float, float)
        (row, col) of each level. Both are what the file states where it states one; a whole number where one explains
        height and width both to less than a pixel; else the two ratios of sizes.
    """
    scales = [(1.0, 1.0)]
    for shape, stated in zip(shapes[1:], reported[1:], strict=True):
        ratios = shapes[0][0] / shape[0], shapes[0][1] / shape[1]
        if not math.isclose(stated, sum(ratios) / 2, rel_tol=_STATED):
            scales.append((stated, stated))
            continue
        whole = _whole_factor(shapes[0], shape, finer=scales[-1][0])
        scales.append(ratios if whole is None else (float(whole), float(whole)))
    return tuple(scales)


def shown_shape(l0_shape: Shape, shape: Shape, scale: tuple[float, float]) -> Shape:
    """Return the size at which a level is to be shown by what knows sizes alone, such as napari.

    Stretching a level of this size over level 0 puts each of its pixels within half of one of where it belongs,
    everywhere, the far corner included.

    Parameters
    ----------
    l0_shape : (int, int)
        (height, width) of level 0.
    shape : (int, int)
        (height, width) of the level as stored.
    scale : (float, float)
        Level-0 pixels per pixel of the level, (row, col); see `level_scales`.

    Returns
    -------
    (int, int)
        Height and width, at least 1. At most one row and column more than stored, to be filled by repeating the last,
        unless the file states a downsample that its sizes do not bear out.
    """
    height, width = (max(1, math.floor(full / step + 0.5)) for full, step in zip(l0_shape, scale, strict=True))
    return height, width


def _whole_factor(l0_shape: Shape, shape: Shape, *, finer: float) -> int | None:
    """Return the whole downsample that explains both edges of a level to less than one of its pixels, or None.

    Of several, as levels of a few pixels leave open, that which is a power of two times the finer level's, else the one
    nearest to the ratio of the longer edges.
    """
    low, high = 1, max(l0_shape)
    for full, edge in zip(l0_shape, shape, strict=True):
        # |full - n * edge| < n
        low = max(low, full // (edge + 1) + 1)
        high = min(high, -(-full // (edge - 1)) - 1 if edge > 1 else high)
    if low > high:
        return None
    step = finer * 2
    while step < low:
        step *= 2
    if step <= high and step == int(step):
        return int(step)
    longer = 0 if l0_shape[0] >= l0_shape[1] else 1
    return min(max(low, round(l0_shape[longer] / shape[longer])), high)
