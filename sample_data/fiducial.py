"""A small pyramid with crosses at known places, to pin overlays, slides and annotations together."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ._tiff import pyramid_of, write_slide

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLACES = ((0.12, 0.1), (0.15, 0.83), (0.47, 0.52), (0.86, 0.17), (0.9, 0.88))
GLASS = (243, 243, 243)


def fiducial_slide(
    path: str | Path, shape: tuple[int, int], mpp: float, downsamples: Sequence[float]
) -> list[tuple[int, int]]:
    """Write a pyramid with five black crosses on glass and tell where they are.

    Parameters
    ----------
    path : path
        TIFF to write.
    shape : (int, int)
        Level-0 height and width in pixels, at least 40 times the largest downsample.
    mpp : float
        Microns per level-0 pixel.
    downsamples : sequence of float
        Of all levels, the first being 1, rising; need not be whole.

    Returns
    -------
    list of (row, col)
        The level-0 pixel at the centre of each cross (pixel centres on whole numbers). Arms are an odd number of
        pixels wide, more than one pixel of the coarsest level, so that a centroid finds them on every level.

    Raises
    ------
    ValueError
        If the downsamples do not start at 1 and rise, or the slide is too small for the crosses.
    """
    if downsamples[0] != 1 or any(b <= a for a, b in pairwise(downsamples)):
        raise ValueError(f"downsamples must start at 1 and rise, not {list(downsamples)}")
    half = int(np.ceil(downsamples[-1]))
    arm = 4 * half
    if min(shape) < 40 * downsamples[-1]:
        raise ValueError(f"a slide of {shape} px is too small for crosses seen at downsample {downsamples[-1]}")
    rgb = np.full((*shape, 3), GLASS, np.uint8)
    centres = [(int(shape[0] * row), int(shape[1] * col)) for row, col in _PLACES]
    for row, col in centres:
        rgb[row - half : row + half + 1, col - arm : col + arm + 1] = 0
        rgb[row - arm : row + arm + 1, col - half : col + half + 1] = 0
    write_slide(Path(path), pyramid_of(rgb, downsamples), mpp, quality=95, subsampling=0)
    return centres
