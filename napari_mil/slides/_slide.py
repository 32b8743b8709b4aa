"""A whole-slide image, open for reading."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from ._cache import Budget, tile_budget
from ._facts import SlideFacts
from ._levels import build_levels
from ._resample import read_scaled
from ._thumbnail import thumbnail

if TYPE_CHECKING:
    import dask.array as da
    from numpy.typing import NDArray

    from ._pyramid import PyramidLevel
    from ._source import Source


class Slide(SlideFacts):
    """A whole-slide image, open for reading from any number of threads.

    Made by `open_slide`. Close it or use it as a context manager; closing while other threads read is safe: their
    reads end, later ones raise. What is known of it without reading pixels is described at `SlideFacts`.

    Parameters
    ----------
    source : Source
        What reads the file; closed with the slide.
    path : pathlib.Path
        What was asked for: the file, or the DICOM folder that it stands for.
    file : pathlib.Path
        The file that tells slides apart: ``path``, or one in that folder.
    mpp : (float, float), optional
        Microns per level-0 pixel (y, x) in place of what the file says.
    cache_bytes : int, optional
        Most memory for decoded tiles of the pyramid; see `open_slide`.
    """

    def __init__(
        self,
        source: Source,
        *,
        path: Path,
        file: Path,
        mpp: tuple[float, float] | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        super().__init__(source, path=path, file=file, mpp=mpp)
        self._source = source
        self._budget = tile_budget() if cache_bytes is None else Budget(cache_bytes)
        self._levels_lock = threading.Lock()
        self._levels: dict[bool, list[PyramidLevel]] = {}
        self._rests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._source.closed

    @property
    def rests(self) -> int:
        """How often the slide has been put to rest: what was begun for a window before that is wanted no more."""
        return self._rests

    def close(self) -> None:
        """Release the file and the cached tiles; harmless when repeated."""
        self._rests += 1
        self._source.close()
        self._drop_tiles()

    def rest(self) -> None:
        """Release the file and the cached tiles until the slide is read again."""
        self._rests += 1
        self._source.rest()
        self._drop_tiles()

    def rest_file(self) -> None:
        """Release the file alone until the slide is read again."""
        self._source.rest()

    def _drop_tiles(self) -> None:
        with self._levels_lock:
            for level in (level for kind in self._levels.values() for level in kind):
                level.rest()

    def read(
        self, level: int, row: int, col: int, height: int, width: int, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Read a window of a level.

        Parameters
        ----------
        level : int
            0 is the finest.
        row, col, height, width : int
            Window in pixels **of that level**, also its corner; it may leave the slide.
        out : (height, width, 3) uint8, optional
            Where to put it; after an error nobody knows what it holds.

        Returns
        -------
        (height, width, 3) uint8
            RGB as stored (see `to_srgb`), on the background colour, which also fills what lies outside the slide:
            ``out``, or a new contiguous array.

        Raises
        ------
        UnreadableRegionError
            If the slide is damaged there.
        SlideError
            If the slide is closed, or its file no longer opens.
        ValueError
            If there is no such level, the size is negative, or ``out`` is of another or must not be written to.
        """
        if not 0 <= level < len(self.level_shapes):
            raise ValueError(f"level must be 0 to {len(self.level_shapes) - 1}, not {level}")
        if height < 0 or width < 0:
            raise ValueError(f"a window cannot be {height} x {width} pixels")
        if out is not None and (out.shape != (height, width, 3) or out.dtype != np.uint8):
            raise ValueError(f"out must be ({height}, {width}, 3) uint8, not {out.shape} {out.dtype}")
        if out is not None and not out.flags.writeable:  # which libjpeg-turbo does not ask for
            raise ValueError("out must be writeable")
        rows, cols = self.level_shapes[level]
        if row >= 0 and col >= 0 and 0 < height <= rows - row and 0 < width <= cols - col:
            return self._source.read(level, row, col, height, width, out)
        out = np.empty((height, width, 3), np.uint8) if out is None else out
        out[:] = self.background
        # writers drop the row and column that a level's last whole pixels leave over: there the last ones go on
        all_rows, all_cols = (max(pair) for pair in zip((rows, cols), self.shown_shapes[level], strict=True))
        top, bottom = max(0, row), min(all_rows, row + height)
        left, right = max(0, col), min(all_cols, col + width)
        if top < bottom and left < right:
            r0, c0 = min(top, rows - 1), min(left, cols - 1)
            inside = self._source.read(level, r0, c0, min(bottom, rows) - r0, min(right, cols) - c0)
            missing = (bottom - top - inside.shape[0], right - left - inside.shape[1])
            if any(missing):
                inside = np.pad(inside, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
            out[top - row : bottom - row, left - col : right - col] = inside
        return out

    def associated_image(self, name: str) -> NDArray[np.uint8]:
        """Return a further picture of the file, such as the label: it can show a patient's name.

        Parameters
        ----------
        name : str
            One of ``associated``.

        Returns
        -------
        (height, width, 3) uint8
            RGB.

        Raises
        ------
        SlideError
            If there is none of that name, or it cannot be read.
        """
        return self._source.associated_image(name)

    def levels(self, *, srgb: bool = True) -> list[PyramidLevel]:
        """Return the pyramid as arrays that read themselves when sliced.

        Parameters
        ----------
        srgb : bool
            Whether to show the colours that the file's profile gives, for people; False keeps those stored. Where
            `corrects_colours` is False, both are the same levels.

        Returns
        -------
        list of PyramidLevel
            (h, w, 3) uint8 each, finest first, the last at most 1024 px on its long edge.
        """
        convert = self._srgb if srgb else None
        with self._levels_lock:
            kind = convert is not None
            if kind not in self._levels:
                self._levels[kind] = build_levels(self, self._budget, convert)
            return list(self._levels[kind])

    def pyramid(self, *, srgb: bool = True) -> list[da.Array]:
        """Return the pyramid as dask arrays, for napari and for array programs.

        Parameters
        ----------
        srgb : bool
            As in `levels`.

        Returns
        -------
        list of dask.array.Array
            (h, w, 3) uint8 in square chunks, finest first, the last at most 1024 px on its long edge. All share one
            bounded cache of decoded tiles.
        """
        import dask.array as da

        blank = np.empty((0, 0, 0), np.uint8)
        levels = self.levels(srgb=srgb)
        return [da.from_array(level, chunks=level.chunks, name=False, meta=blank) for level in levels]

    def read_patch(self, l0_row: float, l0_col: float, edge_l0: float, out_px: int) -> NDArray[np.uint8]:
        """Read a square patch at any size, from the best level and averaged over area.

        Parameters
        ----------
        l0_row, l0_col : float
            Top-left corner, level-0 pixels; need not be whole.
        edge_l0 : float
            Edge, level-0 pixels; need not be whole.
        out_px : int
            Edge of the result in pixels.

        Returns
        -------
        (out_px, out_px, 3) uint8
            RGB.

        Raises
        ------
        UnreadableRegionError
            If the slide is damaged there.
        SlideError
            If the slide is closed, or its file no longer opens.
        """
        return read_scaled(self, l0_row, l0_col, edge_l0, edge_l0, (out_px, out_px))

    def thumbnail(self, max_px: int) -> tuple[NDArray[np.uint8], tuple[float, float]]:
        """Return the whole slide at most so many pixels long, in stored colours, computed block by block.

        Parameters
        ----------
        max_px : int
            Long edge of the result, at least 1; a smaller slide is not enlarged.

        Returns
        -------
        rgb : (rows, cols, 3) uint8
            The slide.
        l0_per_px : (float, float)
            Level-0 pixels per pixel of the result, (row, col); exact.

        Raises
        ------
        SlideError
            If the slide is closed.
        ValueError
            If ``max_px`` is less than 1.
        """
        return thumbnail(self, max_px)
