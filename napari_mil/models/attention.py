"""Attention pooling (ABMIL): the model learns how much each patch weighs."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ._base import Score
from ._card import ModelCard
from ._changes import softmax_changes
from ._linear import LinearHeadModel, contribution, leave_one_out
from ._product import linear


class AttentionPooling(LinearHeadModel):
    r"""Attention-based MIL pooling with a linear head.

    .. math::

        h_i = \mathrm{relu}(P x_i + p), \quad e_i = w^\top \tanh(V h_i + v) + b_w, \quad a = \mathrm{softmax}(e)

        s_i = W h_i, \quad \mathrm{logits} = \sum_i a_i s_i + b \;\; (= W \sum_i a_i h_i + b)

    Scores: attention :math:`a_i` (unsigned, sums to 1); instance logit :math:`s_i + b`; contribution :math:`a_i s_i`
    (signed, sums to logit less bias); leave-one-out
    :math:`y - y_{-i} = \frac{a_i}{1 - a_i} (s_i + b - y)`.

    Ilse, Tomczak and Welling, "Attention-based deep multiple instance learning", ICML 2018, equations 7 and 8, with
    one projection layer before it.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {"hidden": 256, "attention_dim": 128, "dropout": 0.0}
    default_score: ClassVar[str] = "attention"
    attends: ClassVar[bool] = True

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        hidden, attention_dim = int(card.config["hidden"]), int(card.config["attention_dim"])
        self.attention_V = nn.Linear(hidden, attention_dim)
        self.attention_w = nn.Linear(attention_dim, 1)

    def _energy(self, h: Tensor) -> Tensor:
        energy: Tensor = self.attention_w(torch.tanh_(linear(self.attention_V, h))).squeeze(1)
        return energy  # (n,)

    def _pool(self, evidence: Tensor, energy: Tensor) -> Tensor:
        return self.noted(torch.softmax(energy, dim=0)) @ evidence

    def _scores(self, evidence: Tensor, energy: Tensor) -> dict[str, Score]:
        a = torch.softmax(energy, dim=0)  # (N,)
        return {
            "attention": Score(a.float(), "attention"),
            "contribution": contribution(a[:, None] * evidence),
            "leave_one_out": leave_one_out(softmax_changes(evidence, energy[:, None])),
        }
