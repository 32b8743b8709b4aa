"""From a scanner's colours to those of a screen, at the price of one look into a table.

A scanner's ICC profile says what its numbers look like. littleCMS converts exactly, but takes 26 ms for a megapixel of
tissue, ten times what decoding its JPEG takes. Of the 16.7 million colours that 8 bits can name each is therefore
converted once, exactly, and looked up from then on: 2 ms a megapixel.
"""

from __future__ import annotations

import io
import threading
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COLOURS = 1 << 24
_SLAB = 1 << 16
"""Colours converted at a time while the table is filled."""

_SAME = 1
"""Grey levels up to which a conversion changes nothing that a person could see."""

_LEAST_CONTRAST = 100
"""Grey levels that white and black must lie apart after conversion; less comes from a damaged profile."""


class SrgbTransform:
    """Convert colours that a profile describes into sRGB; safe to share between threads, which run side by side.

    The conversion is littleCMS's own, to the last grey level: with the rendering intent that the profile names and
    without black point compensation, as OpenSlide's documentation shows it and napari-wsi does it. Until the table is
    filled, in a thread begun at the first use, littleCMS itself converts.

    Parameters
    ----------
    profile : PIL.ImageCms.ImageCmsProfile
        Profile of an RGB scanner or space.

    Raises
    ------
    PIL.ImageCms.PyCMSError
        If littleCMS can make no conversion of it.

    Attributes
    ----------
    name : str
        What the profile calls itself.
    """

    def __init__(self, profile: ImageCms.ImageCmsProfile) -> None:
        self.name = (profile.profile.profile_description or "").strip()
        intent = ImageCms.Intent(ImageCms.getDefaultIntent(profile))
        # unoptimised: littleCMS's own tables are up to 20 grey levels off for saturated colours
        self._exact = ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), "RGB", "RGB", intent, ImageCms.Flags.NOOPTIMIZE
        )
        self._lock = threading.Lock()
        self._filling: threading.Thread | None = None
        self._table: NDArray[np.uint32] | None = None

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert a picture.

        Parameters
        ----------
        rgb : (rows, cols, 3) uint8
            In the profile's colours; left as it is.

        Returns
        -------
        (rows, cols, 3) uint8
            In sRGB; contiguous, and nobody else's.
        """
        if not rgb.size:
            return rgb.copy()
        if self._table is None:
            self._start()
            return self._convert(rgb)
        flat = rgb.reshape(-1, 3)
        index = np.zeros((len(flat), 8), np.uint8)
        out = np.empty_like(flat)
        for channel in range(3):
            index[:, channel] = flat[:, channel]
        colours = self._table.take(index.view("<i8")[:, 0]).view(np.uint8).reshape(-1, 4)
        for channel in range(3):
            out[:, channel] = colours[:, channel]
        return out.reshape(rgb.shape)

    def wait(self) -> None:
        """Return when the table is filled."""
        self._start().join()

    def _start(self) -> threading.Thread:
        with self._lock:
            if self._filling is None:
                self._filling = threading.Thread(target=self._fill, name="colour-table", daemon=True)
                self._filling.start()
            return self._filling

    def _fill(self) -> None:
        table = np.empty(_COLOURS, "<u4")
        for first in range(0, _COLOURS, _SLAB):
            colours = np.arange(first, first + _SLAB, dtype="<u4").view(np.uint8).reshape(256, -1, 4)
            converted = np.zeros_like(colours)
            converted[..., :3] = self._convert(colours[..., :3])
            table[first : first + _SLAB] = converted.view("<u4").reshape(-1)
        self._table = table

    def _convert(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        converted = ImageCms.applyTransform(Image.fromarray(np.ascontiguousarray(rgb)), self._exact)
        return np.array(converted)


@lru_cache(maxsize=2)
def srgb_transform(profile: bytes) -> tuple[SrgbTransform | None, str]:
    """Return what turns a profile's colours into sRGB.

    Slides of one scanner share one, and its table of 64 MB.

    Parameters
    ----------
    profile : bytes
        An ICC profile.

    Returns
    -------
    transform : SrgbTransform or None
        None where nothing is to be converted: the profile is sRGB, to a grey level, or cannot be used.
    note : str
        Why a profile cannot be used, a clause for people; else empty.
    """
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if opened.profile.xcolor_space.strip() != "RGB":
            return None, "its colour profile is not one for RGB and was not applied"
        transform = SrgbTransform(opened)
        before, after = _sample(), transform._convert(_sample())
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, "its colour profile is damaged and was not applied"
    if np.abs(after.astype(np.int16) - before).max() <= _SAME:
        return None, ""
    grey = after[0, :256].astype(np.float64).mean(axis=1)
    if grey[-1] - grey[0] < _LEAST_CONTRAST or np.diff(grey).min() < -_SAME:
        return None, "its colour profile does not keep light and dark apart and was not applied"
    return transform, ""


def _sample() -> NDArray[np.uint8]:
    """Return all greys in the first row, and colours all over the cube below; (17, 289, 3) uint8."""
    steps = np.linspace(0, 255, 17).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(17, 289, 3)
    greys = np.full((1, 289, 3), 255, np.uint8)
    greys[0, :256] = np.arange(256, dtype=np.uint8)[:, None]
    return np.concatenate([greys, cube])
