"""What is remembered of TorchScript encoder files; needs no torch.

A TorchScript file does not say for which patch size and resolution it was trained. That is kept in a note beside it
(``<file name>.json``) or, where its folder cannot be written, in the models folder's ``encoders.json`` under the
file's hash.
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
_ENDINGS = (".torchscript.pt", ".torchscript", ".pt", ".pth", ".ts", ".jit")
_INDEX = "encoders.json"


def encoder_name(path: Path) -> str:
    """Return a TorchScript file's name as an encoder: its file name without the ending."""
    for ending in _ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


def is_torchscript(path: Path) -> bool:
    """Tell a TorchScript archive from plain weights by its table of contents; loads nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def note_path(path: Path) -> Path:
    """Return where a TorchScript file's note lies: beside it, ``<file name>.json``."""
    return path.with_name(path.name + ".json")


def read_note(path: Path, digest: str | None = None) -> dict[str, Any] | None:
    """Return what is remembered of a TorchScript file, or None.

    Parameters
    ----------
    path : Path
        The TorchScript file.
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
        note = entries.get(digest or hash_file(path)) if isinstance(entries, dict) else entries
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


def hash_file(path: Path) -> str:
    """Return the first 16 hex digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise EncoderError(f"{path} cannot be read as JSON ({err}). Correct or delete it.") from err


def _write_json(path: Path, value: object) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
