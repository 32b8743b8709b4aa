"""Softmax attention with a query of one linear layer and a leaky rectifier."""

from __future__ import annotations

import torch
from torch import Tensor

from ._product import linear
from .attention import AttentionPooling


class SoftmaxAttentionPooling(AttentionPooling):
    r"""Attention-based MIL pooling whose query does not saturate.

    .. math::

        e_i = w^\top \, \mathrm{LeakyReLU}(V h_i + v) + b_w, \quad \mathrm{LeakyReLU}(t) = \max(t, 0.01\,t)

    and all else, scores included, as in `AttentionPooling`, which has a tanh there: energies grow with the features, so
    that single patches can take nearly all attention.
    """

    def _energy(self, h: Tensor) -> Tensor:
        query = torch.nn.functional.leaky_relu_(linear(self.attention_V, h))  # (n, attention_dim)
        energy: Tensor = self.attention_w(query).squeeze(1)
        return energy  # (n,)
