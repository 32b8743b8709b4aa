"""The folder that a training writes into: made, held against others, cleared of what a kill left half-written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ExportError
from ..files import cannot_write, claimed

# half-written files as `replacing` names them
_PARTIAL = re.compile(
    r"\.partial-\w{8}-(resume\.pt|(model|fold_\d+)\.safetensors|(metrics|predictions|validation)\.csv|roc\.png|"
    r"summary\.json)"
)


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
