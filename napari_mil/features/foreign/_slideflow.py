"""Slideflow's bags: ``<slide>.pt``, ``<slide>.index.npz`` with tile centres, ``bags_config.json`` for the folder.

A tile is ``int(tile_um / mpp)`` level-0 pixels wide, and its centre lies half of that, cut down, from its corner. Where
``tile_um`` is a magnification ("20x"), the size follows from the slide's levels and is not in the files.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import FeaturesError
from ...files import replacing
from .._features import Features
from .._store import positive_number
from ._checks import Given, check_place, reading
from ._detect import slideflow_index_of
from ._found import Found, assemble

_CONFIG = "bags_config.json"
_PACKAGES = ("slideflow.", "slideflow_gpl.", "slideflow_noncommercial.")
"""Only what begins so is the path of a class: other names may have dots of their own ("conch_v1.5")."""


def read(path: Path, given: Given) -> Features:
    """Read a bag of Slideflow.

    Parameters
    ----------
    path : Path
        The ``.pt`` file; its index lies beside it.
    given : Given
        What is known besides.

    Returns
    -------
    Features
        The encoder's name is the class of the extractor, less Slideflow's own modules.
    """
    import torch

    with reading(path):
        try:
            bag = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as err:
            raise ValueError("it is no plain tensor") from err
        if not isinstance(bag, torch.Tensor):
            raise ValueError(f"it holds a {type(bag).__name__}, not a tensor")
        values = bag.float().numpy()
    index = slideflow_index_of(path)
    with reading(index), np.load(index, allow_pickle=False) as file:
        centres = file["arr_0"].astype(np.float64)
    config = _config(path.parent)
    tile_px = positive_number(config, "tile_px")
    found = Found(
        values,
        centres,
        path.stem,
        encoder=_extractor(config),
        tile_um=positive_number(config, "tile_um"),
        tile_px=None if tile_px is None else int(tile_px),
        centres=True,
        whole_px=True,
    )
    features = assemble(found, given, path)
    check_place(features, given, None, path)
    return features


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files that `write` writes, less the configuration that a folder's bags share."""
    return path, slideflow_index_of(path)


def write(path: Path, features: Features) -> tuple[Path, ...]:
    """Write a bag of Slideflow, its index, and the folder's configuration.

    Parameters
    ----------
    path : Path
        The ``.pt`` file.
    features : Features
        What to write. Slideflow knows whole microns only; corners stay exact, the edge is rounded.

    Returns
    -------
    tuple of Path
        The files written.

    Raises
    ------
    FeaturesError
        Where the folder holds bags of another encoder, patch size or length.
    """
    import torch

    grid, mpp = features.grid, features.slide.mpp
    um_per_px = grid.tile_um / grid.tile_l0 if mpp is None else mpp[1]
    tile_um = max(1, round(grid.tile_l0 * um_per_px))
    half = int(tile_um / um_per_px + 1e-6) // 2
    config = {
        "extractor": {"class": features.encoder.name, "kwargs": {}},
        "normalizer": None,
        "num_features": features.values.shape[1],
        "tile_px": grid.tile_px,
        "tile_um": tile_um,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    config_path, index = path.parent / _CONFIG, slideflow_index_of(path)
    there = _config(path.parent)
    if there:
        _check_alike(there, config, path.parent)
    with replacing(index, FeaturesError) as partial, partial.open("wb") as out:
        np.savez(out, grid.l0_rc[:, ::-1] + half)
    with replacing(path, FeaturesError) as partial:
        torch.save(torch.from_numpy(np.ascontiguousarray(features.values, np.float32)), partial)
    if not there:
        with replacing(config_path, FeaturesError) as partial:
            partial.write_text(json.dumps(config, indent=1), encoding="utf-8")
    return path, index, config_path


def _check_alike(there: dict[str, Any], config: dict[str, Any], folder: Path) -> None:
    """Raise FeaturesError where the bags of a folder have another encoder or other sizes than a new one."""
    if any(there.get(key) != config[key] for key in ("num_features", "tile_px", "tile_um")):
        raise FeaturesError(f"{folder} holds bags of other patches or features ({_CONFIG}). Choose another folder.")
    theirs, ours = _extractor(there), _extractor(config)
    if theirs != ours:  # the folder's configuration would pass the one for the other
        raise FeaturesError(
            f"{folder} holds bags of {theirs or 'an unknown encoder'} ({_CONFIG}), but these features are of "
            f"{ours or 'an unknown encoder'}. Choose another folder."
        )


def _config(folder: Path) -> dict[str, Any]:
    file = folder / _CONFIG
    if not file.is_file():
        return {}
    with reading(file):
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it is no table of settings")
        return config


def _extractor(config: dict[str, Any]) -> str:
    extractor = config.get("extractor")
    name = str(extractor.get("class", "")) if isinstance(extractor, dict) else ""
    return name.rpartition(".")[2] if name.startswith(_PACKAGES) else name
