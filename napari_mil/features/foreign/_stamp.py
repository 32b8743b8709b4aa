"""STAMP's HDF5: ``feats`` in half precision, ``coords`` (x, y) in microns from the slide's corner.

STAMP takes a slide's scale along x for both axes. Since version 2.1 the file states ``tile_size_um`` and
``tile_size_px``; version 2.0 says ``tile_size`` and ``unit`` "um". Before, places counted pixels of 256/224 microns,
which STAMP itself tells by the tiles' distance, 224.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...errors import FeaturesError
from ...files import replacing
from .._features import Features
from .._store import positive_number
from ._checks import Given, check_place, reading
from ._found import Found, assemble, commonest_distance

_LAYOUT_VERSION = "2.1.0"
"""STAMP's version that brought the attributes written here; every later one takes them."""
_OLD_TILE_PX, _OLD_TILE_UM = 224, 256.0


def read(path: Path, given: Given) -> Features:
    """Read STAMP's features of tiles.

    Parameters
    ----------
    path : Path
        The file.
    given : Given
        What is known besides: the slide's scale, or the patch size, from which the scale follows.

    Returns
    -------
    Features
        Places are rounded to whole level-0 pixels.
    """
    with reading(path), h5py.File(path, "r") as file:
        attributes = dict(file.attrs)
        kind = str(attributes.get("feat_type", "tile"))
        if kind != "tile" or "coords" not in file or "feats" not in file:
            what = f"the features of a whole {kind}" if kind != "tile" else "features without places"
            raise FeaturesError(f"{path} holds {what}, not those of tiles. Give the file from STAMP's preprocessing.")
        values, coords = file["feats"][()].astype(np.float32), file["coords"][()].astype(np.float64)
        tile_um, tile_px, um_per_unit = _unit(attributes, coords, path)
    found = Found(
        values,
        coords * um_per_unit,
        path.stem,
        encoder=str(attributes.get("extractor", "")),
        tile_um=tile_um,
        tile_px=tile_px,
        stride=1.0,
        microns=True,
    )
    features = assemble(found, given, path)
    check_place(features, given, None, path)
    return features


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files that `write` writes."""
    return (path,)


def write(path: Path, features: Features) -> tuple[Path, ...]:
    """Write STAMP's file, features in half precision as STAMP has them.

    Parameters
    ----------
    path : Path
        The file.
    features : Features
        What to write.

    Returns
    -------
    tuple of Path
        The file.

    Raises
    ------
    FeaturesError
        Where a feature is too large for half precision.
    """
    grid, mpp = features.grid, features.slide.mpp
    um_per_px = grid.tile_um / grid.tile_l0 if mpp is None else mpp[1]
    with np.errstate(over="ignore"):
        halves = features.values.astype(np.float16)
    if not np.isfinite(halves).all():
        raise FeaturesError(
            f"Some features are larger than {np.finfo(np.float16).max:g} and do not fit STAMP's half precision. "
            "Convert to another format, such as trident."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, FeaturesError) as partial, h5py.File(partial, "w") as file:
        file["coords"] = (grid.l0_rc[:, ::-1] * um_per_px).astype(np.float32)
        file["feats"] = halves
        file.attrs.update(
            {
                "stamp_version": _LAYOUT_VERSION,
                "extractor": features.encoder.name,
                "unit": "um",
                "tile_size_um": grid.tile_l0 * um_per_px,
                "tile_size_px": grid.tile_px,
                "code_hash": "",
                "feat_type": "tile",
            }
        )
    return (path,)


def _unit(attributes: dict[str, Any], coords: NDArray[np.float64], path: Path) -> tuple[float, int | None, float]:
    """Return the edge of a tile in microns and in pixels, and the microns that one unit of ``coords`` stands for."""
    tile_px = positive_number(attributes, "tile_size_px")
    tile_um = positive_number(attributes, "tile_size_um")
    size = positive_number(attributes, "tile_size")
    if tile_um is None and attributes.get("unit") == "um":
        tile_um = size
    if tile_um is not None:
        return tile_um, None if tile_px is None else int(tile_px), 1.0
    if round(size or commonest_distance(np.rint(coords).astype(np.int64), 4096)) == _OLD_TILE_PX:
        return _OLD_TILE_UM, _OLD_TILE_PX, _OLD_TILE_UM / _OLD_TILE_PX
    raise FeaturesError(
        f"{path} does not say in which unit its places are, nor how large its tiles are (tile_size_um). "
        "Extract the features again with a newer STAMP."
    )
