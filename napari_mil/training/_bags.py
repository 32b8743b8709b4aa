"""The bags of a cohort, and the one encoder that made them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import CohortError
from ..slides import slide_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..features import EncoderInfo, Features
    from ._cohort import Cohort

_SHOWN = 5


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """Features of every slide of a cohort.

    Parameters
    ----------
    values : mapping of str to (N, D) float32
        By slide, as the cohort names it; N differs, D does not.
    encoder : EncoderInfo
        What made all of them.
    """

    values: Mapping[str, NDArray[np.float32]]
    encoder: EncoderInfo

    def __post_init__(self) -> None:
        for slide, bag in self.values.items():
            if bag.ndim != 2 or bag.shape[1] != self.encoder.dim:
                raise ValueError(f"the bag of {slide} must be (N, {self.encoder.dim}), not {bag.shape}")
            if len(bag) == 0:
                raise CohortError(f"Slide {slide} has no patches. Remove it from the table or extract it again.")
            if not np.isfinite(bag).all():
                raise CohortError(f"The features of {slide} are not all finite. Extract them again.")


def load_bags(cohort: Cohort, folder: str | os.PathLike[str]) -> Bags:
    """Read the features of a cohort's slides from a folder.

    Parameters
    ----------
    cohort : Cohort
        The table.
    folder : path
        Holds ``<stem>.h5`` or ``<stem>/features.h5`` for each slide.

    Returns
    -------
    Bags
        All of them, in memory.

    Raises
    ------
    CohortError
        If slides lack features, or the features come from different encoders.
    FeaturesError
        If a feature file cannot be read.
    """
    from ..features import read_features

    files = feature_files(cohort, folder)
    bags = {slide: read_features(file) for slide, file in files.items()}
    return Bags({slide: bag.values for slide, bag in bags.items()}, _one_encoder(bags))


def feature_files(cohort: Cohort, folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Find the feature file of every slide of a cohort, without opening any.

    Parameters
    ----------
    cohort : Cohort
        The table.
    folder : path
        As `load_bags` takes it.

    Returns
    -------
    dict of str to Path
        By slide, as the cohort names it.

    Raises
    ------
    CohortError
        If slides lack features; the message names them.
    """
    folder = Path(folder)
    files = {slide: _feature_file(folder, slide_name(slide)) for slide in cohort.slides}
    missing = [slide for slide, file in files.items() if file is None]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
        raise CohortError(
            f"{len(missing)} of {len(files)} slides have no features in {folder}: {shown}. "
            "Extract them first (napari-mil extract), or remove the rows."
        )
    return {slide: file for slide, file in files.items() if file is not None}


def _feature_file(folder: Path, stem: str) -> Path | None:
    for file in (folder / f"{stem}.h5", folder / stem / "features.h5"):
        if file.is_file():
            return file
    return None


def _one_encoder(bags: Mapping[str, Features]) -> EncoderInfo:
    first_slide, first = next(iter(bags.items()))
    for slide, bag in bags.items():
        same = bag.encoder.same_features(first.encoder) and bag.grid.tile_px == first.grid.tile_px
        if not (same and np.isclose(bag.grid.mpp, first.grid.mpp, rtol=0.02)):
            raise CohortError(
                f"The features of {slide} ({_words(bag)}) and {first_slide} ({_words(first)}) were made differently. "
                "Extract all slides with the same encoder, tile size and microns per pixel."
            )
    return first.encoder


def _words(bag: Features) -> str:
    return f"{bag.encoder.name} {bag.encoder.weights_hash}, {bag.grid.tile_px} px at {bag.grid.mpp:g} µm/px"
