"""Where the features of slides are kept between sessions."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .slides import slide_name

if TYPE_CHECKING:
    from .features import Encoder, EncoderInfo
    from .maps import AttentionMap
    from .slides import SlideRef
    from .tiling import TileGrid


def features_folder() -> Path:
    """Return the folder where the window keeps feature files between sessions.

    Returns
    -------
    Path
        ``NAPARI_MIL_FEATURES`` if set, else a folder in the user's data directory.
    """
    import platformdirs

    named = os.environ.get("NAPARI_MIL_FEATURES")
    return Path(named) if named else platformdirs.user_data_path("napari-mil") / "features"


def features_path(slide: SlideRef, encoder: Encoder, tile_px: int, mpp: float, grid: TileGrid | None = None) -> Path:
    """Return the file in `features_folder` for a slide, an encoder and a tile size; the name tells all three apart.

    Parameters
    ----------
    slide : SlideRef
        The slide.
    encoder : Encoder
        The encoder.
    tile_px : int
        Patch edge in pixels.
    mpp : float
        Microns per patch pixel.
    grid : TileGrid or None
        The tiles: each tissue mask has a file of its own, unless it comes to the same tiles.

    Returns
    -------
    Path
        Where the features are, or will be, kept.
    """
    return _path_of(slide, encoder.info, tile_px, mpp, grid)


def kept_features(amap: AttentionMap) -> Path | None:
    """Return the file in `features_folder` of the features that a map was made from, or None where there is none.

    Parameters
    ----------
    amap : AttentionMap
        Any map.

    Returns
    -------
    Path or None
        An existing file.
    """
    for grid in (amap.grid, None):
        path = _path_of(amap.slide, amap.encoder, amap.grid.tile_px, amap.grid.mpp, grid)
        if path.is_file():
            return path
    return None


def _path_of(slide: SlideRef, info: EncoderInfo, tile_px: int, mpp: float, grid: TileGrid | None) -> Path:
    key = json.dumps([slide.quickhash, slide.mpp, asdict(info), tile_px, mpp])
    if grid is not None:
        key += hashlib.sha256(grid.l0_rc.tobytes() + grid.tissue_fraction.tobytes()).hexdigest()
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    name = re.sub(r"[^\w.-]+", "_", f"{slide_name(slide.path)}-{info.name}")
    return features_folder() / f"{name}-{digest}.h5"
