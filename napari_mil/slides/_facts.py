"""What a slide is: its levels, scale, colours and names, as its file says them and as far as that is believed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ._geometry import level_scales, shown_shape
from ._icc import srgb_transform
from ._metadata import objective_power, scanned_area, scanned_origin, slide_hash, slide_mpp
from ._name import slide_name
from ._ref import SlideRef

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ._source import Source


class SlideFacts:
    """What is known of a slide without reading its pixels.

    Parameters
    ----------
    source : Source
        What reads the file.
    path : pathlib.Path
        What was asked for: the file, or the DICOM folder that it stands for.
    file : pathlib.Path
        The file that tells slides apart: ``path``, or one in that folder.
    mpp : (float, float), optional
        Microns per level-0 pixel (y, x) in place of what the file says.

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

    def __init__(self, source: Source, *, path: Path, file: Path, mpp: tuple[float, float] | None = None) -> None:
        self.path = path
        self._file = file
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

    def __repr__(self) -> str:
        scale = "scale unknown" if self.mpp is None else f"{self.mpp[0]:.4g} x {self.mpp[1]:.4g} um/px"
        return (
            f"<Slide {self.path.name}: {self.shape[0]} x {self.shape[1]} px, {scale}, {len(self.level_shapes)} levels>"
        )

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

    @cached_property
    def quickhash(self) -> str:
        """What identifies the content; see `SlideRef`."""
        return slide_hash(self._file, self.properties)

    @property
    def ref(self) -> SlideRef:
        """The slide's identity, for files made from it."""
        return SlideRef(str(self.path), self.quickhash, self.mpp, self.shape)
