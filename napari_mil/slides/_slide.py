"""A whole-slide image, open for reading."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from ._cache import Budget, tile_budget
from ._geometry import level_scales, shown_shape
from ._icc import srgb_transform
from ._levels import CHUNK_PX, build_levels
from ._metadata import objective_power, scanned_area, scanned_origin, slide_hash, slide_mpp
from ._name import slide_name
from ._ref import SlideRef
from ._resample import read_scaled

if TYPE_CHECKING:
    import dask.array as da
    from numpy.typing import NDArray

    from ._pyramid import PyramidLevel
    from ._source import Source


class Slide:
    """A whole-slide image, open for reading from any number of threads.

    Made by `open_slide`. Close it or use it as a context manager; closing while other threads read is safe: their
    reads end, later ones raise.

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

    Attributes
    ----------
    path : pathlib.Path
        The file or DICOM folder, absolute.
    level_shapes : tuple of (int, int)
        (height, width) of each level, pixels of that level; level 0 is the finest.
    level_scales : tuple of (float, float)
        Level-0 pixels per pixel of each level, (row, col); see `level_scales` of ``_geometry``.
    level_downsamples : tuple of float
        The same as one number: the mean of both.
    shown_shapes : tuple of (int, int)
        (height, width) at which each level covers level 0 to half a pixel of its own; see `shown_shape` of
        ``_geometry``.
    level_tiles : tuple of (int, int)
        (height, width) of the pieces that each level is stored in, pixels of that level; (1, 1) where unknown.
    keeps_rest : bool
        Whether windows side by side may be read one by one: the rest of a piece that is needed in part is kept.
    mpp : (float, float) or None
        Microns per level-0 pixel, (y, x), in force; None where unknown or impossible.
    stated_mpp : (float, float) or None
        What the file says, even where another was given at opening.
    notes : tuple of str
        What the file says of itself and was not believed, a clause each ("the file's scale of ... was ignored").
    properties : mapping of str to str
        What the file says of itself.
    associated : tuple of str
        Names of further pictures in the file. Names only: labels and overviews can show a patient's name.
    background : (int, int, int)
        Colour (r, g, b) of what was not scanned.
    vendor : str
        OpenSlide's name for the kind of file.
    objective_power : float or None
        Nominal magnification, for display only.
    reader, reader_why : str
        What reads the file, and why that and nothing else: a clause, or empty.
    icc_profile : bytes or None
        The ICC profile of the stored colours; None where the file has none that can be used.
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
        self.path = path
        self._file = file
        self._source = source
        self.level_shapes = source.level_shapes
        self.level_scales = level_scales(source.level_shapes, source.level_downsamples)
        self.level_downsamples = tuple((row + col) / 2 for row, col in self.level_scales)
        self.shown_shapes = tuple(
            shown_shape(self.level_shapes[0], shape, scale)
            for shape, scale in zip(self.level_shapes, self.level_scales, strict=True)
        )
        self.level_tiles, self.keeps_rest = source.level_tiles, source.keeps_rest
        self.properties: Mapping[str, str] = source.properties
        self.associated = source.associated
        self.background = source.background
        self.reader, self.reader_why = source.name, source.why

        self.stated_mpp, mpp_note = slide_mpp(self.properties)
        self.mpp = self.stated_mpp if mpp is None else mpp
        self.vendor = self.properties.get("openslide.vendor", "")
        self.objective_power = objective_power(self.properties)
        profile = source.icc_profile
        self._srgb, icc_note = (None, "") if profile is None else srgb_transform(profile)
        self.icc_profile = None if icc_note else profile
        self.notes: tuple[str, ...] = (*(note for note in (mpp_note, icc_note) if note), *source.notes)

        self._budget = tile_budget() if cache_bytes is None else Budget(cache_bytes)
        self._levels_lock = threading.Lock()
        self._levels: dict[bool, list[PyramidLevel]] = {}
        self._rests = 0

    def __repr__(self) -> str:
        scale = "scale unknown" if self.mpp is None else f"{self.mpp[0]:.4g} x {self.mpp[1]:.4g} um/px"
        return (
            f"<Slide {self.path.name}: {self.shape[0]} x {self.shape[1]} px, {scale}, {len(self.level_shapes)} levels>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def shape(self) -> tuple[int, int]:
        """Level-0 (height, width) in pixels."""
        return self.level_shapes[0]

    @property
    def name(self) -> str:
        """What the slide is called; see `slide_name`."""
        return slide_name(self.path)

    @property
    def bounds_origin_xy(self) -> tuple[float, float]:
        """Level-0 (x, y) of the corner of what was scanned (MIRAX and others); (0, 0) where the file states none.

        QuPath shows only what was scanned, and its coordinates begin at this corner.
        """
        return scanned_origin(self.properties)

    @property
    def scanned(self) -> tuple[float, float, float, float]:
        """Top, left, height and width of what was scanned, level-0 pixels; the whole slide where the file states none.

        Around it MIRAX and others leave much that is nothing but background.
        """
        return scanned_area(self.properties, self.shape)

    @property
    def corrects_colours(self) -> bool:
        """Whether the file has a colour profile by which `to_srgb` changes colours."""
        return self._srgb is not None

    @property
    def colours(self) -> str:
        """What is known of the stored colours, a clause for people."""
        if self._srgb is not None:
            return f"the file has a colour profile{f' ({self._srgb.name})' if self._srgb.name else ''}"
        if self.icc_profile is not None:
            return "the file's colours are those of screens (sRGB) already"
        return next((note for note in self.notes if "colour profile" in note), "the file has no colour profile")

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._source.closed

    @property
    def rests(self) -> int:
        """How often the slide has been put to rest: what was begun for a window before that is wanted no more."""
        return self._rests

    @cached_property
    def quickhash(self) -> str:
        """What identifies the content; see `SlideRef`."""
        return slide_hash(self._file, self.properties)

    @property
    def ref(self) -> SlideRef:
        """The slide's identity, for files made from it."""
        return SlideRef(str(self.path), self.quickhash, self.mpp, self.shape)

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
            If there is no such level, the size is negative, or ``out`` is of another.
        """
        if not 0 <= level < len(self.level_shapes):
            raise ValueError(f"level must be 0 to {len(self.level_shapes) - 1}, not {level}")
        if height < 0 or width < 0:
            raise ValueError(f"a window cannot be {height} x {width} pixels")
        if out is not None and (out.shape != (height, width, 3) or out.dtype != np.uint8):
            raise ValueError(f"out must be ({height}, {width}, 3) uint8, not {out.shape} {out.dtype}")
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

    def to_srgb(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert stored colours into those of a screen, by the file's colour profile.

        For people's eyes only. Encoders were trained on stored colours, and a tissue mask must not depend on how the
        slide is shown: so `read`, `read_patch` and `thumbnail` return these.

        Parameters
        ----------
        rgb : (rows, cols, 3) uint8
            As stored.

        Returns
        -------
        (rows, cols, 3) uint8
            In sRGB; ``rgb`` itself where the file has no profile that changes anything.
        """
        return rgb if self._srgb is None else self._srgb(rgb)

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
        if max_px < 1:
            raise ValueError(f"max_px must be at least 1, not {max_px}")
        height, width = self.shape
        shrink = max(1.0, max(height, width) / max_px)
        rows, cols = max(1, round(height / shrink)), max(1, round(width / shrink))
        l0_per_px = height / rows, width / cols
        fits = [level for level in self.levels(srgb=False) if level.shape[0] >= rows and level.shape[1] >= cols]
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
