"""Formats that neither OpenSlide nor we read, through fastslide where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SlideError
from ._array_source import ArraySource
from ._source import UnreadableRegionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FASTSLIDE_EXTENSIONS = (".isyntax", ".i2syntax", ".vsi", ".czi", ".qptiff")
"""Philips, Olympus, those of Zeiss that OpenSlide refuses, Akoya."""


def needs_fastslide(file: Path) -> bool:
    """Tell by its name whether a file is of a kind that is left to fastslide."""
    return file.suffix.lower() in FASTSLIDE_EXTENSIONS


class FastSlideSource(ArraySource):
    """A file read by fastslide; see `Source`.

    Parameters
    ----------
    file : pathlib.Path
        The file.

    Raises
    ------
    SlideError
        If fastslide is not installed, or does not read the file.
    """

    name = "fastslide"

    def __init__(self, file: Path) -> None:
        try:
            from fastslide import FastSlide
        except ImportError as error:
            raise SlideError(
                f"Reading {file} needs the package fastslide. Run: pip install 'napari-mil[formats]'"
            ) from error
        try:
            self._slide: Any = FastSlide.from_file_path(str(file))
            shapes = [(int(h), int(w)) for w, h in self._slide.level_dimensions]
            mpp_x, mpp_y = self._slide.mpp
            properties = {f"fastslide.{name}": str(value) for name, value in self._slide.properties.items()}
            channels = int(self._slide.properties.get("channels", 3))
            kind = str(self._slide.dtype)
        except (RuntimeError, ValueError, LookupError, OSError, TypeError) as error:
            raise SlideError(
                f"{file} cannot be opened ({error}). It is damaged or cut short; copy it again from the scanner."
            ) from error
        if channels not in (3, 4) or kind != "uint8":
            raise SlideError(f"{file} holds {channels} channels of {kind}; only 8-bit RGB slides can be shown.")
        if mpp_x and mpp_y:
            properties |= {"openslide.mpp-x": repr(float(mpp_x)), "openslide.mpp-y": repr(float(mpp_y))}
        super().__init__(
            file,
            shapes,
            [(1, 1)] * len(shapes),
            properties=properties,
            why="OpenSlide does not read this kind of file",
            icc_profile=self._slide.icc_profile,
        )
        self.level_downsamples = tuple(float(value) for value in self._slide.level_downsamples)

    def close(self) -> None:
        if not self._closed:
            super().close()
            self._slide.close()

    def _window(self, level: int, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        try:
            pixels = np.asarray(self._slide.read_region((col, row), level, (width, height)).numpy())
        except (RuntimeError, ValueError) as error:
            raise UnreadableRegionError(
                f"{self._path} cannot be read at row {row}, column {col} of level {level} ({error}). "
                "Copy it again from the scanner."
            ) from error
        return np.array(pixels[..., :3])
