"""The folder that a training writes into: made, held against others, cleared of what a kill left half-written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ExportError
from ..files import cannot_write, claimed

RESUME_FILE = "resume.pt"
MODEL_FILE = "model.safetensors"
TABLE_FILES = ("metrics.csv", "predictions.csv", "validation.csv", "roc.png", "summary.json")
_FILES = (RESUME_FILE, MODEL_FILE, *TABLE_FILES)
_ENDINGS = ("", ".pt", ".pt2")  # of an encoder, as `save_encoder` names it
# half-written files as `replacing` names them
_PARTIAL = re.compile(rf"\.partial-\w{{8}}-({'|'.join(map(re.escape, _FILES))}|fold_\d+\.safetensors)")


def check_free(out: Path, name: str, *, resume: bool) -> None:
    """Refuse a folder that fine-tuning would write over; a run that goes on may have put there what it holds.

    Parameters
    ----------
    out : Path
        The folder, which need not exist.
    name : str
        Name of the encoder that will be written there; empty where it is not known yet.
    resume : bool
        Whether to go on.

    Raises
    ------
    ExportError
        If it holds a model, or such an encoder, or another file of the run has the encoder's name.
    """
    if any(path.name.lower() in _FILES for path in encoder_files(out, name)):
        raise ExportError(f"An encoder cannot be called {name}: another file of the run is. Choose another name.")
    if resume and (out / RESUME_FILE).exists():
        return
    if (out / MODEL_FILE).exists():
        raise ExportError(f"{out} holds a model already. Choose another folder, or move it away.")
    there = next((path for path in encoder_files(out, name) if name and path.exists()), None)
    if there is not None:
        raise ExportError(f"{there} is there already. Choose another folder or name, or move it away.")


def encoder_files(out: Path, name: str) -> list[Path]:
    """Return where an encoder of that name, and its note, may lie."""
    return [out / f"{name}{ending}{note}" for ending in _ENDINGS for note in ("", ".json")]


@contextmanager
def run_folder(out: Path, encoder: str = "") -> Iterator[None]:
    """Make the folder of a run if need be, and hold it.

    Parameters
    ----------
    out : Path
        The folder.
    encoder : str
        Name of the encoder that the run writes there, if it writes one.

    Raises
    ------
    ExportError
        If it cannot be made or written, or another training writes into it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"Cannot make the folder {out}: {error.strerror}. Choose another one.") from error
    with claimed(out / "training.lock", ExportError, f"Another training writes into {out}", "folder"):
        for path in out.glob(".partial-*"):
            if _PARTIAL.fullmatch(path.name) or _holds_only(path, encoder):
                remove(path)  # left by a training that was killed while it wrote
        yield


def _holds_only(path: Path, encoder: str) -> bool:
    """Tell whether this is a folder in which an encoder of that name was being written or tried."""
    return bool(encoder) and path.is_dir() and all(child.name.startswith(encoder) for child in path.iterdir())


def remove(path: Path) -> None:
    """Remove a file or a folder with all it holds, if it is there.

    Raises
    ------
    ExportError
        If the system refuses.
    """
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(cannot_write(path, error)) from error
