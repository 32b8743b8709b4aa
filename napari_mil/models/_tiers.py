"""What the two tiers of DTFD-MIL are made of: gated energies, and the means of groups."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._product import linear


class GatedEnergy(nn.Module):
    r"""Gated attention energy :math:`e(h) = w^\top (\tanh(V h + v) \odot \sigma(U h + u)) + b_w`."""

    def __init__(self, length: int, attention_dim: int) -> None:
        super().__init__()
        self.V, self.U = nn.Linear(length, attention_dim), nn.Linear(length, attention_dim)
        self.w = nn.Linear(attention_dim, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Return the energies (n,) of rows (n, length)."""
        return self.of_parts_(*self.parts(h))

    def parts(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return V h + v and U h + u, (n, attention_dim) each, of which energies are made: linear in h."""
        return linear(self.V, h), linear(self.U, h)

    def of_parts_(self, v: Tensor, u: Tensor) -> Tensor:
        """Return the energies (n,) of `parts`, which are used up."""
        energy: Tensor = self.w(torch.tanh_(v) * torch.sigmoid_(u)).squeeze(1)
        return energy


class GroupMeans:
    """The h of each group of each deal, weighted by the softmax of energies over the group, added up block by block."""

    def __init__(self, deals: Tensor, groups: int, like: Tensor, length: int) -> None:
        self._deals, self._start = deals, 0
        self._groups = torch.arange(groups, device=like.device)[:, None]
        self._top = like.new_full((len(deals), groups, 1), torch.finfo(like.dtype).min)
        self._total, self._sum = torch.zeros_like(self._top), like.new_zeros(len(deals), groups, length)

    def add(self, energy: Tensor, h: Tensor) -> None:
        """Add the bag's next rows: energies (n,) and h (n, length)."""
        here = self._deals[:, None, self._start : self._start + len(h)] == self._groups  # (splits, groups, n)
        self._start += len(h)
        inside = torch.where(here, energy, -torch.inf)
        top = torch.maximum(self._top, inside.amax(dim=2, keepdim=True))
        shrink, weights = torch.exp(self._top - top), torch.exp(inside - top)
        self._total = self._total * shrink + weights.sum(dim=2, keepdim=True)
        self._sum = self._sum * shrink + weights @ h
        self._top = top

    def means(self) -> Tensor:
        """Return the means (splits, groups, length); NaN for a group without patches."""
        return self._sum / self._total
