"""What a slide is called in layers, tables and the names of files made from it."""

from __future__ import annotations

import os
from pathlib import Path

# One list for the reader's manifest, for names and for messages.
SLIDE_EXTENSIONS: tuple[str, ...] = (
    ".svs",  # Aperio
    ".tif",  # generic tiled, Aperio, Philips, Trestle, Ventana
    ".tiff",  # Philips and generic tiled
    ".dcm",  # DICOM WSI
    ".ndpi",  # Hamamatsu
    ".vms",  # Hamamatsu
    ".vmu",  # Hamamatsu
    ".scn",  # Leica
    ".mrxs",  # MIRAX
    ".svslide",  # Sakura
    ".bif",  # Ventana
    ".czi",  # Zeiss
    ".zarr",  # OME-Zarr, a folder
    ".isyntax",  # Philips, through fastslide
    ".i2syntax",  # Philips, through fastslide
    ".vsi",  # Olympus, through fastslide
    ".qptiff",  # Akoya
)
"""Every file extension that only slides have, or slides too, in lower case; plain pictures (.png, .jpg) besides."""


def slide_name(path: str | os.PathLike[str]) -> str:
    """Return a slide's name: its file's without folder and extension, or its folder's whole name.

    Parameters
    ----------
    path : path or str
        A slide, as a path or as a table names it; it need not exist. Backslashes separate folders, too.

    Returns
    -------
    str
        Dots that are no slide's extension stay: "TCGA-A1.5F2C" and a DICOM folder named by its UID are whole names.
    """
    place = Path(os.fspath(path).replace("\\", "/"))
    if place.name in ("", ".."):
        place = place.resolve()
    stem, suffix = os.path.splitext(place.name)
    return stem if suffix.lower() in {*SLIDE_EXTENSIONS, ".h5"} and not place.is_dir() else place.name
