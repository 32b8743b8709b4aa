"""What is held against a file of another tool: what the caller knows, and the slide's size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...counting import agreed, counted
from ...errors import FeaturesError, OtherSlideError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...slides import SlideRef
    from .._features import Features

MADE_FROM = "Give the slide that it was made from with --slide."
SCALE_TOLERANCE = 0.02
SIZE_TOLERANCE_PX = 1.0
"""Tools round patch sizes to whole pixels, up or down."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the caller knows beside the file.

    Parameters
    ----------
    slide : SlideRef or None
        The slide, where it is at hand.
    patch_size : float or None
        Edge of a patch in level-0 pixels.
    slide_mpp : float or None
        Microns per level-0 pixel.
    accept : bool
        Take the file for the slide's whatever speaks against it, knowingly.
    """

    slide: SlideRef | None
    patch_size: float | None
    slide_mpp: float | None
    accept: bool = False

    @property
    def mpp_yx(self) -> tuple[float, float] | None:
        """Microns per level-0 pixel, (y, x)."""
        if self.slide_mpp is not None:
            return self.slide_mpp, self.slide_mpp
        return None if self.slide is None else self.slide.mpp


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a damaged or contradictory file raises into one sentence with a remedy."""
    try:
        yield
    except (OSError, RuntimeError) as err:
        raise FeaturesError(
            f"{path} cannot be read ({_short(err)}); it may be damaged or cut short. Copy it again, or make it again."
        ) from err
    except (AttributeError, LookupError, TypeError, ValueError) as err:
        raise FeaturesError(
            f"{path} contradicts itself or lacks something ({_short(err)}). Make it again with the tool that wrote it."
        ) from err


def matched(values: NDArray[np.float32], xy: NDArray[np.float64], path: Path) -> None:
    """Raise FeaturesError unless there is one row of features for each place."""
    if values.ndim != 2 or xy.ndim != 2 or xy.shape[1] != 2 or len(values) != len(xy):
        raise FeaturesError(
            f"{path} holds features of shape {values.shape} for places of shape {xy.shape}, which cannot be matched. "
            "Make it again with the tool that wrote it."
        )


def check_place(features: Features, given: Given, stated: tuple[int, int] | None, path: Path) -> None:
    """Raise OtherSlideError where tiles lie outside the slide, or the file states another slide's size.

    A tile may hang over the right and lower edge, as tools that pad write it; its corner must lie on the slide.
    """
    slide = given.slide
    if slide is not None and stated not in (None, slide.shape) and not given.accept:
        raise OtherSlideError(
            f"{path} was made from a slide of {_size(stated)}, but {slide.path} has {_size(slide.shape)}.",
            MADE_FROM,
        )
    l0_rc, shape = features.grid.l0_rc, features.slide.shape
    outside = (l0_rc < 0).any(axis=1)
    if slide is not None or stated is not None:
        outside |= (l0_rc >= np.array(shape)).any(axis=1)
    if outside.any() and not given.accept:
        row, col = l0_rc[outside][0]
        raise OtherSlideError(
            f"{int(outside.sum()):,} of {counted(len(l0_rc), 'tile')} of {path} {agreed(outside.sum(), 'lies', 'lie')} "
            f"outside the slide of {shape[1]} x {shape[0]} px (one at x {col}, y {row}): it belongs to another slide, "
            "or slide scale or patch size are wrong.",
            "Give the slide that it was made from with --slide, its scale with --slide-mpp, or the size with "
            "--patch-size.",
        )
    if not np.isfinite(features.values).all():
        bad = int((~np.isfinite(features.values)).any(axis=1).sum())
        raise FeaturesError(
            f"{bad:,} of {counted(len(l0_rc), 'tile')} of {path} {agreed(bad, 'has', 'have')} features that are not "
            "finite numbers. Extract the features again."
        )


def check_patch_size(stated: float, given: Given, path: Path) -> None:
    """Raise FeaturesError where the caller names another patch size than the file."""
    if given.patch_size is not None and abs(given.patch_size - stated) > SIZE_TOLERANCE_PX:
        raise FeaturesError(
            f"{path} says that its patches are {stated:g} level-0 pixels wide, not {given.patch_size:g}. "
            "Leave out --patch-size, or give the slide that it was made from."
        )


def _size(shape: tuple[int, int] | None) -> str:
    return f"{shape[1]} x {shape[0]} px" if shape else ""


def _short(err: BaseException) -> str:
    text = str(err).strip().splitlines()
    return text[0] if text else type(err).__name__
