"""A whole slide as one small picture."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from ._levels import CHUNK_PX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._slide import Slide


def thumbnail(slide: Slide, max_px: int) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Compute a thumbnail block by block; see ``Slide.thumbnail``."""
    if max_px < 1:
        raise ValueError(f"max_px must be at least 1, not {max_px}")
    height, width = slide.shape
    shrink = max(1.0, max(height, width) / max_px)
    rows, cols = max(1, round(height / shrink)), max(1, round(width / shrink))
    l0_per_px = height / rows, width / cols
    fits = [level for level in slide.levels(srgb=False) if level.shape[0] >= rows and level.shape[1] >= cols]
    source = fits[-1]
    step = source.shape[0] / rows, source.shape[1] / cols
    block = max(1, int(CHUNK_PX / max(step)))
    corners = [(r, c) for r in range(0, rows, block) for c in range(0, cols, block)]
    out = np.empty((rows, cols, 3), np.uint8)

    def fill(corner: tuple[int, int]) -> None:
        r, c = corner
        h, w = min(block, rows - r), min(block, cols - c)
        out[r : r + h, c : c + w] = source.resized(r * step[0], c * step[1], h * step[0], w * step[1], (h, w))

    with ThreadPoolExecutor(min(len(corners), os.cpu_count() or 1)) as threads:
        list(threads.map(fill, corners))
    return out, l0_per_px
