"""Gated attention pooling: ABMIL with a gate that lets a patch be ignored outright."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._card import ModelCard
from ._product import linear
from .attention import AttentionPooling


class GatedAttentionPooling(AttentionPooling):
    r"""Attention-based MIL pooling whose attention passes a learned gate.

    .. math::

        e_i = w^\top \left( \tanh(V h_i + v) \odot \sigma(U h_i + u) \right) + b_w

    and all else, scores included, as in `AttentionPooling`.

    Ilse, Tomczak and Welling, "Attention-based deep multiple instance learning", ICML 2018, equation 9.
    """

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        self.attention_U = nn.Linear(int(card.config["hidden"]), int(card.config["attention_dim"]))

    def _energy(self, h: Tensor) -> Tensor:
        gated = torch.tanh_(linear(self.attention_V, h)) * torch.sigmoid_(linear(self.attention_U, h))
        energy: Tensor = self.attention_w(gated).squeeze(1)
        return energy  # (n,)
