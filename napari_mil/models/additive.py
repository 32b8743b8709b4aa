"""Additive pooling: the prediction is a sum over patches, whatever the network makes of each."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ._bag import absorb, read_rows
from ._base import Score
from ._card import ModelCard
from ._linear import contribution
from ._tokens import TokenModel


class AdditivePooling(TokenModel):
    r"""Attention-weighted patches pass a network one by one; the logits are the sum of what comes out.

    .. math::

        h_i = \mathrm{relu}(P x_i + p), \quad e_i = m(h_i), \quad a = \mathrm{softmax}(e), \quad
        \mathrm{logits} = \sum_i \psi(a_i h_i)

    with m three linear layers with LeakyReLU (slope 0.2) and :math:`\psi` three with ReLU between them.

    Scores: contribution :math:`\psi(a_i h_i)`, signed, per class, which sums to the logit exactly; attention
    :math:`a_i`; instance logit :math:`\psi(h_i)`, the logit of a bag of that patch alone. Without a patch the others'
    attention changes inside :math:`\psi`, so that leaving out has no closed form: see `iter_leave_one_out`.

    Javed et al., "Additive MIL: intrinsically interpretable multiple instance learning for pathology", NeurIPS 2022,
    equation 5, with one projection layer before it and without batch norm, by which the patches of a bag would
    influence one another in training and a bag of one patch could not be trained on.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {
        "hidden": 256,
        "attention_dim": 256,
        "psi_dim": 256,
        "dropout": 0.0,
    }
    default_score: ClassVar[str] = "contribution"
    attends: ClassVar[bool] = True

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        hidden, attention_dim = int(card.config["hidden"]), int(card.config["attention_dim"])
        psi_dim, n_classes = int(card.config["psi_dim"]), len(card.class_names)
        self.projection = nn.Linear(card.in_features, hidden)
        self.dropout = nn.Dropout(float(card.config["dropout"]))
        self.m = nn.Sequential(
            nn.Linear(hidden, attention_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(attention_dim, attention_dim),
            nn.LeakyReLU(0.2),
            nn.Linear(attention_dim, 1),
        )
        self.psi = nn.Sequential(
            nn.Linear(hidden, psi_dim), nn.ReLU(), nn.Linear(psi_dim, psi_dim), nn.ReLU(), nn.Linear(psi_dim, n_classes)
        )

    def initialise(self, generator: torch.Generator) -> None:
        r"""Begin without biases and with He's variance; see `MILModel.initialise`.

        What enters :math:`\psi` is of the order of 1 / N, so that its biases would drown it. Without them
        :math:`\psi(a h) = a \, \psi(h)` at first, for every number of patches.
        """
        for network, slope in ((self.m, 0.2), (self.psi, 0.0)):
            for layer in network:
                if isinstance(layer, nn.Linear):
                    nn.init.kaiming_uniform_(layer.weight, slope, nonlinearity="leaky_relu", generator=generator)
                    nn.init.zeros_(layer.bias)

    def absorb_standardisation(self, mean: Tensor, std: Tensor) -> None:
        """Fold the standardisation into the projection; see `MILModel.absorb_standardisation`."""
        absorb(self.projection, mean, std)

    def _embed(self, rows: Tensor) -> Tensor:
        h = self.dropout(torch.relu_(self.projection(rows)))
        return torch.cat([h, self.m(h)], dim=1)  # (n, hidden + 1): the last column is e

    def _logits(self, h: Tensor) -> Tensor:
        a, share = self._shares(h)
        self.noted(a.T)
        return share.sum(dim=1)  # (B, C)

    def _scores(self, h: Tensor) -> tuple[Tensor, dict[str, Score]]:
        a, share = (found[0] for found in self._shares(h[None]))  # (N,), (N, C)
        alone = self._each(h[:, :-1])
        return share.sum(dim=0), {
            "attention": Score(a.cpu().float(), "attention"),
            "contribution": contribution(share.cpu()),
            "instance_logit": Score(alone.T.cpu().float().contiguous(), "instance_logit"),
        }

    def _shares(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return attention (B, N) and contributions (B, N, C) of bags of embedded patches (B, N, hidden + 1)."""
        a = torch.softmax(h[..., -1], dim=1)
        return a, self._each(a[..., None] * h[..., :-1])

    def _each(self, weighted: Tensor) -> Tensor:
        """Return psi of each of (..., hidden): (..., C), a block of rows at a time."""
        rows = read_rows(weighted.flatten(0, -2), self.projection.weight, self.psi)
        return rows.reshape(*weighted.shape[:-1], -1)
