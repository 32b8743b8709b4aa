"""Sample data: generated slides with known lesions, and the scripts that make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from .cohort import make_cohort as make_cohort
    from .fiducial import fiducial_slide as fiducial_slide
    from .sparse import write_sparse_pyramid as write_sparse_pyramid

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "cohort": ["make_cohort"],
        "fiducial": ["fiducial_slide"],
        "sparse": ["write_sparse_pyramid"],
    },
)
