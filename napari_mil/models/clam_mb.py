"""CLAM with an attention branch for each class."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ._base import Score
from ._card import ModelCard
from ._changes import softmax_changes
from ._linear import contribution, leave_one_out
from .clam_sb import ClamSB


class ClamMB(ClamSB):
    r"""Clustering-constrained attention pooling, one attention branch per class.

    .. math::

        e_{ic} = w_c^\top \left( \tanh(V h_i + v) \odot \sigma(U h_i + u) \right) + b_{w,c}, \quad
        a_c = \mathrm{softmax}_i(e_{ic})

        s_i = W h_i, \quad \mathrm{logit}_c = \sum_i a_{ic} s_{ic} + b_c

    and all else as in `ClamSB`. Every score is per class: attention :math:`a_{ic}` (each class sums to 1), instance
    logit :math:`s_{ic} + b_c`, contribution :math:`a_{ic} s_{ic}`, leave-one-out
    :math:`\frac{a_{ic}}{1 - a_{ic}} (s_{ic} + b_c - y_c)`.

    Lu et al., "Data-efficient and weakly supervised computational pathology on whole-slide images", Nature Biomedical
    Engineering 2021.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {**ClamSB.defaults, "instance_classes": "all"}

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        self.attention_w = nn.Linear(int(card.config["attention_dim"]), len(card.class_names))

    def _energy(self, h: Tensor) -> Tensor:
        return self._branch_energies(h)  # (n, C)

    def _pool(self, evidence: Tensor, energy: Tensor) -> Tensor:
        return (self.noted(torch.softmax(energy, dim=0)) * evidence).sum(dim=0)

    def _scores(self, evidence: Tensor, energy: Tensor) -> dict[str, Score]:
        a = torch.softmax(energy, dim=0)  # (N, C)
        return {
            "attention": Score(a.T.float().contiguous(), "attention"),
            "contribution": contribution(a * evidence),
            "leave_one_out": leave_one_out(softmax_changes(evidence, energy)),
        }
