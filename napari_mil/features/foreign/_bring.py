"""Features that were made before, for the slide at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .._features import Features
from ._checks import Given, check_place
from ._convert import read_foreign
from ._origin import check_origin

if TYPE_CHECKING:
    import os

    from ...slides import SlideRef


def bring_features(
    features: Features | str | os.PathLike[str],
    slide: SlideRef,
    *,
    patch_size: float | None = None,
    accept_other_slide: bool = False,
) -> Features:
    """Return features that were made before as those of a slide, or say why they are not.

    Parameters
    ----------
    features : Features or path
        In memory, or a feature file of any known tool.
    slide : SlideRef
        The slide at hand, with the scale in force.
    patch_size : float, optional
        Edge of a patch in level-0 pixels, where a file does not say it.
    accept_other_slide : bool
        Take them for the slide's, whatever speaks against it.

    Returns
    -------
    Features
        Their slide is the one given.

    Raises
    ------
    FeaturesError
        As `read_foreign`.
    """
    if not isinstance(features, Features):
        return read_foreign(Path(features), slide=slide, patch_size=patch_size, accept_other_slide=accept_other_slide)
    made_from = features.slide
    given, what = Given(slide, patch_size, None, accept_other_slide), Path(made_from.path)
    if not accept_other_slide:
        check_origin(made_from, slide, given.mpp_yx, what)
    brought = replace(features, slide=replace(slide, mpp=slide.mpp or made_from.mpp))
    # without a hash they come from a file that need not have known the slide's size
    check_place(brought, given, made_from.shape if made_from.quickhash else None, what)
    return brought
