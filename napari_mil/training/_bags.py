"""The bags of a cohort, and the one encoder that made them."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil  # type: ignore[import-untyped]

from ..counting import agreed, counted
from ..errors import CohortError
from ..slides import slide_name
from ._leaks import check_duplicates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..features import EncoderInfo
    from ._cohort import Cohort

_SHOWN = 5


class StoredBags(Mapping[str, "NDArray[np.float32]"]):
    """Bags in files, read when they are asked for; those asked for last stay in memory, up to a limit.

    Parameters
    ----------
    files : mapping of str to Path
        Feature file of each slide.
    budget : int
        Most bytes of bags to keep; the bag that is in use may exceed it.

    Attributes
    ----------
    sizes : dict of str to int
        Patches of each bag that was read.
    """

    def __init__(self, files: Mapping[str, Path], budget: int) -> None:
        self._files, self._budget = files, budget
        self._kept: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._bytes = 0
        self.sizes: dict[str, int] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, slide: str) -> NDArray[np.float32]:
        from ..features import read_features

        if slide in self._kept:
            self._kept.move_to_end(slide)
            return self._kept[slide]
        bag = read_features(self._files[slide]).values
        self.keep(slide, bag)
        return bag

    def keep(self, slide: str, bag: NDArray[np.float32]) -> None:
        """Keep a bag that was just read, and let go of those not asked for the longest."""
        self._kept[slide] = bag
        self.sizes[slide] = len(bag)
        self._bytes += bag.nbytes
        while self._bytes > self._budget and self._kept:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """Features of every slide of a cohort.

    Parameters
    ----------
    values : mapping of str to (N, D) float32
        By slide, as the cohort names it; N differs, D does not.
    encoder : EncoderInfo
        What made all of them.
    quickhashes : mapping of str to str
        Hash of each slide's file, where it is known; by it a slide is found that has two names.
    """

    values: Mapping[str, NDArray[np.float32]]
    encoder: EncoderInfo
    quickhashes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.values, StoredBags):  # those were checked when they were read
            for slide, bag in self.values.items():
                _check_bag(slide, bag, self.encoder.dim)
        check_duplicates(self.quickhashes)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Patches of each slide."""
        if isinstance(self.values, StoredBags):
            return self.values.sizes
        return {slide: len(bag) for slide, bag in self.values.items()}


def _check_bag(slide: str, bag: NDArray[np.float32], dim: int) -> None:
    if bag.ndim != 2 or bag.shape[1] != dim:
        raise ValueError(f"the bag of {slide} must be (N, {dim}), not {bag.shape}")
    if len(bag) == 0:
        raise CohortError(f"Slide {slide} has no patches. Remove it from the table or extract it again.")
    if not np.isfinite(bag).all():
        raise CohortError(f"The features of {slide} are not all finite. Extract them again.")


def load_bags(cohort: Cohort, folder: str | os.PathLike[str], *, memory: int | None = None) -> Bags:
    """Read the features of a cohort's slides from a folder.

    Parameters
    ----------
    cohort : Cohort
        The table.
    folder : path
        Holds ``<stem>.h5`` or ``<stem>/features.h5`` for each slide.
    memory : int, optional
        Most bytes of features to keep; half of what is free by default. Those of a larger cohort are read again from
        the files whenever they are needed.

    Returns
    -------
    Bags
        Checked, all of them.

    Raises
    ------
    CohortError
        If slides lack features, the features come from different encoders, hold what is not finite, or one slide is
        listed under two names.
    FeaturesError
        If a feature file cannot be read.
    """
    from ..features import read_features

    files = feature_files(cohort, folder)
    stored = StoredBags(files, psutil.virtual_memory().available // 2 if memory is None else memory)
    made: dict[str, _Made] = {}
    quickhashes = {}
    for slide, file in files.items():
        bag = read_features(file)
        made[slide] = _Made(bag.encoder, bag.grid.tile_px, bag.grid.mpp)
        _check_same(slide, made)
        _check_bag(slide, bag.values, bag.encoder.dim)
        quickhashes[slide] = bag.slide.quickhash
        stored.keep(slide, bag.values)
    return Bags(stored, next(iter(made.values())).encoder, quickhashes)


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
            f"{len(missing):,} of {counted(len(files), 'slide')} {agreed(len(missing), 'has', 'have')} no features in "
            f"{folder}: {shown}. Extract them first (napari-mil extract), or remove the rows."
        )
    return {slide: file for slide, file in files.items() if file is not None}


def _feature_file(folder: Path, stem: str) -> Path | None:
    for file in (folder / f"{stem}.h5", folder / stem / "features.h5"):
        if file.is_file():
            return file
    return None


@dataclass(frozen=True, slots=True)
class _Made:
    """What made a bag."""

    encoder: EncoderInfo
    tile_px: int
    mpp: float

    def __str__(self) -> str:
        return f"{self.encoder.name} {self.encoder.weights_hash}, {self.tile_px} px at {self.mpp:g} µm/px"


def _check_same(slide: str, made: Mapping[str, _Made]) -> None:
    first_slide, first = next(iter(made.items()))
    this = made[slide]
    same = this.encoder.same_features(first.encoder) and this.tile_px == first.tile_px
    if not (same and np.isclose(this.mpp, first.mpp, rtol=0.02)):
        raise CohortError(
            f"The features of {slide} ({this}) and {first_slide} ({first}) were made differently. "
            "Extract all slides with the same encoder, tile size and microns per pixel."
        )
