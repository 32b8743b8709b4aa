"""Log-sum-exp pooling: between mean and max, as sharply as one wants."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from ._base import Score
from ._linear import LinearHeadModel, leave_one_out


class LsePooling(LinearHeadModel):
    r"""Log of the mean exponential of the instance logits of each class.

    .. math::

        h_i = \mathrm{relu}(P x_i + p), \quad s_i = W h_i, \quad
        \mathrm{logit}_c = \frac{1}{r} \log \frac{1}{N} \sum_i e^{r s_{ic}} + b_c

    r towards nought gives the mean, large r the maximum. The pooling is not linear in the patches, so that there is
    no contribution. Scores: instance logit :math:`s_i + b`; attention :math:`a_{ic} = \mathrm{softmax}_i(r s_{ic})`,
    per class, the derivative of the logit after the instance logit (unsigned, sums to 1); leave-one-out
    :math:`y - y_{-i} = -\frac{1}{r} \left( \log(1 - a_{ic}) + \log \frac{N}{N - 1} \right)`.

    Pinheiro and Collobert, "From image-level to pixel-level labeling with convolutional networks", CVPR 2015,
    equation 3; its r is 5.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {"hidden": 256, "r": 5.0, "dropout": 0.0}
    default_score: ClassVar[str] = "instance_logit"

    def _pool(self, evidence: Tensor, energy: Tensor) -> Tensor:
        r = float(self.card.config["r"])
        return (torch.logsumexp(r * evidence, dim=0) - math.log(len(evidence))) / r

    def _scores(self, evidence: Tensor, energy: Tensor) -> dict[str, Score]:
        r, n = float(self.card.config["r"]), len(evidence)
        scaled = r * evidence
        a = torch.softmax(scaled, dim=0)  # (N, C)
        total = torch.logsumexp(scaled, dim=0)
        left = total + torch.log1p(-a)
        # 1 - a_i has no digits left where a_i nears 1, as only the largest can: without it the rest is summed anew
        top = scaled.argmax(dim=0, keepdim=True)
        left.scatter_(0, top, torch.logsumexp(scaled.scatter(0, top, -torch.inf), dim=0, keepdim=True))
        changes = (total - left + math.log(max(n - 1, 1) / n)) / r
        return {"attention": Score(a.T.float().contiguous(), "attention"), "leave_one_out": leave_one_out(changes)}
