"""Noisy-And pooling: a class holds once enough of the patches show it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ._base import Score
from ._card import ModelCard
from ._changes import sums_without_each
from ._linear import LinearHeadModel, leave_one_out


class NoisyAndPooling(LinearHeadModel):
    r"""Soft threshold of each class on the mean probability of the patches.

    .. math::

        h_i = \mathrm{relu}(P x_i + p), \quad p_i = \sigma(W h_i + b_W), \quad \bar{p} = \frac{1}{N} \sum_i p_i

        P = \frac{\sigma(a (\bar{p} - b)) - \sigma(-a b)}{\sigma(a (1 - b)) - \sigma(-a b)}, \quad
        \mathrm{logit} = \log \frac{P}{1 - P}

    with the slope a fixed and the threshold :math:`b = \sigma(\beta)` of each class learned from :math:`\beta = 0`. P
    is 0 where no patch shows the class and 1 where all do; with several classes the softmax is over these logits.

    The pooling is not linear in the patches, so that there is no contribution. Scores (no attention): instance logit,
    the logit of a bag of that patch alone, which rises with :math:`p_i`; leave-one-out from
    :math:`\bar{p}_{-i} = (N \bar{p} - p_i) / (N - 1)`.

    Kraus, Ba and Frey, "Classifying and segmenting microscopy images with deep multiple instance learning",
    Bioinformatics 2016, equation 4.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {"hidden": 256, "a": 10.0, "dropout": 0.0}
    default_score: ClassVar[str] = "instance_logit"

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        self.beta = nn.Parameter(torch.zeros(len(card.class_names)))

    def initialise(self, generator: torch.Generator) -> None:
        """Begin with thresholds of a half; see `MILModel.initialise`."""
        nn.init.zeros_(self.beta)

    def _logits(self, evidence: Tensor, energy: Tensor) -> Tensor:
        return self._pool(evidence + self.head.bias, energy)

    def _pool(self, evidence: Tensor, energy: Tensor) -> Tensor:
        return self._noisy_and(torch.sigmoid(evidence).mean(dim=0), torch.sigmoid(-evidence).mean(dim=0))

    def _all_scores(self, evidence: Tensor, energy: Tensor) -> dict[str, Score]:
        scores = super()._all_scores(evidence, energy)  # of what is finite
        s = evidence.detach().cpu().double() + self.head.bias.detach().cpu().double()
        alone = self._noisy_and(torch.sigmoid(s), torch.sigmoid(-s))
        return scores | {"instance_logit": Score(alone.T.float().contiguous(), "instance_logit")}

    def _scores(self, evidence: Tensor, energy: Tensor) -> dict[str, Score]:
        s = evidence + self.head.bias.detach().cpu().double()
        p, q = torch.sigmoid(s), torch.sigmoid(-s)  # (N, C)
        rest = max(len(s) - 1, 1)
        without = self._noisy_and(sums_without_each(p) / rest, sums_without_each(q) / rest)
        return {"leave_one_out": leave_one_out(self._noisy_and(p.mean(dim=0), q.mean(dim=0)) - without)}

    def _noisy_and(self, p: Tensor, q: Tensor) -> Tensor:
        """Return log(P / (1 - P)) of mean probabilities p and q = 1 - p (..., C).

        Differences of sigmoids are taken as products, sigma(u) - sigma(v) = sigma(u) sigma(-v) (1 - exp(v - u)), and q
        comes beside p, so that the logit keeps its digits where P nears 0 or 1.
        """
        a = float(self.card.config["a"])
        b = torch.sigmoid(self.beta.to(p.device, p.dtype))
        p, q = (share.clamp_min(torch.finfo(share.dtype).tiny) for share in (p, q))
        scale = logsigmoid(a * b) - logsigmoid(a * (1 - b))
        return a * (p - b) + scale + torch.log(-torch.expm1(-a * p)) - torch.log(-torch.expm1(-a * q))
