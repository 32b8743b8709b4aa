"""Other tools' feature files: recognise, read and write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._bring import bring_features as bring_features
    from ._convert import read_foreign as read_foreign
    from ._convert import write_foreign as write_foreign
    from ._detect import recognise as recognise
    from ._format import Format as Format

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_bring": ["bring_features"],
        "_convert": ["read_foreign", "write_foreign"],
        "_detect": ["recognise"],
        "_format": ["Format"],
    },
)
