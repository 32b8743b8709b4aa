"""Which TIFF files are read directly, and what those say of themselves that OpenSlide does not know."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from tifffile import TiffFile, TiffFileError, TiffPage, TiffPageSeries

from ..errors import SlideError
from ._tiff import NotCoveredError, TiffSource

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from ._source import Source

_DIRECT_VENDORS = frozenset({"aperio", "generic-tiff"})
_MAX_DIFFERENCE = 2.0  # grey levels, mean: decoders differ by less in how they enlarge chroma
_SAMPLE_PX = 256
_BROKEN = (TiffFileError, OSError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
"""What tifffile raises on broken files."""

_UM = {"m": 1e6, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "μm": 1.0, "nm": 1e-3, "": 1.0}
_ICC_TAG, _DESCRIPTION_TAG = 34675, 270
_DESCRIPTION_MAX = 100_000


def is_tiff(file: Path) -> bool:
    """Tell from its first bytes whether a file is a TIFF.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with file.open("rb") as opened:
        return opened.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_ome_tiff(file: Path) -> bool:
    """Tell whether a TIFF file carries OME-XML.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    try:
        with _parsed(file) as tiff:
            return bool(tiff.is_ome)
    except NotCoveredError:
        return False


def direct_beside(inner: Source, file: Path) -> TiffSource:
    """Read the pixels of a slide directly that OpenSlide has opened.

    Parameters
    ----------
    inner : Source
        OpenSlide's; it goes on to say what the file is.
    file : pathlib.Path
        The file.

    Returns
    -------
    TiffSource
        Closes ``inner`` with itself.

    Raises
    ------
    NotCoveredError
        If OpenSlide had better read it.
    """
    vendor = inner.properties.get("openslide.vendor", "")
    if vendor not in _DIRECT_VENDORS:
        raise NotCoveredError(f"files of this kind ({vendor}) are not read directly")
    with _parsed(file) as tiff:
        tiled: dict[tuple[int, int], TiffPage] = {}
        for page in tiff.pages:
            if isinstance(page, TiffPage) and page.is_tiled:
                tiled.setdefault((page.imagelength, page.imagewidth), page)
        try:
            levels = [[tiled[shape]] for shape in inner.level_shapes]
        except KeyError as error:
            raise NotCoveredError("its levels are not plain tiled images") from error
        source = TiffSource(
            file, levels, inner=inner, why=f"the tiles of this kind of file ({vendor}) can be decoded directly"
        )
    if vendor == "aperio" and not source.whole:
        raise NotCoveredError("it leaves tiles out, which OpenSlide fills from other levels")
    _compare(source, inner)
    return source


def direct_alone(file: Path) -> TiffSource:
    """Read a TIFF file that OpenSlide does not take: untiled, OME-TIFF, QPTIFF, and those that were cut short.

    Parameters
    ----------
    file : pathlib.Path
        The file.

    Returns
    -------
    TiffSource
        With the scale from OME-XML, Aperio's description or the resolution tags.

    Raises
    ------
    NotCoveredError
        If it holds no picture that can be shown.
    """
    with _parsed(file) as tiff:
        if not tiff.series:
            raise NotCoveredError("it holds no image")
        series = max(tiff.series, key=lambda one: math.prod(one.shape))
        levels = [_colour_pages(level) for level in series.levels]
        first = levels[0][0]
        source = TiffSource(
            file,
            levels,
            properties=_properties(tiff, first),
            icc_profile=first.tags.valueof(_ICC_TAG),
            why="OpenSlide does not read this TIFF whole",
        )
    # a header that promises more than the file lists is damage or a trap
    if not source.listed:
        source.close()
        raise NotCoveredError("it does not list all the pieces that its size calls for")
    return source


@contextmanager
def _parsed(file: Path) -> Iterator[TiffFile]:
    """Open a TIFF's directories; whatever breaks on them means that this way does not cover the file."""
    try:
        with TiffFile(file) as tiff:
            yield tiff
    except _BROKEN as error:
        raise NotCoveredError(f"its structure is damaged or unusual ({error})") from error


def _colour_pages(level: TiffPageSeries) -> list[TiffPage]:
    axes, shape = level.axes, level.shape
    if set(axes) - set("YXSC") or not {"Y", "X"} <= set(axes):
        raise NotCoveredError(f"it is a stack (axes {axes}, {' x '.join(map(str, shape))}), not one picture")
    pages = [page.aspage() for page in level.pages if page is not None]
    if len(pages) not in (1, 3):
        raise NotCoveredError(
            f"it has {len(pages)} colour channels (fluorescence?), and only RGB and grey can be shown"
        )
    return pages


def _compare(source: TiffSource, inner: Source) -> None:
    """Make sure that both read the same pixels, in the middle of the finest level, where tissue is likeliest."""
    level = 0
    tile_h, tile_w = source.level_tiles[level]
    rows, cols = source.level_shapes[level]
    height, width = min(rows, _SAMPLE_PX), min(cols, _SAMPLE_PX)
    # whole tiles only, so that it costs one decoding
    row = min((rows // 2) // tile_h * tile_h, rows - height)
    col = min((cols // 2) // tile_w * tile_w, cols - width)
    try:
        ours = source.read(level, row, col, height, width).astype(np.int16)
        theirs = inner.read(level, row, col, height, width)
    except SlideError:
        return  # damaged there; that is told to whoever looks at the place
    difference = float(np.abs(ours - theirs).mean())
    if difference > _MAX_DIFFERENCE:
        raise NotCoveredError(f"direct decoding gives other colours (by {difference:.1f} grey levels)")


def _properties(tiff: TiffFile, page: TiffPage) -> dict[str, str]:
    found = {"tiff.Compression": page.compression.name, "tiff.Photometric": str(getattr(page.photometric, "name", ""))}
    description = str(page.tags.valueof(_DESCRIPTION_TAG, ""))[:_DESCRIPTION_MAX]
    if description:
        found["tiff.ImageDescription"] = description
    for name in ("Make", "Model", "Software", "DateTime"):
        value = page.tags.valueof(name, None)
        if isinstance(value, str) and value:
            found[f"tiff.{name}"] = value
    scale = _ome_scale(tiff.ome_metadata, page) if tiff.is_ome else _aperio_scale(description)
    if scale is None and not tiff.is_ome:
        scale = _resolution(page)
        unit = {2: "inch", 3: "centimeter"}.get(_unit(page))
        found |= {} if scale is None or unit is None else {"tiff.ResolutionUnit": unit}
    if scale is not None:
        found["openslide.mpp-y"], found["openslide.mpp-x"] = (repr(value) for value in scale)
    return found


def _ome_scale(xml: str | None, page: TiffPage) -> tuple[float, float] | None:
    """Return microns per pixel, (y, x), of that image of an OME-XML text which is a page of the file."""
    try:
        pixels = _pixels_of(fromstring(xml or ""), page)
        if pixels is None:
            return None
        y, x = (
            float(pixels.attrib[f"PhysicalSize{axis}"]) * _UM[pixels.attrib.get(f"PhysicalSize{axis}Unit", "µm")]
            for axis in "YX"
        )
    except (SyntaxError, ValueError, KeyError, DefusedXmlException):  # ParseError is a SyntaxError
        return None
    return y, x


def _pixels_of(root: Element, page: TiffPage) -> Element | None:
    """Return the description of a page: beside the slide a file can hold its label and overview, in any order."""
    size = {"SizeY": str(page.imagelength), "SizeX": str(page.imagewidth)}
    fitting = [
        pixels
        for pixels in root.iterfind("{*}Image/{*}Pixels")
        if all(pixels.attrib.get(name) == edge for name, edge in size.items())
    ]
    begins = [
        data.attrib.get("IFD", "0") for data in (pixels.find("{*}TiffData") for pixels in fitting) if data is not None
    ]
    if str(page.index) in begins and len(begins) == len(fitting):
        return fitting[begins.index(str(page.index))]
    return fitting[0] if fitting else None


def _aperio_scale(description: str) -> tuple[float, float] | None:
    """Return microns per pixel, (y, x), of an Aperio slide that was cut short, which OpenSlide no longer recognises."""
    found = re.search(r"\|\s*MPP\s*=\s*(\d*\.?\d+)", description) if description.startswith("Aperio") else None
    return (float(found[1]),) * 2 if found is not None else None


def _resolution(page: TiffPage) -> tuple[float, float] | None:
    um = {2: 25_400.0, 3: 10_000.0}.get(_unit(page))
    try:
        (yn, yd), (xn, xd) = page.tags.valueof("YResolution"), page.tags.valueof("XResolution")
        return (um * yd / yn, um * xd / xn) if um is not None else None
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _unit(page: TiffPage) -> int:
    return int(page.tags.valueof("ResolutionUnit", 2))
