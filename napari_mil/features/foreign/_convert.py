"""Read and write whichever tool's files."""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ...errors import FeaturesError
from ._detect import recognise
from ._format import Format

if TYPE_CHECKING:
    from ...slides import SlideRef
    from .._features import Features


def read_foreign(
    path: str | Path,
    *,
    slide: SlideRef | None = None,
    patch_size: float | None = None,
    slide_mpp: float | None = None,
    accept_other_slide: bool = False,
) -> Features:
    """Read a feature file of any known tool, told by its fields.

    Parameters
    ----------
    path : str or Path
        The file; for wsidata its folder, or one table in it.
    slide : SlideRef, optional
        The slide that it was made from: its scale, and its size to check the tiles against.
    patch_size : float, optional
        Edge of a patch in level-0 pixels, where neither the file nor one beside it says it. It is never guessed.
    slide_mpp : float, optional
        Microns per level-0 pixel, where there is no slide or it does not say; before the slide's own.
    accept_other_slide : bool
        Take the file for ``slide``'s, whatever speaks against it.

    Returns
    -------
    Features
        In raster order, except napari-mil's own files, which stay as they were written. ``tissue_fraction`` is NaN
        where the file does not have it.

    Raises
    ------
    FeaturesError
        Where the file is missing, damaged or of no known tool. Its children: OtherSlideError, PatchSizeUnknownError and
        ScaleUnknownError; the message names the option that helps.
    ValueError
        If ``patch_size`` or ``slide_mpp`` is not a positive number.
    """
    from ._checks import Given

    for name, value in (("patch_size", patch_size), ("slide_mpp", slide_mpp)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive, not {value}")
    path = Path(path)
    if not path.exists():
        raise FeaturesError(f"There is no {path}. Check the path.")
    kind = recognise(path)
    if kind is None:
        known = ", ".join(one.tool for one in Format)
        raise FeaturesError(
            f"{path} is no feature file of {known} or napari-mil, or it is damaged. Choose another file; of a tensor "
            "(.pt), the file with its places must lie where its tool puts it."
        )
    features: Features = _module(kind).read(path, Given(slide, patch_size, slide_mpp, accept_other_slide))
    return features


def write_foreign(
    path: str | Path,
    features: Features,
    format: Format | str,  # noqa: A002
    *,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write features as a tool has them, each file whole or not at all.

    Parameters
    ----------
    path : str or Path
        Where: the feature file, or for wsidata a folder that is not there yet. What a tool keeps beside it is put
        where that tool, and `read_foreign`, look for it.
    features : Features
        What to write.
    format : Format or str
        Whose file.
    overwrite : bool
        Replace files that are there; a wsidata folder never is.

    Returns
    -------
    tuple of Path
        All files written, the asked one first.

    Raises
    ------
    FeaturesError
        Where a file is there already or cannot be written, or the tool cannot hold such features.
    ValueError
        If there is no such format.
    """
    path, module = Path(path), _module(Format(format))
    if path.is_dir():
        raise FeaturesError(f"{path} is a folder that is already there. Choose the name of a new file or folder.")
    there = next((file for file in module.files_of(path) if file.exists()), None)
    if there is not None and not overwrite:
        raise FeaturesError(f"{there} is already there. Choose another place, or replace it with --overwrite.")
    try:
        written: tuple[Path, ...] = module.write(path, features)
    except (OSError, RuntimeError) as err:  # h5py and torch report a full disk as either
        reason = getattr(err, "strerror", None) or err
        raise FeaturesError(f"{path} cannot be written ({reason}). Free some space, or choose another folder.") from err
    return written


def _module(kind: Format) -> ModuleType:
    """Import what reads and writes a format, and with it HDF5, torch or zarr, only now."""
    return import_module(f"._{kind.value}", __package__)
