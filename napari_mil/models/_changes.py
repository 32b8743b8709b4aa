"""What leaving each patch out does to a softmax or a sum, in closed form and without losing digits.

Closed forms divide by what is left when a patch is gone, which loses all digits where that patch is nearly everything.
Only the largest can be more than a half, so that one is left out for real.
"""

from __future__ import annotations

import torch
from torch import Tensor


def softmax_changes(evidence: Tensor, energy: Tensor) -> Tensor:
    """Return how much softmax-weighted sums fall when patch i is left out and the attention is shared anew.

    Parameters
    ----------
    evidence : (N, C) float64 tensor
        What is summed.
    energy : (N, 1) or (N, C) float64 tensor
        Attention before the softmax over patches, shared by all columns or one each.

    Returns
    -------
    (N, C) tensor
        ``a_i / (1 - a_i) * (evidence_i - pooled)``; nought for a single patch.
    """
    a = torch.softmax(energy, dim=0)
    pooled = (a * evidence).sum(dim=0)  # (C,)
    changes = a / (1 - a).clamp_min(torch.finfo(a.dtype).tiny) * (evidence - pooled)
    if len(a) > 1:
        top = a.argmax(dim=0, keepdim=True)  # (1, 1) or (1, C)
        others = torch.softmax(energy.scatter(0, top, -torch.inf), dim=0)
        left = (others * evidence).sum(dim=0, keepdim=True)  # (1, C)
        changes.scatter_(0, top.expand_as(left), pooled - left)
    return changes


def sums_without_each(terms: Tensor) -> Tensor:
    """Return (N, C): the sum over patches less patch i, from positive terms (N, C)."""
    sums = terms.sum(dim=0) - terms
    top = terms.argmax(dim=0, keepdim=True)
    sums.scatter_(0, top, terms.scatter(0, top, 0.0).sum(dim=0, keepdim=True))
    return sums
