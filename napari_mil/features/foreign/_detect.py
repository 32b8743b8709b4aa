"""Which tool wrote a file: by the fields in it, whatever its name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from ._format import Format

WSINFER_COLUMNS = ("minx", "miny", "width", "height")
_TRIDENT_MARKS = frozenset({"patch_size_level0", "target_magnification", "level0_magnification"})
_CLAM_MARKS = frozenset({"patch_size", "patch_level"})
_STAMP_MARKS = frozenset({"stamp_version", "unit", "tile_size_um", "tile_size", "feat_type", "extractor"})
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def recognise(path: str | Path) -> Format | None:
    """Tell by its fields which tool wrote a feature file; only small parts of it are read.

    Parameters
    ----------
    path : str or Path
        A file, a wsidata folder, or one of the tables in that folder.

    Returns
    -------
    Format or None
        None for whatever is no feature file of a known tool: missing, damaged, a slide, an attention map, weights.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return Format.wsidata if wsidata_store(path) is not None else None
        with path.open("rb") as file:
            start = file.read(8)
        if start == _HDF5_SIGNATURE:
            return _of_hdf5(path)
        if zipfile.is_zipfile(path):
            return _of_tensor(path)
        return Format.wsinfer if _is_wsinfer_table(path) else None
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, zipfile.BadZipFile):
        return None


def wsidata_store(path: Path) -> Path | None:
    """Return the wsidata folder that a path is, or that the path is a table of; None where it is neither."""
    candidates = [path]
    if path.parent.name == "tables":
        candidates.append(path.parent.parent)
    for folder in candidates:
        if {"tile_spec", "slide_properties"} & set(zarr_attributes(folder)):
            return folder
    return None


def zarr_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a zarr group (version 2 or 3) without zarr; empty where it is none."""
    for name, inner in (("zarr.json", "attributes"), (".zattrs", None)):
        file = folder / name
        if file.is_file():
            found = json.loads(file.read_text(encoding="utf-8"))
            attributes = found.get(inner, {}) if inner and isinstance(found, dict) else found
            return attributes if isinstance(attributes, dict) else {}
    return {}


def clam_features_of(tensor: Path) -> Path:
    """Return where CLAM keeps the features with places of a tensor in ``pt_files/``."""
    return tensor.parent.parent / "h5_files" / f"{tensor.stem}.h5"


def slideflow_index_of(tensor: Path) -> Path:
    """Return where Slideflow keeps the places of a bag."""
    return tensor.with_name(f"{tensor.stem}.index.npz")


def _of_hdf5(path: Path) -> Format | None:
    import h5py

    with h5py.File(path, "r") as file:
        if "scores" in file:  # an attention map of ours
            return None
        own, fields = set(file.attrs), {name for name in file if isinstance(file[name], h5py.Dataset)}
        of_coords = set(file["coords"].attrs) if "coords" in fields else set()
        of_features = set(file["features"].attrs) if "features" in fields else set()
    if "feats" in fields or ("patch_embeddings" in fields and own & _STAMP_MARKS):
        return Format.stamp
    if "coords" not in fields or fields & {"attention_scores"}:
        return None
    if "patch_spacing_um_px" in of_coords:
        return Format.wsinfer
    if "napari_mil" in own or of_coords & _TRIDENT_MARKS or "encoder" in of_features:
        return Format.trident
    return Format.clam if "features" in fields or of_coords >= _CLAM_MARKS else None


def _of_tensor(path: Path) -> Format | None:
    """Tell whose a PyTorch file is by what lies beside it: it says nothing itself."""
    with zipfile.ZipFile(path) as archive:
        names = [name.rpartition("/")[2] for name in archive.namelist()]
    if "data.pkl" not in names or "constants.pkl" in names:  # the latter is TorchScript
        return None
    index = slideflow_index_of(path)
    if index.is_file():
        with zipfile.ZipFile(index) as archive:
            return Format.slideflow if "arr_0.npy" in archive.namelist() else None
    beside = clam_features_of(path)
    return Format.clam if beside.is_file() and _of_hdf5(beside) is Format.clam else None


def _is_wsinfer_table(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.readline(65536).decode("utf-8").lstrip("\ufeff").strip()
    columns = [name.strip('"') for name in header.split(",")]
    return set(columns) >= set(WSINFER_COLUMNS) and any(name.startswith("prob_") for name in columns)
