"""TransMIL: patches attend to one another, and to their neighbours on a square."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from ..errors import ModelError
from ._bag import absorb
from ._base import Score
from ._card import ModelCard
from ._nystrom import NystromAttention
from ._tokens import TokenModel, shares


class TransformerPooling(TokenModel):
    r"""Correlated MIL by a transformer of two Nyström layers with a convolution between them.

    .. math::

        h_i = \mathrm{relu}(P x_i + p), \quad
        T^0 = [t_{\mathrm{class}}, h_1, \dots, h_N, h_1, \dots, h_{s^2 - N}], \quad s = \lceil \sqrt N \rceil

        T^1 = T^0 + \mathrm{NA}_1(\mathrm{LN}(T^0)), \quad
        T^2 = \mathrm{PPEG}(T^1), \quad T^3 = T^2 + \mathrm{NA}_2(\mathrm{LN}(T^2))

        \mathrm{logits} = W\,\mathrm{LN}(T^3)_{\mathrm{class}} + b

    NA is `NystromAttention`. The first patches are repeated to fill a square of s by s; PPEG adds to it depthwise
    convolutions of 7, 5 and 3 patches and lets the class token pass. The order of the patches therefore matters; bags
    come in raster order.

    Scores: attention, the class token's row of the second layer's attention, which is approximate as that is: the mass
    on repeats goes to the patches they repeat, that on the class token and on padding is left off, nothing is below
    nought, each head sums to 1, and the mean of the heads is given (N,). It says which patches were read last, not
    what they changed: for that see `iter_leave_one_out`.

    Shao et al., "TransMIL: transformer based correlated multiple instance learning for whole slide image
    classification", NeurIPS 2021.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {
        "hidden": 512,
        "heads": 8,
        "landmarks": 256,
        "pinv_iterations": 6,
        "dropout": 0.1,
    }
    default_score: ClassVar[str] = "attention"

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        size = {key: int(card.config[key]) for key in ("hidden", "heads", "landmarks", "pinv_iterations")}
        hidden, heads = size["hidden"], size["heads"]
        if hidden % heads:
            raise ModelError(f"hidden ({hidden}) must be a multiple of heads ({heads}).")
        dropout = float(card.config["dropout"])
        self.projection = nn.Linear(card.in_features, hidden)
        self.class_token = nn.Parameter(torch.empty(hidden))
        self.norm1, self.norm2, self.norm = (nn.LayerNorm(hidden) for _ in range(3))
        self.attention1, self.attention2 = (
            NystromAttention(hidden, heads, size["landmarks"], size["pinv_iterations"], dropout) for _ in range(2)
        )
        self.conv7, self.conv5, self.conv3 = (
            nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden) for kernel in (7, 5, 3)
        )
        self.head = nn.Linear(hidden, len(card.class_names))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the class token; see `MILModel.initialise`."""
        nn.init.normal_(self.class_token, 0.0, 1.0, generator)

    def absorb_standardisation(self, mean: Tensor, std: Tensor) -> None:
        """Fold the standardisation into the projection; see `MILModel.absorb_standardisation`."""
        absorb(self.projection, mean, std)

    def _embed(self, rows: Tensor) -> Tensor:
        return torch.relu_(self.projection(rows))

    def _logits(self, h: Tensor) -> Tensor:
        return self._answer(self._tokens(h))

    def _scores(self, h: Tensor) -> tuple[Tensor, dict[str, Score]]:
        tokens = self._tokens(h[None])
        row = self.attention2.first_row(self.norm2(tokens[0]))[:, 1:]  # (heads, s * s)
        mass, repeats = row[:, : len(h)].clone(), row[:, len(h) :]
        mass[:, : repeats.shape[1]] += repeats
        attention = shares(mass.detach())
        return self._answer(tokens)[0], {"attention": Score(attention.float().cpu(), "attention")}

    def _tokens(self, h: Tensor) -> Tensor:
        """Return what the first layer and PPEG make of bags (B, N, hidden): (B, 1 + s * s, hidden)."""
        side = math.isqrt(h.shape[1] - 1) + 1
        first = self.class_token.expand(len(h), 1, -1)
        tokens = torch.cat([first, h, h[:, : side**2 - h.shape[1]]], dim=1)  # (B, 1 + s * s, hidden)
        tokens = tokens + self.attention1(self.norm1(tokens))
        square = tokens[:, 1:].mT.unflatten(2, (side, side))
        return torch.cat([tokens[:, :1], self._ppeg(square).flatten(2).mT], dim=1)

    def _ppeg(self, square: Tensor) -> Tensor:
        """Return the square and its three convolutions added up: as one convolution with the sum of their kernels."""
        kernel = self.conv7.weight + pad(self.conv5.weight, (1,) * 4) + pad(self.conv3.weight, (2,) * 4)
        kernel = kernel + pad(torch.ones_like(kernel[:, :, :1, :1]), (3,) * 4)  # the square itself
        bias = self.conv7.bias + self.conv5.bias + self.conv3.bias  # type: ignore[operator]
        return conv2d(square, kernel, bias, padding=3, groups=len(kernel))

    def _answer(self, tokens: Tensor) -> Tensor:
        """Return the logits (B, C): of the second layer only the class token's row is needed."""
        answer = tokens[:, :1] + self.attention2(self.norm2(tokens), count=1)
        logits: Tensor = self.head(self.norm(answer[:, 0]))
        return logits
