"""CLAM's files: ``h5_files/`` with features and places, ``pt_files/`` without places, ``patches/`` with patch sizes.

The feature file does not say how large its patches are; that stands in the file of the same name in ``patches/``,
as pixels of a level: a patch is ``patch_size * downsample`` (``* custom_downsample``) level-0 pixels wide.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ...errors import FeaturesError
from ...files import replacing
from ...slides import slide_name
from .._features import Features
from .._store import positive_number
from ._checks import Given, check_patch_size, check_place, reading
from ._detect import clam_features_of
from ._found import Found, assemble


def read(path: Path, given: Given) -> Features:
    """Read CLAM's features with places.

    Parameters
    ----------
    path : Path
        A file from ``h5_files/``, or one from ``pt_files/`` whose namesake lies there.
    given : Given
        What is known besides; CLAM never says microns, so the slide's scale must be. A patch size that is given does
        not overrule the file in ``patches/``, but stands in for one of other patches.

    Returns
    -------
    Features
        The encoder is not known.
    """
    if not h5py.is_hdf5(path):
        path = clam_features_of(path)
    with reading(path), h5py.File(path, "r") as file:
        if "features" not in file:
            raise FeaturesError(
                f"{path} holds the places of patches but no features. Give CLAM's file from h5_files/ instead."
            )
        values, coords = file["features"][()].astype(np.float32, copy=False), file["coords"][()]
        attributes = dict(file["coords"].attrs)
    says = path
    if "patch_size" not in attributes:
        says, attributes = _beside(path, coords, given)
    with reading(says):
        tile_l0, tile_px = _size(attributes)
    if tile_l0 is not None:
        check_patch_size(tile_l0, given, says)
    found = Found(values, coords.astype(np.float64), path.stem, tile_l0=tile_l0, tile_px=tile_px)
    features = assemble(found, given, path)
    check_place(features, given, None, path)
    return features


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files that `write` writes: features, tensor, patches."""
    root = path.parent.parent if path.parent.name == "h5_files" else path.parent
    return path, root / "pt_files" / f"{path.stem}.pt", root / "patches" / f"{path.stem}.h5"


def write(path: Path, features: Features) -> tuple[Path, ...]:
    """Write features and places, the tensor that CLAM trains on, and the patch size.

    Parameters
    ----------
    path : Path
        The feature file; where its folder is called ``h5_files``, the other two go to ``pt_files/`` and ``patches/``
        beside that folder, else to such folders within its own.
    features : Features
        What to write. CLAM knows whole level-0 pixels only.

    Returns
    -------
    tuple of Path
        The files written.
    """
    import torch

    _, tensor, patches = files_of(path)
    values = np.ascontiguousarray(features.values, np.float32)
    coords = np.ascontiguousarray(features.grid.l0_rc[:, ::-1])
    for file in (path, tensor, patches):
        file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(patches, FeaturesError) as partial, h5py.File(partial, "w") as out:
        height, width = features.slide.shape
        out.create_dataset("coords", data=coords).attrs.update(
            {
                "patch_size": round(features.grid.tile_l0),
                "patch_level": 0,
                "downsample": (1.0, 1.0),
                "downsampled_level_dim": (width, height),
                "level_dim": (width, height),
                "name": slide_name(features.slide.path),
                "save_path": str(patches.parent),
            }
        )
    with replacing(tensor, FeaturesError) as partial:
        torch.save(torch.from_numpy(values), partial)
    with replacing(path, FeaturesError) as partial, h5py.File(partial, "w") as out:
        out.create_dataset("features", data=values)
        out.create_dataset("coords", data=coords)
    return path, tensor, patches


def _beside(path: Path, coords: NDArray[np.integer[Any]], given: Given) -> tuple[Path, dict[str, Any]]:
    """Return what the file in ``patches/`` says of the patches, and which file that is; nothing where there is none."""
    folders = [path.parent / "patches", path.parent.parent / "patches", path.parent.parent.parent / "patches"]
    names = [path.with_name(f"{path.stem}_patches.h5"), *(folder / f"{path.stem}.h5" for folder in folders)]
    file = next((name for name in names if name.is_file()), None)
    if file is None:
        return path, {}
    with reading(file), h5py.File(file, "r") as patches:
        if np.array_equal(patches["coords"][()], coords):
            return file, dict(patches["coords"].attrs)
    if given.patch_size is not None:
        return path, {}
    raise FeaturesError(
        f"{file} lists other patches than {path}, so its patch size does not count. "
        "Give the size of the patches in level-0 pixels with --patch-size."
    )


def _size(attributes: dict[str, Any]) -> tuple[float | None, int | None]:
    """Return the edge of a patch in level-0 pixels and as the encoder saw it; None where it is not said.

    TRIDENT's file of places, which may lie beside features that lost its attributes, says both. Without its
    downsample a level other than 0 says nothing of level 0.
    """
    if "patch_size" not in attributes:
        return None, None
    size, level = int(attributes["patch_size"]), int(attributes.get("patch_level", 0))
    of_trident = positive_number(attributes, "patch_size_level0")
    if of_trident is not None:
        return of_trident, size
    if "downsample" not in attributes and level > 0:
        return None, size
    along_x, along_y = np.broadcast_to(np.asarray(attributes.get("downsample", 1.0), np.float64), (2,))
    custom = float(attributes.get("custom_downsample", 1))
    return size * float(np.sqrt(along_x * along_y)) * custom, size
