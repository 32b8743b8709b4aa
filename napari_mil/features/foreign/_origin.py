"""Whether what a file of ours says of its slide agrees with the slide at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import OtherSlideError
from ._checks import MADE_FROM, SCALE_TOLERANCE

if TYPE_CHECKING:
    from ...slides import SlideRef


def check_origin(made_from: SlideRef, slide: SlideRef, mpp: tuple[float, float] | None, path: Path) -> None:
    """Raise OtherSlideError where hashes differ, or the slide's scale is another one now.

    Parameters
    ----------
    made_from, slide : SlideRef
        What the features say, and the slide at hand.
    mpp : (float, float) or None
        The slide's scale in force.
    path : Path
        What the features are called in messages.
    """
    if made_from.quickhash and slide.quickhash and made_from.quickhash != slide.quickhash:
        raise OtherSlideError(
            f"{path} was made from another slide ({made_from.path}) than {slide.path}.",
            MADE_FROM,
        )
    if made_from.mpp is not None and mpp is not None and not np.allclose(made_from.mpp, mpp, SCALE_TOLERANCE, 0):
        raise OtherSlideError(
            f"{path} was made at {made_from.mpp[1]:g} microns per pixel of the slide, which is {mpp[1]:g} now.",
            "Give the scale that it was made at with --slide-mpp.",
        )
