"""Softmax-mean gate: the mean of a few linear softmax attentions, the simplest attention there is."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ._base import Score
from ._card import ModelCard
from ._changes import softmax_changes
from ._linear import LinearHeadModel, contribution, leave_one_out


class SoftmaxMeanPooling(LinearHeadModel):
    r"""Attention that is the mean over K linear gates, each a softmax over the patches.

    .. math::

        h_i = \mathrm{relu}(P x_i + p), \quad g_i = G h_i, \quad
        a_i = \frac{1}{K} \sum_k \mathrm{softmax}_i(g_{ik})

        s_i = W h_i, \quad \mathrm{logits} = \sum_i a_i s_i + b

    Scores: attention :math:`a_i` (unsigned, sums to 1); instance logit :math:`s_i + b`; contribution :math:`a_i s_i`
    (signed, sums to logit less bias); leave-one-out, with :math:`A_{ik} = \mathrm{softmax}_i(g_{ik})`,
    :math:`y - y_{-i} = \frac{1}{K} \sum_k \frac{A_{ik}}{1 - A_{ik}} \left( s_i - \sum_j A_{jk} s_j \right)`.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {"hidden": 256, "gates": 8, "dropout": 0.0}
    default_score: ClassVar[str] = "attention"
    attends: ClassVar[bool] = True

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        # without a bias, which no softmax over patches would notice
        self.gate = nn.Linear(int(card.config["hidden"]), int(card.config["gates"]), bias=False)

    def _energy(self, h: Tensor) -> Tensor:
        g: Tensor = self.gate(h)
        return g  # (n, K)

    def _pool(self, evidence: Tensor, energy: Tensor) -> Tensor:
        return self.noted(torch.softmax(energy, dim=0).mean(dim=1)) @ evidence

    def _scores(self, evidence: Tensor, energy: Tensor) -> dict[str, Score]:
        a = torch.softmax(energy, dim=0).mean(dim=1)  # (N,)
        changes = torch.stack([softmax_changes(evidence, g[:, None]) for g in energy.unbind(dim=1)]).mean(dim=0)
        return {
            "attention": Score(a.float(), "attention"),
            "contribution": contribution(a[:, None] * evidence),
            "leave_one_out": leave_one_out(changes),
        }
