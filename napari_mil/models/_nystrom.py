"""Attention of many tokens through a few landmarks, after Nyström: memory and time in proportion to the tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

RESIDUAL_KERNEL = 33  # tokens, of the depthwise convolution over the values
_RECOMPUTE_TOKENS = 8192  # from here up a head's inner steps are computed again for gradients instead of kept


class NystromAttention(nn.Module):
    r"""Multi-head self-attention whose matrix is approximated through landmark tokens.

    With tokens padded by zeros in front to a multiple of m (``landmarks``), the landmarks :math:`\tilde q, \tilde k`
    the means of m runs of neighbours, and d the length of a head:

    .. math::

        F = \mathrm{softmax}(q \tilde k^\top / \sqrt d), \quad A = \mathrm{softmax}(\tilde q \tilde k^\top / \sqrt d),
        \quad B = \mathrm{softmax}(\tilde q k^\top / \sqrt d)

        \mathrm{out} = W_o\,[F A^{+} B v + \mathrm{conv}(v)] + b_o

    :math:`A^{+}` is the pseudo-inverse after a few of Razavi's iterations (`pseudo_inverse`). Padding takes part in
    F, A and B, as in the published implementation, so weights trained with that give the same answers here.

    Xiong et al., "Nyströmformer: a Nyström-based algorithm for approximating self-attention", AAAI 2021.

    Parameters
    ----------
    dim, heads, landmarks, iterations : int
        Length of a token, number of heads (a divisor of dim), landmarks m, iterations of the pseudo-inverse.
    dropout : float
        On the output.
    """

    def __init__(self, dim: int, heads: int, landmarks: int, iterations: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.landmarks, self.iterations = heads, landmarks, iterations
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.residual = nn.Conv1d(heads, heads, RESIDUAL_KERNEL, padding=RESIDUAL_KERNEL // 2, groups=heads, bias=False)

    def forward(self, x: Tensor, count: int | None = None) -> Tensor:
        """Return what the first `count` (default: all) of tokens (B, L, dim) become: (B, count, dim)."""
        count = x.shape[1] if count is None else count
        padding = -x.shape[1] % self.landmarks
        x = pad(x, (0, 0, padding, 0))
        q_land, k_land, inverse = self._landmarks(x)
        wanted = slice(padding, padding + count)
        heads = zip(q_land.unbind(1), k_land.unbind(1), inverse.unbind(1), strict=True)
        spare = torch.is_grad_enabled() and x.shape[1] >= _RECOMPUTE_TOKENS
        joined = [
            checkpoint(self._head, x, wanted, head, *parts, use_reentrant=False)
            if spare
            else self._head(x, wanted, head, *parts)
            for head, parts in enumerate(heads)
        ]
        out: Tensor = self.dropout(self.to_out(torch.cat(joined, dim=2)))
        return out

    def first_row(self, x: Tensor) -> Tensor:
        """Return row 0 of the matrix F A+ B of one bag of tokens (L, dim), by head, padding left off: (heads, L)."""
        length = len(x)
        x = pad(x[None], (0, 0, -length % self.landmarks, 0))
        rows = []
        for head, (q_land, k_land, inverse) in enumerate(zip(*(t[0] for t in self._landmarks(x)), strict=True)):
            q_weight, k_weight, _ = self._weights(head)
            q = q_weight @ x[0, -length]  # (d,)
            scale = len(q) ** -0.5
            left = torch.softmax(k_land @ q * scale, dim=0) @ inverse  # (m,)
            right = torch.softmax(q_land @ (x[0] @ k_weight.T).T * scale, dim=1)  # (m, L')
            rows.append((left @ right)[-length:])
        return torch.stack(rows)

    def _weights(self, head: int) -> Tensor:
        return self.to_qkv.weight.view(3, self.heads, -1, self.to_qkv.in_features)[:, head]  # (3, d, dim)

    def _landmarks(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return landmark queries and keys (B, heads, m, d), and the inverse of their attention (B, heads, m, m)."""
        dim = self.to_qkv.in_features
        means = x.view(len(x), self.landmarks, -1, dim).mean(dim=2)  # (B, m, dim)
        q_land, k_land = (
            (means @ weight.T).view(len(x), self.landmarks, self.heads, -1).transpose(1, 2)
            for weight in (self.to_qkv.weight[:dim], self.to_qkv.weight[dim : 2 * dim])
        )
        a = torch.softmax(q_land @ k_land.mT * q_land.shape[-1] ** -0.5, dim=-1)
        return q_land, k_land, pseudo_inverse(a, self.iterations)

    def _head(self, x: Tensor, wanted: slice, head: int, q_land: Tensor, k_land: Tensor, inverse: Tensor) -> Tensor:
        """Return one head's part of the output, (B, count, d): a head at a time keeps the memory low."""
        q_weight, k_weight, v_weight = self._weights(head)
        k, v = x @ k_weight.T, x @ v_weight.T
        below = inverse @ scaled_dot_product_attention(q_land, k, v)  # (B, m, d)
        out = scaled_dot_product_attention(x[:, wanted] @ q_weight.T, k_land, below)
        reach = RESIDUAL_KERNEL // 2
        start = max(0, wanted.start - reach)
        near = v[:, None, start : wanted.stop + reach]
        kernel = self.residual.weight[head, :, :, None]  # along the tokens, the same for each of the d numbers
        local = conv2d(near, kernel[None], padding=(reach, 0))[:, 0]
        return out + local[:, wanted.start - start : wanted.stop - start]


def pseudo_inverse(a: Tensor, iterations: int) -> Tensor:
    """Return the Moore-Penrose inverse of the square matrices of each bag (B, heads, m, m), approximately.

    Razavi et al.'s iteration ``z <- z (13 I - a z (15 I - a z (7 I - a z))) / 4`` from the transpose over the largest
    sum of a row times that of a column, over all heads of a bag.
    """
    rows, columns = a.abs().sum(dim=-1), a.abs().sum(dim=-2)
    z = a.mT / (rows.amax(dim=(1, 2)) * columns.amax(dim=(1, 2)))[:, None, None, None]
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    for _ in range(iterations):
        az = a @ z
        z = z @ (13 * eye - az @ (15 * eye - az @ (7 * eye - az))) / 4
    return z
