"""Where the generated sample slides and the demo models lie, in a wheel or in a checkout."""

from __future__ import annotations

from pathlib import Path

from .errors import NapariMilError

_PACKAGE = Path(__file__).resolve().parent
SAMPLE_SLIDES = ("sample-lesion.tif", "sample-normal.tif")
DEMO_MODELS = ("demo-gated-attention.safetensors", "demo-mean.safetensors")
"""Trained on generated slides only: they show how the tool works and say nothing of patients."""


def sample_folder() -> Path:
    """Return the folder of the sample data.

    Returns
    -------
    Path
        Inside the package when installed from a wheel, beside it in a checkout.

    Raises
    ------
    NapariMilError
        If neither is there.
    """
    for folder in (_PACKAGE / "sample_data", _PACKAGE.parent / "sample_data"):
        if (folder / "sample-lesion.tif").is_file():
            return folder
    raise NapariMilError("The sample data is missing from this installation. Install napari-mil again.")


def sample_file(name: str) -> Path:
    """Return one file of the sample data ("sample-lesion.tif").

    Parameters
    ----------
    name : str
        File name.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    NapariMilError
        If it is not there.
    """
    path = sample_folder() / name
    if not path.is_file():
        raise NapariMilError(f"The sample file {name} is missing from this installation. Install napari-mil again.")
    return path


def demo_model_files() -> list[Path]:
    """Return the demo models that ship, gated attention first; none where the sample data is not installed."""
    try:
        folder = sample_folder()
    except NapariMilError:
        return []
    return [folder / name for name in DEMO_MODELS if (folder / name).is_file()]
