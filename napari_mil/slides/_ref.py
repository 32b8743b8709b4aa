"""A slide's identity, small enough to be stored in every file made from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SlideRef:
    """Which slide a result was made from.

    Parameters
    ----------
    path : str
        Where the slide lay.
    quickhash : str
        OpenSlide's quickhash-1, or ``"partial:<sha256>"`` of size, first and last 64 KiB where it has none.
    mpp : (float, float) or None
        Microns per level-0 pixel, (y, x), in force when the result was made.
    shape : (int, int)
        Level-0 (height, width) in pixels.
    """

    path: str
    quickhash: str
    mpp: tuple[float, float] | None
    shape: tuple[int, int]
