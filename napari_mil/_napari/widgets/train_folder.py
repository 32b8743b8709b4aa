"""Where a training's results go, and how its model comes into the models folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import NapariMilError
from ...files import replacing

if TYPE_CHECKING:
    from ...training import TrainingResult


def finished_training(out: Path) -> bool:
    """Tell whether a folder holds a finished training, which no other may be mixed with.

    Parameters
    ----------
    out : Path
        The folder.

    Returns
    -------
    bool
        True where its model or its summary is there.
    """
    return any((out / name).exists() for name in ("model.safetensors", "summary.json"))


def stopped_training(out: Path) -> bool:
    """Tell whether a folder holds a training that was stopped and can go on.

    Parameters
    ----------
    out : Path
        The folder.

    Returns
    -------
    bool
        True where there is something to go on from.
    """
    return (out / "resume.pt").is_file() and not finished_training(out)


def free_folder(wanted: Path) -> Path:
    """Return a folder, or the next by number that holds no finished training.

    Parameters
    ----------
    wanted : Path
        The folder; it need not exist.

    Returns
    -------
    Path
        ``wanted``, or "wanted 2" and so on.
    """
    stem, _, last = wanted.name.rpartition(" ")
    first, number = (stem, int(last)) if stem and last.isdecimal() else (wanted.name, 1)
    free = wanted
    while finished_training(free):
        number += 1
        free = wanted.with_name(f"{first} {number}")
    return free


def keep_model(result: TrainingResult, title: str, folder: Path) -> Path:
    """Copy a finished training's model into the models folder, under a name that nobody else has.

    Parameters
    ----------
    result : TrainingResult
        The training.
    title : str
        What the file is called after.
    folder : Path
        The models folder; made if need be.

    Returns
    -------
    Path
        The copy; the one that is there already where it is the same.

    Raises
    ------
    NapariMilError
        If the model is gone or the folder cannot be written.
    """
    stem = "".join(c if c.isalnum() or c in " -_.,()" else "-" for c in title).strip(" .") or "model"
    try:
        content = result.model_path.read_bytes()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NapariMilError(
            f"{error.filename}: {error.strerror}. The model was not copied; train it again."
        ) from error
    path, number = folder / f"{stem}.safetensors", 2
    while path.exists() and path.read_bytes() != content:
        path, number = folder / f"{stem} {number}.safetensors", number + 1
    if not path.exists():
        with replacing(path, NapariMilError) as partial:
            partial.write_bytes(content)
    return path
