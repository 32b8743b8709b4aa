"""Whether a model takes a given encoder's features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..features import EncoderInfo
    from ._card import ModelCard

_REL_MPP = 0.02  # scanners of one kind differ by a percent or so; a real mismatch is a factor


def check_fit(card: ModelCard, encoder: EncoderInfo) -> str | None:
    """Say why a model does not take an encoder's features, or None if it does.

    Parameters
    ----------
    card : ModelCard
        The model's card. What it does not know (empty or 0) is not held against the encoder.
    encoder : EncoderInfo
        What made, or would make, the features.

    Returns
    -------
    str or None
        One sentence for a tooltip, or None.
    """
    if card.encoder and card.encoder != encoder.name:
        return f"This model was trained on features of {card.encoder}, not of {encoder.name}."
    if card.in_features != encoder.dim:
        return f"This model takes {card.in_features} numbers per patch; {encoder.name} gives {encoder.dim}."
    if card.encoder_hash and card.encoder_hash != encoder.weights_hash:
        return f"This model was trained with other weights of {encoder.name}."
    if card.encoder_version and card.encoder_version != encoder.version:
        found = encoder.version or "unknown"
        return f"This model was trained with version {card.encoder_version} of {encoder.name}; this is {found}."
    if card.tile_px and card.tile_px != encoder.tile_px:
        return f"This model was trained on patches of {card.tile_px} px; these are {encoder.tile_px} px."
    if card.mpp and not math.isclose(card.mpp, encoder.mpp, rel_tol=_REL_MPP):
        return f"This model was trained at {card.mpp:g} µm/px; these patches are at {encoder.mpp:g} µm/px."
    return None
