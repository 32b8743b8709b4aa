"""Find the sample files that ship beside this module."""

from __future__ import annotations

from pathlib import Path


def sample_path(name: str) -> Path:
    """Return the path of a shipped sample file.

    Parameters
    ----------
    name : str
        File name, for example ``"sample-lesion.tif"``.

    Raises
    ------
    FileNotFoundError
        If no such file ships; the message names those that do.
    """
    folder = Path(__file__).resolve().parent
    path = folder / name
    if not path.is_file():
        shipped = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_file() and p.suffix not in {".py", ".pyc"}))
        raise FileNotFoundError(f"no sample file {name!r}; these ship: {shipped or 'none'}")
    return path
