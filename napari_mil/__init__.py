"""See where a MIL model looked on a whole-slide image, and judge whether it was right.

The public names live here and load their room on first use, so that ``import napari_mil`` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .errors import NapariMilError as NapariMilError
    from .features import extract as extract
    from .features import iter_extract as iter_extract
    from .features import load_encoder as load_encoder
    from .features import read_features as read_features
    from .features import write_features as write_features
    from .maps import AttentionMap as AttentionMap
    from .maps import attention_map as attention_map
    from .maps import ensemble_map as ensemble_map
    from .maps import read_map as read_map
    from .models import create_model as create_model
    from .models import load_model as load_model
    from .models import save_model as save_model
    from .pipeline import iter_run as iter_run
    from .pipeline import run as run
    from .progress import Progress as Progress
    from .slides import Slide as Slide
    from .slides import open_slide as open_slide
    from .tiling import find_tissue as find_tissue
    from .tiling import tile as tile

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "errors": ["NapariMilError"],
        "features": ["extract", "iter_extract", "load_encoder", "read_features", "write_features"],
        "maps": ["AttentionMap", "attention_map", "ensemble_map", "read_map"],
        "models": ["create_model", "load_model", "save_model"],
        "pipeline": ["iter_run", "run"],
        "progress": ["Progress"],
        "slides": ["Slide", "open_slide"],
        "tiling": ["find_tissue", "tile"],
    },
)
