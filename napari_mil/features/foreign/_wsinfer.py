"""WSInfer's results: a table with a probability per class for each patch, and the patches' places.

The features of a patch are its probabilities. ``model-outputs-csv/<slide>.csv`` states places and patch size in level-0
pixels; ``patches/<slide>.h5`` adds the resolution that the model was made for.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from ...errors import FeaturesError
from ...files import replacing
from .._features import Features
from .._store import positive_number
from ._checks import Given, check_place, reading
from ._detect import WSINFER_COLUMNS
from ._found import Found, assemble

_PREFIX = "prob_"
_ENCODER = "wsinfer:"
"""Begins the encoder's name; the class names follow, in order, separated by bars."""


def read(path: Path, given: Given) -> Features:
    """Read WSInfer's probabilities as features.

    Parameters
    ----------
    path : Path
        The table, or the file in ``patches/`` whose table lies beside that folder.
    given : Given
        What is known besides.

    Returns
    -------
    Features
        One number per class; the encoder's name lists the classes.
    """
    table = _table_of(path) if h5py.is_hdf5(path) else path
    with reading(table):
        frame = pd.read_csv(table)
        if len(frame) == 0:
            raise ValueError("it has no row")
        box = frame[list(WSINFER_COLUMNS)].to_numpy(np.float64)
        classes = [str(name) for name in frame.columns if str(name).startswith(_PREFIX)]
        values = frame[classes].to_numpy(np.float32)
        sizes = np.unique(box[:, 2:])
        if len(sizes) != 1:
            raise ValueError(f"its patches are {sizes.min():g} to {sizes.max():g} pixels wide and high")
    found = Found(
        values,
        box[:, :2],
        table.stem,
        encoder=_ENCODER + "|".join(name.removeprefix(_PREFIX) for name in classes),
        tile_l0=float(sizes[0]),
        mpp=_spacing(_patches_of(table)),
    )
    features = assemble(found, given, table)
    check_place(features, given, None, table)
    return features


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files that `write` writes: table, patches."""
    return path, _patches_of(path)


def write(path: Path, features: Features) -> tuple[Path, ...]:
    """Write WSInfer's table and patches.

    Parameters
    ----------
    path : Path
        The table; where its folder is called ``model-outputs...``, patches go to ``patches/`` beside that folder, else
        to such a folder within its own.
    features : Features
        One probability per class. WSInfer knows whole level-0 pixels only.

    Returns
    -------
    tuple of Path
        The files written.

    Raises
    ------
    FeaturesError
        Where the features are no probabilities.
    """
    grid, values = features.grid, features.values
    if not ((values >= 0) & (values <= 1)).all():
        raise FeaturesError(
            "WSInfer's files hold probabilities, but these features are not all between 0 and 1. "
            "Convert to another format, such as trident."
        )
    size, xy = round(grid.tile_l0), grid.l0_rc[:, ::-1]
    frame = pd.DataFrame({"minx": xy[:, 0], "miny": xy[:, 1], "width": size, "height": size})
    for name, column in zip(_classes(features), values.T, strict=True):
        frame[_PREFIX + name] = column
    patches = _patches_of(path)
    for file in (path, patches):
        file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(patches, FeaturesError) as partial, h5py.File(partial, "w") as out:
        coords = out.create_dataset("coords", data=np.ascontiguousarray(xy), compression="gzip" if len(xy) else None)
        coords.attrs.update({"patch_size": size, "patch_level": 0, "patch_spacing_um_px": grid.mpp})
    with replacing(path, FeaturesError) as partial:
        frame.to_csv(partial, index=False)
    return path, patches


def _classes(features: Features) -> list[str]:
    names = features.encoder.name.removeprefix(_ENCODER).split("|")
    count = features.values.shape[1]
    known = features.encoder.name.startswith(_ENCODER) and len(names) == count
    return names if known else [str(k) for k in range(count)]


def _patches_of(table: Path) -> Path:
    root = table.parent.parent if table.parent.name.startswith("model-outputs") else table.parent
    return root / "patches" / f"{table.stem}.h5"


def _table_of(patches: Path) -> Path:
    roots = [patches.parent.parent / name for name in ("model-outputs-csv", "model-outputs", "")]
    table = next((root / f"{patches.stem}.csv" for root in roots if (root / f"{patches.stem}.csv").is_file()), None)
    if table is None:
        raise FeaturesError(
            f"{patches} holds WSInfer's places but no probabilities, and {roots[0]} has none of that name. "
            "Give the table (.csv) that WSInfer wrote."
        )
    return table


def _spacing(patches: Path) -> float | None:
    """Return microns per pixel as the model saw them, where the patches' file is there to say it."""
    if not patches.is_file():
        return None
    with reading(patches), h5py.File(patches, "r") as file:
        return positive_number(file["coords"].attrs, "patch_spacing_um_px")
