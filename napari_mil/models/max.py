"""Max pooling: for each class one patch decides."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ._base import Score
from ._linear import LinearHeadModel, contribution, leave_one_out


class MaxPooling(LinearHeadModel):
    r"""Largest instance logit of each class: only that one patch influences the prediction.

    .. math::

        h_i = \mathrm{relu}(P x_i + p), \quad s_i = W h_i, \quad
        \mathrm{logit}_c = \max_i s_{ic} + b_c

    Scores (no attention): instance logit :math:`s_i + b`; contribution :math:`s_{ic}` for the first largest patch of
    class c and 0 for all others; leave-one-out the lead of that patch over the second largest, 0 for all others.

    The instance-level maximum of Wang et al., "Revisiting multiple instance neural networks", Pattern Recognition 2018.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {"hidden": 256, "dropout": 0.0}
    default_score: ClassVar[str] = "instance_logit"

    def _pool(self, evidence: Tensor, energy: Tensor) -> Tensor:
        return evidence.max(dim=0).values

    def _scores(self, evidence: Tensor, energy: Tensor) -> dict[str, Score]:
        largest, winner = evidence.max(dim=0, keepdim=True)  # (1, C), (1, C)
        share = torch.zeros_like(evidence).scatter_(0, winner, largest)
        second = evidence.scatter(0, winner, -torch.inf).max(dim=0, keepdim=True).values
        change = torch.zeros_like(evidence).scatter_(0, winner, largest - second)
        return {"contribution": contribution(share), "leave_one_out": leave_one_out(change)}
