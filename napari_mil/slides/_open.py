"""From a path to an open Slide, or to one clear sentence why not."""

from __future__ import annotations

import math
import os
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SlideError
from ._name import SLIDE_EXTENSIONS

if TYPE_CHECKING:
    from ._slide import Slide
    from ._source import Source

_READS = (
    "Aperio SVS, Hamamatsu, Leica SCN, MIRAX, Philips, Sakura, Trestle, Ventana, Zeiss CZI, DICOM, TIFF, OME-TIFF, "
    "OME-Zarr, PNG and JPEG; Philips iSyntax, Olympus VSI and Akoya QPTIFF with the extra napari-mil[formats]"
)

_MOST_PX = 2**38
"""Half a million pixels a side: several times the largest slides there are."""

_SLIDE_SIZED_PX = 4096
"""Long edge from which a plain picture is taken for a slide without being told so."""


def can_open(path: str | os.PathLike[str]) -> bool:
    """Tell cheaply whether a path is a slide: a file in a slide format, a picture of a slide's size, a DICOM folder.

    Only headers are looked at, so a file that passes may still be damaged further in. Smaller pictures can be opened,
    too, but are left to other readers.

    Parameters
    ----------
    path : path-like
        A file or folder; it need not exist.

    Returns
    -------
    bool
        False for whatever another reader should take, never an error.
    """
    from openslide import OpenSlide

    try:
        file = _slide_file(Path(path))
        if file is None:
            return False
        if not file.is_dir() and OpenSlide.detect_format(file) is not None:
            return True
        with closing(_other_source(file)) as source:
            # of an OME-Zarr folder that opens it is known that it is no fluorescence, which others show
            return file.is_dir() or len(source.level_shapes) > 1 or max(source.level_shapes[0]) >= _SLIDE_SIZED_PX
    except (OSError, SlideError):
        return False


def open_slide(
    path: str | os.PathLike[str],
    *,
    mpp: float | tuple[float, float] | None = None,
    cache_bytes: int | None = None,
) -> Slide:
    """Open a whole-slide image.

    Parameters
    ----------
    path : path-like
        A slide file, a plain picture, an OME-Zarr folder, or a folder that holds one DICOM slide.
    mpp : float or (float, float), optional
        Microns per level-0 pixel, one number or (y, x); overrides what the file says.
    cache_bytes : int, optional
        Most memory that decoded tiles of the pyramid may hold; by default all slides share 1 GB or an eighth of the
        memory, the smaller (see `limit_tile_cache`).

    Returns
    -------
    Slide
        Close it, or use it as a context manager.

    Raises
    ------
    SlideError
        If the path is missing, unreadable, empty, not a slide, or a damaged one.
    ValueError
        If ``mpp`` or ``cache_bytes`` is not positive.
    """
    scale = None if mpp is None else _checked_mpp(mpp)
    if cache_bytes is not None and cache_bytes <= 0:
        raise ValueError(f"cache_bytes must be positive, not {cache_bytes}")
    asked = Path(path).expanduser()
    try:
        file = _slide_file(asked)
        if file is None:
            raise SlideError(_why_not(asked))
        source = _source(file)
    except OSError as error:
        raise SlideError(f"{asked} cannot be read ({error.strerror}). Check that you may read it.") from error
    rows, cols = source.level_shapes[0]
    if rows * cols > _MOST_PX:
        source.close()
        raise SlideError(
            f"{asked} claims {cols:,} x {rows:,} pixels, more than any slide has. It is damaged; copy it again."
        )
    from ._slide import Slide

    # absolute, so that what is made from the slide can be traced from any folder
    return Slide(source, path=asked.absolute(), file=file, mpp=scale, cache_bytes=cache_bytes)


def _source(file: Path) -> Source:
    """Choose what reads a file: directly what can be, OpenSlide the rest of what it knows, then others."""
    from openslide import OpenSlide

    from ._openslide import OpenSlideSource
    from ._tiff import NotCoveredError
    from ._tiff_open import direct_alone, direct_beside, is_ome_tiff, is_tiff

    kind = None if file.is_dir() else OpenSlide.detect_format(file)
    # of an OME-TIFF OpenSlide sees neither the levels nor the scale
    if kind is None or (kind == "generic-tiff" and is_ome_tiff(file)):
        return _other_source(file)
    try:
        inner = OpenSlideSource(file)
    except SlideError:
        # of a TIFF that was cut short, what is there can be shown
        if is_tiff(file):
            with suppress(NotCoveredError):
                return direct_alone(file)
        raise
    try:
        return direct_beside(inner, file)
    except NotCoveredError as error:
        inner.why = str(error)
        return inner


def _other_source(file: Path) -> Source:
    """Open what OpenSlide does not know."""
    from ._fastslide import FastSlideSource, needs_fastslide
    from ._picture import PictureSource, is_picture
    from ._tiff import NotCoveredError
    from ._tiff_open import direct_alone, is_tiff
    from ._zarr import ZarrSource

    if file.is_dir():
        return ZarrSource(file)
    if is_picture(file):
        return PictureSource(file)
    reason = ""
    if is_tiff(file):
        try:
            return direct_alone(file)
        except NotCoveredError as error:
            reason = str(error)
    if needs_fastslide(file):
        return FastSlideSource(file)
    raise SlideError(_why_not(file, reason))


def _checked_mpp(mpp: float | tuple[float, float]) -> tuple[float, float]:
    y, x = (mpp, mpp) if isinstance(mpp, int | float) else mpp
    if not all(math.isfinite(v) and v > 0 for v in (y, x)):
        raise ValueError(f"mpp must be positive microns per pixel, one number or (y, x), not {mpp}")
    return float(y), float(x)


def _slide_file(path: Path) -> Path | None:
    """Return what is to be read: the file, the OME-Zarr folder, or the first DICOM slide in a folder; else None."""
    from openslide import OpenSlide

    from ._zarr import is_ome_zarr

    if path.is_dir():
        if is_ome_zarr(path):
            return path
        with os.scandir(path) as entries:
            names = sorted(entry.path for entry in entries if entry.name.lower().endswith(".dcm"))
        return next((Path(name) for name in names if OpenSlide.detect_format(name) is not None), None)
    if not path.is_file():
        return None
    # detect_format answers None for a file that may not be read; opening it tells the two apart
    with path.open("rb") as file:
        return path if file.read(1) else None


def _why_not(path: Path, reason: str = "") -> str:
    if not path.exists():
        return f"{path} does not exist. Check the path, and that its drive is connected."
    if path.is_dir():
        return f"{path} is a folder without a DICOM or OME-Zarr slide. Open one slide file in it instead."
    if not path.is_file():
        return f"{path} is no file. Choose a slide file."
    if path.stat().st_size == 0:
        return f"{path} is empty (0 bytes). Copy it again from where it came."
    because = f" ({reason})" if reason else ""
    if path.suffix.lower() in SLIDE_EXTENSIONS:
        return (
            f"{path} is named like a slide but is damaged, cut short, or of a kind that cannot be read{because}. "
            f"Copy it again from the scanner; what can be read is {_READS}."
        )
    return f"{path} is not a whole-slide image{because}. What can be read is {_READS}."
