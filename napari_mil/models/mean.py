"""Mean pooling: every patch weighs the same."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ._base import Score
from ._linear import LinearHeadModel, contribution, leave_one_out


class MeanPooling(LinearHeadModel):
    r"""Mean of the projected patches, then a linear head: the baseline that needs no attention.

    .. math::

        h_i = \mathrm{relu}(P x_i + p), \quad s_i = W h_i, \quad
        \mathrm{logits} = \frac{1}{N} \sum_i s_i + b

    Scores (no attention): instance logit :math:`s_i + b`; contribution :math:`s_i / N`;
    leave-one-out :math:`y - y_{-i} = (s_i + b - y) / (N - 1)`.

    The embedding-level mean of Wang et al., "Revisiting multiple instance neural networks", Pattern Recognition 2018.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {"hidden": 256, "dropout": 0.0}
    default_score: ClassVar[str] = "instance_logit"

    def _pool(self, evidence: Tensor, energy: Tensor) -> Tensor:
        return evidence.mean(dim=0)

    def _scores(self, evidence: Tensor, energy: Tensor) -> dict[str, Score]:
        n = len(evidence)
        change = (evidence - evidence.mean(dim=0)) / max(n - 1, 1)  # (N, C)
        return {"contribution": contribution(evidence / n), "leave_one_out": leave_one_out(change)}
