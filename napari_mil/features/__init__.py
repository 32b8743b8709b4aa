"""Features: encoders, the extraction engine, and the feature file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._catalogue import EncoderEntry as EncoderEntry
    from ._catalogue import check_encoder_name as check_encoder_name
    from ._catalogue import known_encoders as known_encoders
    from ._catalogue import list_encoders as list_encoders
    from ._catalogue import load_encoder as load_encoder
    from ._colour_texture_table import FEATURE_NAMES as FEATURE_NAMES
    from ._device import DeviceChoice as DeviceChoice
    from ._device import choose_device as choose_device
    from ._device import device_options as device_options
    from ._encoder import Encoder as Encoder
    from ._encoder import settle as settle
    from ._encoding import precision as precision
    from ._engine import extract as extract
    from ._engine import iter_extract as iter_extract
    from ._features import EncoderInfo as EncoderInfo
    from ._features import Features as Features
    from ._fitness import fitness as fitness
    from ._folder import models_folder as models_folder
    from ._isolated import iter_extract_isolated as iter_extract_isolated
    from ._patches import iter_batches as iter_batches
    from ._patches import plan_batches as plan_batches
    from ._saving import save_encoder as save_encoder
    from ._store import read_features as read_features
    from ._store import write_features as write_features
    from .foreign import Format as Format
    from .foreign import bring_features as bring_features
    from .foreign import read_foreign as read_foreign
    from .foreign import recognise as recognise
    from .foreign import write_foreign as write_foreign

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_catalogue": ["EncoderEntry", "check_encoder_name", "known_encoders", "list_encoders", "load_encoder"],
        "_colour_texture_table": ["FEATURE_NAMES"],
        "_device": ["DeviceChoice", "choose_device", "device_options"],
        "_encoder": ["Encoder", "settle"],
        "_encoding": ["precision"],
        "_engine": ["extract", "iter_extract"],
        "_features": ["EncoderInfo", "Features"],
        "_fitness": ["fitness"],
        "_folder": ["models_folder"],
        "_isolated": ["iter_extract_isolated"],
        "_patches": ["iter_batches", "plan_batches"],
        "_saving": ["save_encoder"],
        "_store": ["read_features", "write_features"],
        "foreign": ["Format", "bring_features", "read_foreign", "recognise", "write_foreign"],
    },
)
