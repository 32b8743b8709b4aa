"""What is remembered of encoders in files; needs no torch.

A TorchScript file or an exported program does not say for which patch size and resolution it was trained. That is kept
in a note beside it (``<file name>.json``) or, where its folder cannot be written, in the models folder's
``encoders.json`` under the file's hash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import EncoderError
from ._folder import models_folder

_log = logging.getLogger(__name__)
_ENDINGS = (".torchscript.pt", ".torchscript", ".pt2", ".pt", ".pth", ".ts", ".jit")
_INDEX = "encoders.json"


def encoder_name(path: Path) -> str:
    """Return an encoder file's name: its file name without the ending."""
    for ending in _ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


def encoder_kind(path: Path) -> str:
    """Tell what kind of encoder a file or folder is, by its contents; loads nothing.

    Returns
    -------
    str
        "torchscript", "exported", "timm folder", or "" for anything else, such as weights alone.
    """
    if path.is_dir():
        config = path / "config.json"
        named = config.is_file() and isinstance(read := _json_or_none(config), dict) and "architecture" in read
        return "timm folder" if named and weights_file(path) != path else ""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):  # damaged in its directory
        return ""
    if any(name.endswith("/constants.pkl") for name in names):
        return "torchscript"
    return "exported" if any(name.endswith("/models/model.json") for name in names) else ""


def weights_file(path: Path) -> Path:
    """Return the file that holds an encoder's weights: itself, or of its folder the one that timm takes."""
    if not path.is_dir():
        return path
    usual = path / "model.safetensors"
    return usual if usual.is_file() else next(iter(sorted(path.glob("*.safetensors"))), path)


def note_path(path: Path) -> Path:
    """Return where an encoder's note lies: beside it, ``<file name>.json``."""
    return path.with_name(path.name + ".json")


def read_note(path: Path, digest: str | None = None) -> dict[str, Any] | None:
    """Return what is remembered of an encoder file, or None.

    Parameters
    ----------
    path : Path
        The file or folder.
    digest : str, optional
        Its hash where already known; else it is computed if the note is not beside the file.

    Raises
    ------
    EncoderError
        Where a note is there but is not one, or lacks a usable tile_px or mpp.
    """
    beside, index = note_path(path), models_folder() / _INDEX
    note: Any = None
    if beside.is_file():
        source, note = beside, _read_json(beside)
    elif index.is_file():
        source, entries = index, _read_json(index)
        note = entries.get(digest or hash_file(weights_file(path))) if isinstance(entries, dict) else entries
    if note is None:
        return None
    if not isinstance(note, dict) or not _positive(note.get("tile_px")) or not _positive(note.get("mpp")):
        raise EncoderError(
            f"{source} does not say tile_px and mpp of {path.name} as positive numbers. "
            "Correct it, or delete it and give --tile-px and --encoder-mpp again."
        )
    return note


def write_note(path: Path, note: Mapping[str, Any], digest: str) -> None:
    """Remember a note beside the file, or in the models folder where that cannot be written."""
    try:
        _write_json(note_path(path), dict(note))
        return
    except OSError:
        pass
    index = models_folder() / _INDEX
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        entries = _read_json(index) if index.is_file() else {}
        _write_json(index, {**entries, digest: dict(note)})
    except OSError as err:
        _log.warning("The patch size of %s cannot be remembered (%s); it must be given again next time.", path, err)


def colours_of(note: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation by which a note has colours prepared; where it has not, what changes none."""
    mean, std = note.get("mean", (0.0, 0.0, 0.0)), note.get("std", (1.0, 1.0, 1.0))
    return tuple(float(v) for v in mean), tuple(float(v) for v in std)


def are_plain(mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    """Whether colours prepared so are left as they are."""
    return not any(mean) and set(std) == {1.0}


def hash_file(path: Path) -> str:
    """Return the first 16 hex digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def _json_or_none(path: Path) -> Any:
    try:
        return _read_json(path)
    except EncoderError:
        return None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise EncoderError(f"{path} cannot be read as JSON ({err}). Correct or delete it.") from err


def _write_json(path: Path, value: object) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
