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
        What made, or would make, the features. One that states neither weights nor version comes from another tool's
        feature file, which does not know them: of it the name counts, where there is one, and of its patches the edge
        in microns, since such a tool may have scaled them on the way into the encoder.

    Returns
    -------
    str or None
        One sentence for a tooltip, or None.
    """
    elsewhere = made_elsewhere(encoder)
    if card.encoder and card.encoder != encoder.name and (encoder.name or not elsewhere):
        return trained_on_another(card, encoder.name)
    if card.in_features != encoder.dim:
        who = f"{encoder.name} gives" if encoder.name else "these features have"
        return f"This model takes {card.in_features} numbers per patch; {who} {encoder.dim}."
    if elsewhere:
        return _check_edge(card, encoder)
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


def trained_on_another(card: ModelCard, name: str) -> str:
    """Say that a model was trained on features of another encoder than the one of this name."""
    return f"This model was trained on features of {card.encoder}, not of {name}."


def made_elsewhere(encoder: EncoderInfo) -> bool:
    """Tell whether features were made by another tool: an encoder loaded here states its weights or its version.

    Parameters
    ----------
    encoder : EncoderInfo
        As a feature file states it.

    Returns
    -------
    bool
        True where neither is known.
    """
    return not (encoder.weights_hash or encoder.version)


def _check_edge(card: ModelCard, encoder: EncoderInfo) -> str | None:
    wanted, found = card.tile_px * card.mpp, encoder.tile_px * encoder.mpp
    if wanted and not math.isclose(wanted, found, rel_tol=_REL_MPP):
        return f"This model was trained on patches of {wanted:g} µm; these are {found:.4g} µm wide."
    return None
