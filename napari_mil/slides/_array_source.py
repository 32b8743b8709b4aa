"""What sources share that have no further pictures and no handles: levels, properties, and a way to read windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import SlideError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Shape = tuple[int, int]


class ArraySource(ABC):
    """Base of such sources; see `Source` for what each attribute means.

    Parameters
    ----------
    file : pathlib.Path
        The file or folder.
    level_shapes, level_tiles : sequence of (int, int)
        Of each level.
    properties : mapping of str to str
        What the file says of itself.
    why : str
        Why this reads the file.
    notes : tuple of str
        What was found wrong and put right.
    icc_profile : bytes, optional
        The profile of the colours.
    """

    name = ""
    keeps_rest = False

    def __init__(
        self,
        file: Path,
        level_shapes: Sequence[Shape],
        level_tiles: Sequence[Shape],
        *,
        properties: Mapping[str, str] | None = None,
        why: str = "",
        notes: tuple[str, ...] = (),
        icc_profile: bytes | None = None,
    ) -> None:
        self._path, self.why, self.notes, self.icc_profile = file, why, notes, icc_profile
        self.level_shapes, self.level_tiles = tuple(level_shapes), tuple(level_tiles)
        height, width = self.level_shapes[0]
        self.level_downsamples = tuple((height / h + width / w) / 2 for h, w in self.level_shapes)
        self.properties: Mapping[str, str] = MappingProxyType(dict(properties or {}))
        self.associated: tuple[str, ...] = ()
        self.background = (255, 255, 255)
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def read(
        self, level: int, row: int, col: int, height: int, width: int, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        if self._closed:
            raise SlideError(f"{self._path} has been closed. Open the slide again to read from it.")
        pixels = self._window(level, row, col, height, width)
        if out is None:
            return pixels
        out[:] = pixels
        return out

    def associated_image(self, name: str) -> NDArray[np.uint8]:
        raise SlideError(f"{self._path} has no picture named {name!r}.")

    def rest(self) -> None:
        return

    def close(self) -> None:
        self._closed = True
        self.rest()

    @abstractmethod
    def _window(self, level: int, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        """Read a window inside a level of an open source into a new array; as `Source.read`."""
