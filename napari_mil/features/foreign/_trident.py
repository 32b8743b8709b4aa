"""TRIDENT's feature files, napari-mil's own among them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from ...errors import FeaturesError
from .._features import Features
from .._partial import claim
from .._store import positive_number, read_features, write_features
from ._checks import Given, check_patch_size, check_place, reading
from ._found import Found, assemble
from ._origin import check_origin


def read(path: Path, given: Given) -> Features:
    """Read a feature file of TRIDENT's layout.

    Parameters
    ----------
    path : Path
        The file.
    given : Given
        What is known besides.

    Returns
    -------
    Features
        Of napari-mil's own files exactly what was written. TRIDENT's nominal magnification counts only where the
        slide's scale is not known.
    """
    with reading(path), h5py.File(path, "r") as file:
        if "features" not in file:
            raise FeaturesError(
                f"{path} holds the places of patches but no features. "
                "Give TRIDENT's file from a folder features_..., or extract the features."
            )
        own = "napari_mil" in file.attrs
        found = None if own else _found(file, path)
    return _own(path, given) if found is None else _of_trident(found, path, given)


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the files that `write` writes."""
    return (path,)


def write(path: Path, features: Features) -> tuple[Path, ...]:
    """Write napari-mil's own file, which TRIDENT's readers take."""
    with claim(path):
        write_features(path, features)
    return (path,)


def _own(path: Path, given: Given) -> Features:
    features = read_features(path)
    made_from = features.slide
    check_patch_size(features.grid.tile_l0, given, path)
    if given.slide is not None:
        if not given.accept:
            check_origin(made_from, given.slide, given.mpp_yx, path)
        features = replace(features, slide=replace(given.slide, mpp=given.mpp_yx or made_from.mpp))
    check_place(features, given, made_from.shape, path)
    return features


def _of_trident(found: Found, path: Path, given: Given) -> Features:
    features = assemble(found, given, path)
    check_place(features, given, found.shape, path)
    return features


def _found(file: h5py.File, path: Path) -> Found:
    attributes = dict(file["coords"].attrs)
    tile_px, overlap = positive_number(attributes, "patch_size"), positive_number(attributes, "overlap") or 0.0
    magnification = positive_number(attributes, "target_magnification")
    height, width = positive_number(attributes, "level0_height"), positive_number(attributes, "level0_width")
    return Found(
        values=file["features"][()].astype(np.float32, copy=False),
        xy=file["coords"][()].astype(np.float64),
        name=str(attributes.get("name", path.stem)),
        encoder=str(file["features"].attrs.get("encoder", "")),
        tile_l0=positive_number(attributes, "patch_size_level0"),
        tile_px=None if tile_px is None else int(tile_px),
        mpp_nominal=None if magnification is None else 10 / magnification,
        stride=None if tile_px is None else 1 - overlap / tile_px,
        shape=None if height is None or width is None else (int(height), int(width)),
    )
