"""What stands between a Slide and a file: one way of reading that file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from ..errors import SlideError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


MAX_PIECE_BYTES = 512 * 2**20
"""Most memory that one stored piece may take when decoded: a larger one is a bomb, or a picture in a single strip."""


class UnreadableRegionError(SlideError):
    """The file opens, but does not give the pixels of one place: it is damaged there, and may be sound elsewhere."""


class Source(Protocol):
    """One way of reading a slide's file; safe to share between threads.

    Pixels are as stored: no colour profile is applied.

    Attributes
    ----------
    name : str
        What reads the file ("OpenSlide").
    why : str
        Why this reads it and nothing else, a clause for people; may be empty.
    level_shapes : tuple of (int, int)
        (height, width) of each level, pixels of that level; level 0 is the finest.
    level_downsamples : tuple of float
        Level-0 pixels per pixel of each level.
    level_tiles : tuple of (int, int)
        (height, width) of the pieces that the file stores each level in, pixels of that level: reads along their
        edges decode nothing twice. (1, 1) where there are none or they are unknown.
    properties : mapping of str to str
        What the file says of itself; OpenSlide's names ("openslide.mpp-x") for what it has names for.
    associated : tuple of str
        Names of further pictures in the file.
    keeps_rest : bool
        Whether the rest of a stored piece of which a window needed a part is kept for a while, so that windows side by
        side may be read one by one.
    background : (int, int, int)
        Colour (r, g, b) of what was not scanned.
    notes : tuple of str
        What was found wrong and put right, a clause each.
    icc_profile : bytes or None
        The ICC profile of the slide's colours.
    closed : bool
        Whether `close` has been called.
    """

    name: str
    why: str
    level_shapes: tuple[tuple[int, int], ...]
    level_downsamples: tuple[float, ...]
    level_tiles: tuple[tuple[int, int], ...]
    keeps_rest: bool
    properties: Mapping[str, str]
    associated: tuple[str, ...]
    background: tuple[int, int, int]
    notes: tuple[str, ...]
    icc_profile: bytes | None

    @property
    def closed(self) -> bool: ...

    def read(
        self, level: int, row: int, col: int, height: int, width: int, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Read a window that lies wholly inside a level.

        Parameters
        ----------
        level, row, col, height, width : int
            Pixels of that level, also the corner; height and width at least 1.
        out : (height, width, 3) uint8, optional
            Where to put it.

        Returns
        -------
        (height, width, 3) uint8
            RGB on the background colour: ``out``, or a new array, writable and nobody else's.

        Raises
        ------
        UnreadableRegionError
            If the file is damaged there.
        SlideError
            If the source is closed, or its file no longer opens.
        """

    def associated_image(self, name: str) -> NDArray[np.uint8]:
        """Return one of the further pictures, (h, w, 3) uint8 RGB.

        Raises
        ------
        SlideError
            If there is none of that name, or it cannot be read.
        """

    def rest(self) -> None:
        """Release the file until it is read again."""

    def close(self) -> None:
        """Release the file; harmless when repeated, and while others read."""
