"""The feature file: TRIDENT's HDF5 layout plus one JSON attribute with what it leaves out.

``features`` (N, D) and ``coords`` (N, 2) int64, (x, y) of the top-left corner in level-0 pixels, with TRIDENT's
attributes, so that its readers and those of its followers open the file. The file's attribute ``napari_mil`` holds
the exact grid, encoder, slide and versions, how many tiles were left out because the slide is damaged there, and a
hash of the grid that was asked for; ``tissue_fraction`` (N,) is ours too.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..counting import counted
from ..errors import FeaturesError
from ..slides import SlideRef, slide_name
from ..tiling import TileGrid
from ._features import EncoderInfo, Features
from ._partial import temporary_path

FORMAT = 1
_ROOM_REMEDY = "Free some space or choose another folder, then run again; what is done so far is kept."


def write_features(path: str | Path, features: Features, *, asked: TileGrid | None = None) -> None:
    """Write a feature file, whole or not at all.

    Parameters
    ----------
    path : str or Path
        Where; a file there is replaced once the new one is safely on the disk.
    features : Features
        What to write.
    asked : TileGrid, optional
        The tiles asked for, where the slide could not be read at some of them and ``features.grid`` lacks those.

    Raises
    ------
    FeaturesError
        Where the file cannot be written (no room, no right to).
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_sure_of_room(temporary, features.values.nbytes + 64 * len(features) + 2**20)
        with h5py.File(temporary, "w") as file:
            _fill(file, features, features.grid if asked is None else asked, path)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as err:  # h5py reports a full disk as either
        raise FeaturesError(f"The feature file {path} cannot be written ({_short(err)}). {_ROOM_REMEDY}") from err
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _make_sure_of_room(temporary: Path, size: int) -> None:
    """Raise OSError where a file of a size has no room: a disk that fills under HDF5 takes the process down."""
    with temporary.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size)
                return
            except OSError as err:
                if err.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # of a disk that cannot reserve
                    raise
    if shutil.disk_usage(temporary.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_features(path: str | Path) -> Features:
    """Read a feature file of ours or of TRIDENT.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Features
        A file of TRIDENT has no exact resolution: ``grid.mpp`` then follows its nominal magnification, the slide is
        known by name only, and ``tissue_fraction`` is NaN.

    Raises
    ------
    FeaturesError
        Where the file is missing, damaged, incomplete, or says no patch size.
    """
    path = Path(path)
    if not path.is_file():
        raise FeaturesError(f"There is no feature file {path}. Extract the features first.")
    try:
        with h5py.File(path, "r") as file:
            return _read_open(file, path)
    except (OSError, RuntimeError) as err:
        raise FeaturesError(
            f"{path} cannot be read as a feature file ({_short(err)}); it may be damaged or cut short. "
            "Delete it and extract the features again."
        ) from err
    except (AttributeError, LookupError, TypeError, ValueError) as err:
        raise FeaturesError(
            f"The feature file {path} contradicts itself or lacks something ({_short(err)}). "
            "Extract the features again."
        ) from err


def asked_hash(path: Path) -> str:
    """Return `grid_hash` of the grid that was asked for when a feature file was made; empty where it does not say."""
    try:
        with h5py.File(path, "r") as file:
            return str(json.loads(file.attrs["napari_mil"])["tiles_sha256"])
    except (OSError, RuntimeError, LookupError, TypeError, ValueError):
        return ""


def grid_hash(grid: TileGrid) -> str:
    """Return what tells grids apart: the SHA-256 of all their numbers."""
    numbers = np.array([grid.tile_l0, grid.stride_l0, grid.tile_px, grid.mpp], np.float64)
    parts = numbers.tobytes() + np.ascontiguousarray(grid.l0_rc).tobytes() + grid.tissue_fraction.tobytes()
    return hashlib.sha256(parts).hexdigest()


def describe(grid: TileGrid, encoder: EncoderInfo, slide: SlideRef) -> dict[str, Any]:
    """Return the JSON-able record of a bag's origin that feature files carry; floats stay exact."""
    return {
        "format": FORMAT,
        "grid": {
            "tiles": len(grid),
            "tile_l0": float(grid.tile_l0),
            "stride_l0": float(grid.stride_l0),
            "tile_px": int(grid.tile_px),
            "mpp": float(grid.mpp),
        },
        "encoder": asdict(encoder),
        "slide": asdict(slide),
        "versions": {name: _version(name) for name in ("napari-mil", "torch", "numpy", "h5py", "openslide-python")},
    }


def _fill(file: h5py.File, features: Features, asked: TileGrid, path: Path) -> None:
    grid, slide = features.grid, features.slide
    values = file.create_dataset("features", data=np.ascontiguousarray(features.values, dtype=np.float32))
    coords = file.create_dataset("coords", data=np.ascontiguousarray(grid.l0_rc[:, ::-1], dtype=np.int64))
    file.create_dataset("tissue_fraction", data=grid.tissue_fraction.astype(np.float32, copy=False))
    common = {"name": slide_name(slide.path), "savetodir": str(path.parent)}
    values.attrs.update({**common, "encoder": features.encoder.name})
    coords.attrs.update(
        {
            **common,
            "patch_size": grid.tile_px,
            "patch_size_level0": round(grid.tile_l0),
            "level0_magnification": _magnification(None if slide.mpp is None else sum(slide.mpp) / 2),
            "target_magnification": _magnification(grid.mpp),
            "overlap": round(grid.tile_px * (1 - grid.stride_l0 / grid.tile_l0)),
            "level0_width": slide.shape[1],
            "level0_height": slide.shape[0],
        }
    )
    record = describe(grid, features.encoder, slide)
    record |= {"unreadable_tiles": features.unreadable_tiles, "tiles_sha256": grid_hash(asked)}
    file.attrs["napari_mil"] = json.dumps(record, ensure_ascii=False)


def _read_open(file: h5py.File, path: Path) -> Features:
    for name in ("features", "coords"):
        if not isinstance(file.get(name), h5py.Dataset):
            raise FeaturesError(f"{path} has no dataset '{name}', so it is not a feature file. Choose another file.")
    values: NDArray[np.float32] = file["features"][()].astype(np.float32, copy=False)
    l0_rc = np.ascontiguousarray(file["coords"][()][:, ::-1], dtype=np.int64)
    if values.ndim != 2 or len(values) != len(l0_rc):
        raise FeaturesError(
            f"{path} holds features of shape {values.shape} for {counted(len(l0_rc), 'tile')}, so they cannot be "
            "matched. Extract the features again."
        )
    if "napari_mil" not in file.attrs:
        return _read_trident(file, values, l0_rc, path)
    record = json.loads(file.attrs["napari_mil"])
    if record["format"] > FORMAT:
        raise FeaturesError(f"{path} was written by a newer napari-mil. Update napari-mil to read it.")
    geometry, slide = record["grid"], record["slide"]
    grid = TileGrid(
        l0_rc=l0_rc,
        tile_l0=geometry["tile_l0"],
        stride_l0=geometry["stride_l0"],
        tile_px=geometry["tile_px"],
        mpp=geometry["mpp"],
        tissue_fraction=file["tissue_fraction"][()],
    )
    ref = SlideRef(
        path=slide["path"],
        quickhash=slide["quickhash"],
        mpp=None if slide["mpp"] is None else (slide["mpp"][0], slide["mpp"][1]),
        shape=(slide["shape"][0], slide["shape"][1]),
    )
    return Features(values, grid, EncoderInfo(**record["encoder"]), ref, int(record.get("unreadable_tiles", 0)))


def _read_trident(file: h5py.File, values: NDArray[np.float32], l0_rc: NDArray[np.int64], path: Path) -> Features:
    """Take the grid from TRIDENT's attributes; its own level-0 patch size is used, never recomputed."""
    attributes = file["coords"].attrs
    tile_l0 = positive_number(attributes, "patch_size_level0")
    tile_px = positive_number(attributes, "patch_size")
    magnification = positive_number(attributes, "target_magnification")
    if tile_l0 is None or tile_px is None or magnification is None:
        raise FeaturesError(
            f"{path} does not say how large its patches are (patch_size, patch_size_level0 and target_magnification "
            "on 'coords'). Extract the features again, with napari-mil or TRIDENT."
        )
    overlap = positive_number(attributes, "overlap") or 0.0
    height, width = positive_number(attributes, "level0_height"), positive_number(attributes, "level0_width")
    extent = l0_rc.max(0) + tile_l0 if len(l0_rc) else np.zeros(2)
    grid = TileGrid(
        l0_rc=l0_rc,
        tile_l0=tile_l0,
        stride_l0=tile_l0 * (1 - overlap / tile_px),
        tile_px=int(tile_px),
        mpp=10 / magnification,
        tissue_fraction=np.full(len(l0_rc), np.nan, np.float32),
    )
    encoder = str(file["features"].attrs.get("encoder", ""))
    info = EncoderInfo(encoder, "", "", values.shape[1], grid.tile_px, grid.mpp)
    name = str(attributes.get("name", path.stem))
    return Features(values, grid, info, SlideRef(name, "", None, (int(height or extent[0]), int(width or extent[1]))))


def positive_number(attributes: Mapping[str, Any], name: str) -> float | None:
    """Return a positive, finite number among attributes, or None; TRIDENT writes the word None for what it lacks."""
    try:
        value = float(attributes[name])
    except (KeyError, TypeError, ValueError):
        return None
    return value if 0 < value < math.inf else None


def _magnification(mpp: float | None) -> int | float | str:
    """Return the nominal magnification that other tools expect (10 um/px is 1x), whole where it nearly is."""
    if mpp is None:
        return "None"
    nominal = 10 / mpp
    return round(nominal) if abs(nominal - round(nominal)) < 0.05 * nominal else nominal


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _short(err: BaseException) -> str:
    text = str(err).strip().splitlines()
    return text[0] if text else type(err).__name__
