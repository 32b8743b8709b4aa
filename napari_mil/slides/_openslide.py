"""Reading through OpenSlide: every format it knows, and the fallback for what is not read faster another way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import openslide
from PIL import Image

from ..errors import SlideError
from ._colour import looks_ycbcr, may_be_ycbcr, ycbcr_to_rgb
from ._handles import HandlePool
from ._metadata import background_colour
from ._source import MAX_PIECE_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLE_MIN_PX, _SAMPLE_MAX_PX = 200, 1024
"""Long edge of the picture that is looked at to tell colour spaces apart."""

_PIECE_PX = 4096
"""OpenSlide reads in pieces of this edge, and rounds their corners down to whole level-0 pixels."""

_OPAQUE = [0] * 128 + [255] * 128
"""Alpha to all or nothing."""


class OpenSlideSource:
    """A file read by OpenSlide; see `Source` for what each attribute and method means.

    Parameters
    ----------
    file : pathlib.Path
        A file that OpenSlide recognises.

    Raises
    ------
    SlideError
        If the file cannot be opened.
    """

    name = "OpenSlide"
    keeps_rest = False

    def __init__(self, file: Path) -> None:
        self._file = file
        self._pool = HandlePool(file)
        self.why = ""
        handle = self._pool.take()
        self.level_shapes: tuple[tuple[int, int], ...] = tuple((h, w) for w, h in handle.level_dimensions)
        self.level_downsamples: tuple[float, ...] = tuple(handle.level_downsamples)
        self.properties: Mapping[str, str] = MappingProxyType(dict(handle.properties))
        self.associated: tuple[str, ...] = tuple(handle.associated_images)
        self.icc_profile: bytes | None = _profile(handle)
        self._pool.give_back(handle)
        self.level_tiles = tuple(_stored_tile(self.properties, level) for level in range(len(self.level_shapes)))
        # OpenSlide holds a tile in four bytes a pixel, and ends the process where it gets no memory for it
        if any(4 * rows * cols > MAX_PIECE_BYTES for rows, cols in self.level_tiles):
            self._pool.close()
            raise SlideError(
                f"{file} claims to be stored in tiles too large to be read one by one. It is damaged, or must be "
                "written again in tiles of 256 or 512 pixels."
            )
        self.background = background_colour(self.properties)
        self._ycbcr = False
        self._ycbcr = may_be_ycbcr(self.properties) and self._sample_looks_ycbcr()
        self.notes: tuple[str, ...] = (
            ("its pixels are YCbCr though labelled otherwise, and were converted",) if self._ycbcr else ()
        )

    @property
    def closed(self) -> bool:
        return self._pool.closed

    def read(
        self, level: int, row: int, col: int, height: int, width: int, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        if out is None:
            if max(height, width) <= _PIECE_PX:
                return self._piece(level, row, col, height, width)
            out = np.empty((height, width, 3), np.uint8)
        # in pieces of our own, each rounded to the nearest: half as far off
        for top in range(0, height, _PIECE_PX):
            for left in range(0, width, _PIECE_PX):
                part = out[top : top + _PIECE_PX, left : left + _PIECE_PX]
                part[:] = self._piece(level, row + top, col + left, *part.shape[:2])
        return out

    def _piece(self, level: int, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        # OpenSlide's own downsample, by which it finds the level's pixel again; not `level_scales` of the slide
        downsample = self.level_downsamples[level]
        # OpenSlide takes corners in whole level-0 pixels: the window may lie up to half of one off
        l0_xy = (round(col * downsample), round(row * downsample))
        region = self._pool.read_region(l0_xy, level, (width, height))
        if self._ycbcr:
            region = ycbcr_to_rgb(region)
        # absent tiles come transparent: taking RGB alone would show them black. Half transparent are only pixels at a
        # tile's rim that OpenSlide shifted by a fraction; blending those would draw pale lines along rims
        flat = Image.new("RGB", region.size, self.background)
        flat.paste(region, mask=region.getchannel("A").point(_OPAQUE))
        return np.array(flat)

    def associated_image(self, name: str) -> NDArray[np.uint8]:
        if name not in self.associated:
            raise SlideError(
                f"{self._file} has no picture named {name!r}. It has: {', '.join(self.associated) or 'none'}."
            )
        handle = self._pool.take()
        try:
            picture = handle.associated_images[name]
        except openslide.OpenSlideError as error:
            handle.close()
            raise SlideError(f"The {name} picture of {self._file} is damaged ({error}).") from error
        self._pool.give_back(handle)
        flat = Image.new("RGB", picture.size, (255, 255, 255))
        flat.paste(picture, mask=picture.getchannel("A"))
        return np.array(flat)

    def rest(self) -> None:
        self._pool.rest()

    def close(self) -> None:
        self._pool.close()

    def _sample_looks_ycbcr(self) -> bool:
        """Look at the middle of the coarsest level that still shows something."""
        level = max(k for k, shape in enumerate(self.level_shapes) if k == 0 or max(shape) >= _SAMPLE_MIN_PX)
        rows, cols = self.level_shapes[level]
        height, width = min(rows, _SAMPLE_MAX_PX), min(cols, _SAMPLE_MAX_PX)
        try:
            sample = self.read(level, (rows - height) // 2, (cols - width) // 2, height, width)
        except SlideError:
            # damage there must not keep the rest of the slide shut; whoever reads it will hear of it
            return False
        return looks_ycbcr(sample)


def _profile(handle: openslide.OpenSlide) -> bytes | None:
    try:
        profile = handle.color_profile
    except openslide.OpenSlideError:
        return None
    return None if profile is None else bytes(profile.tobytes())


def _stored_tile(properties: Mapping[str, str], level: int) -> tuple[int, int]:
    try:
        height, width = (int(properties[f"openslide.level[{level}].tile-{edge}"]) for edge in ("height", "width"))
    except (KeyError, ValueError):
        return 1, 1
    return (height, width) if height > 0 and width > 0 else (1, 1)
