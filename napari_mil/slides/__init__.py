"""Slides: open one, read a region, show it lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._cache import limit_tile_cache as limit_tile_cache
    from ._faults import Faults as Faults
    from ._indexing import spans as spans
    from ._jpeg import empty_rgb as empty_rgb
    from ._name import SLIDE_EXTENSIONS as SLIDE_EXTENSIONS
    from ._name import slide_name as slide_name
    from ._open import can_open as can_open
    from ._open import open_slide as open_slide
    from ._pyramid import PyramidLevel as PyramidLevel
    from ._ref import SlideRef as SlideRef
    from ._resample import best_level as best_level
    from ._resample import cover as cover
    from ._resample import read_scaled as read_scaled
    from ._resample import resize_area as resize_area
    from ._resample import resize_windows as resize_windows
    from ._slide import Slide as Slide
    from ._source import UnreadableRegionError as UnreadableRegionError

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_cache": ["limit_tile_cache"],
        "_faults": ["Faults"],
        "_indexing": ["spans"],
        "_jpeg": ["empty_rgb"],
        "_name": ["SLIDE_EXTENSIONS", "slide_name"],
        "_open": ["can_open", "open_slide"],
        "_pyramid": ["PyramidLevel"],
        "_ref": ["SlideRef"],
        "_resample": ["best_level", "cover", "read_scaled", "resize_area", "resize_windows"],
        "_slide": ["Slide"],
        "_source": ["UnreadableRegionError"],
    },
)
