"""What a slide's properties say, made safe to rely on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

_MPP_MIN, _MPP_MAX = 0.01, 20.0
_MPP_MAX_INCH = 5.0
"""Of a scale in pixels per inch: 5080 of them, which no printer is told and no microscope stays below."""

_EDGE_BYTES = 64 * 1024


def slide_mpp(properties: Mapping[str, str]) -> tuple[tuple[float, float] | None, str]:
    """Read microns per level-0 pixel, distrusting what no microscope could have made.

    Parameters
    ----------
    properties : mapping of str to str
        OpenSlide's properties.

    Returns
    -------
    mpp : (float, float) or None
        (y, x), or None where absent or absurd.
    note : str
        Why a value was not trusted, or empty.
    """
    raw_y, raw_x = properties.get("openslide.mpp-y"), properties.get("openslide.mpp-x")
    if raw_y is None or raw_x is None:
        return None, ""
    try:
        y, x = float(raw_y), float(raw_x)
    except ValueError:
        y = x = math.nan
    # pictures often carry a printing resolution (300 dpi is 85 um per pixel) that says nothing about the microscope
    inch = properties.get("tiff.ResolutionUnit") == "inch"
    if all(_MPP_MIN <= value <= (_MPP_MAX_INCH if inch else _MPP_MAX) for value in (y, x)):
        return (y, x), ""
    if inch and min(y, x) > _MPP_MAX_INCH:
        dpi = " x ".join(f"{25_400 / value:.4g}" for value in ((y, x) if y != x else (y,)))
        return None, f"the file's {dpi} pixels per inch are a printing resolution, no scale, and were ignored"
    return None, f"the file's scale of {raw_y} x {raw_x} um per pixel is impossible for a slide and was ignored"


def background_colour(properties: Mapping[str, str]) -> tuple[int, int, int]:
    """Return the (r, g, b) that stands for "nothing was scanned here"; white where the file names none."""
    text = properties.get("openslide.background-color", "").lstrip("#")
    try:
        r, g, b = bytes.fromhex(text)
    except ValueError:
        return 255, 255, 255
    return r, g, b


def scanned_origin(properties: Mapping[str, str]) -> tuple[float, float]:
    """Return level-0 (x, y) of the corner of what was scanned; (0, 0) where the file states none."""
    x, y = (_bound(properties, axis) for axis in "xy")
    return (0.0, 0.0) if x is None or y is None else (x, y)


def scanned_area(properties: Mapping[str, str], shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return where on the slide there is what was scanned.

    Parameters
    ----------
    properties : mapping of str to str
        OpenSlide's properties.
    shape : (int, int)
        Level-0 height and width.

    Returns
    -------
    (float, float, float, float)
        Top, left, height and width, level-0 pixels; the whole slide where the file states none that lies in it.
    """
    left, top = scanned_origin(properties)
    height, width = _bound(properties, "height") or 0.0, _bound(properties, "width") or 0.0
    inside = min(top, left) >= 0 and top + height <= shape[0] and left + width <= shape[1]
    if not inside or min(height, width) < 1:
        return 0.0, 0.0, float(shape[0]), float(shape[1])
    return top, left, height, width


def _bound(properties: Mapping[str, str], name: str) -> float | None:
    try:
        value = float(properties[f"openslide.bounds-{name}"])
    except (KeyError, ValueError):
        return None
    return value if math.isfinite(value) else None


def objective_power(properties: Mapping[str, str]) -> float | None:
    """Return the nominal magnification, or None; for display only, since the true scale is the mpp."""
    try:
        power = float(properties.get("openslide.objective-power", ""))
    except ValueError:
        return None
    return power if math.isfinite(power) and power > 0 else None


def slide_hash(path: Path, properties: Mapping[str, str]) -> str:
    """Return what identifies a slide's content wherever the file lies.

    Parameters
    ----------
    path : pathlib.Path
        The slide file.
    properties : mapping of str to str
        OpenSlide's properties.

    Returns
    -------
    str
        OpenSlide's quickhash-1, or ``"partial:<sha256>"`` over the size and the first and last 64 KiB.
    """
    quick = properties.get("openslide.quickhash-1")
    if quick:
        return quick
    if path.is_dir():  # OME-Zarr: what describes it, and the names and sizes of its pieces
        return f"partial:{_folder_hash(path)}"
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_EDGE_BYTES))
        file.seek(max(0, size - _EDGE_BYTES))
        digest.update(file.read(_EDGE_BYTES))
    return f"partial:{digest.hexdigest()}"


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for entry in sorted(folder.rglob("*")):
        if entry.is_file():
            digest.update(f"{entry.relative_to(folder).as_posix()} {entry.stat().st_size}\n".encode())
            if entry.name in ("zarr.json", ".zattrs", ".zarray", ".zgroup"):
                digest.update(entry.read_bytes())
    return digest.hexdigest()
