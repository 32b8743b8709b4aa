"""TDA-MIL: a second look at the bag, guided from the top by what the first look found relevant."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, scaled_dot_product_attention

from ..errors import ModelError
from ._bag import absorb
from ._base import Score
from ._card import ModelCard
from ._tokens import TokenModel, shares


class TopDownPooling(TokenModel):
    r"""Top-down attention MIL. An independent re-implementation; parity with the authors' code is not established.

    .. math::

        X^0 = [t_{\mathrm{class}}, P x_1 + p, \dots, P x_N + p]

    Pass 1 (bottom-up), layers l = 1..L, each with :math:`Z = \mathrm{LN}(X^{l-1})`:

    .. math::

        Y = X^{l-1} + W_O\,\mathrm{MSA}(W_Q Z, W_K Z, W_V Z), \quad X^l = Y + \mathrm{MLP}(\mathrm{LN}(Y)), \quad
        x_{\mathrm{BU}} = \mathrm{LN}(X^L)

    Selection by the task token T, and feedback from the last layer down:

    .. math::

        s_i = \mathrm{clamp}(\cos(x_{\mathrm{BU},i}, T), 0, 1), \quad s_{\mathrm{class}} = 1, \quad
        x_{\mathrm{TD}}^L = D_L(C (s_i x_{\mathrm{BU},i})), \quad x_{\mathrm{TD}}^{l} = D_l(x_{\mathrm{TD}}^{l+1})

    with the channel transform C (a matrix) and decoders :math:`D_l`, MLPs of two layers. Pass 2 repeats the layers with
    the same weights from the same :math:`X^0`, with values :math:`W_V (Z + x_{\mathrm{TD}}^l)`:

    .. math::

        \mathrm{logits} = W\,\mathrm{LN}(X^L)_{\mathrm{class}} + b

    The order of the patches does not matter. Attention is exact, so time grows with the square of the patches; memory
    does not.

    Scores: relevance :math:`s_i` in [0, 1], on its own scale; attention, the class token's row of the last layer of
    pass 2 over the patches, mean of the heads (sums to 1). What a patch changes: see `iter_leave_one_out`.

    Written from the equations of TDA-MIL (MICCAI 2025) and of Shi, Darrell and Wang, "Top-down visual attention from
    analysis by synthesis", CVPR 2023, from which the feedback comes.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {
        "hidden": 512,
        "layers": 2,
        "heads": 8,
        "mlp_ratio": 4,
        "dropout": 0.1,
    }
    default_score: ClassVar[str] = "relevance"

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        hidden, heads = int(card.config["hidden"]), int(card.config["heads"])
        if hidden % heads:
            raise ModelError(f"hidden ({hidden}) must be a multiple of heads ({heads}).")
        wide, dropout = int(card.config["mlp_ratio"]) * hidden, float(card.config["dropout"])
        layers = range(int(card.config["layers"]))
        self.projection = nn.Linear(card.in_features, hidden)
        self.class_token, self.task_token = (nn.Parameter(torch.empty(hidden)) for _ in range(2))
        self.layers = nn.ModuleList(_Layer(hidden, heads, wide, dropout) for _ in layers)
        self.norm = nn.LayerNorm(hidden)
        self.channels = nn.Linear(hidden, hidden, bias=False)  # C
        self.decoders = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden)) for _ in layers
        )
        self.head = nn.Linear(hidden, len(card.class_names))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw class and task token; see `MILModel.initialise`."""
        for token in (self.class_token, self.task_token):
            nn.init.normal_(token, 0.0, 1.0, generator)

    def absorb_standardisation(self, mean: Tensor, std: Tensor) -> None:
        """Fold the standardisation into the projection; see `MILModel.absorb_standardisation`."""
        absorb(self.projection, mean, std)

    def _embed(self, rows: Tensor) -> Tensor:
        embedded: Tensor = self.projection(rows)
        return embedded

    def _logits(self, h: Tensor) -> Tensor:
        return self._answer(h)[0]

    def _scores(self, h: Tensor) -> tuple[Tensor, dict[str, Score]]:
        logits, relevance, entered = self._answer(h[None])
        rows = self.layers[-1].first_row(entered[0])[:, 1:]  # type: ignore[operator]
        scores = {
            "relevance": Score(relevance[0].float().cpu(), "relevance"),
            "attention": Score(shares(rows).float().cpu(), "attention"),
        }
        return logits[0], scores

    def _answer(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (B, C), relevance (B, N), and what enters the last layer of pass 2 (B, 1 + N, hidden)."""
        start = torch.cat([self.class_token.expand(len(h), 1, -1), h], dim=1)  # (B, 1 + N, hidden)
        tokens = start
        for layer in self.layers:
            tokens = layer(tokens, None)
        found = self.norm(tokens)
        relevance = cosine_similarity(found[:, 1:], self.task_token, dim=2).clamp(0, 1)
        selected = torch.cat([found[:, :1], relevance[..., None] * found[:, 1:]], dim=1)
        down, feedback = self.channels(selected), []
        for decoder in reversed(self.decoders):
            down = decoder(down)
            feedback.append(down)
        tokens = start
        for layer, down in zip(self.layers, reversed(feedback), strict=True):
            entered, tokens = tokens, layer(tokens, down)
        return self.head(self.norm(tokens[:, 0])), relevance, entered


class _Layer(nn.Module):
    """One transformer layer whose values may hear feedback."""

    def __init__(self, hidden: int, heads: int, wide: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.query, self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(hidden, wide), nn.GELU(), nn.Dropout(dropout), nn.Linear(wide, hidden))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, feedback: Tensor | None) -> Tensor:
        """Return tokens (B, L, hidden) after the layer; feedback of the same shape goes into the values."""
        z = self.norm1(x)
        heard = z if feedback is None else z + feedback
        q, k, v = (self._split(t) for t in (self.query(z), self.key(z), self.value(heard)))
        together = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        y = x + self.dropout(self.out(together))
        answer: Tensor = y + self.dropout(self.mlp(self.norm2(y)))
        return answer

    def first_row(self, x: Tensor) -> Tensor:
        """Return what the first of tokens (L, hidden) attends to, by head: (heads, L)."""
        z = self.norm1(x)[None]
        q, k = self._split(self.query(z[:, :1])), self._split(self.key(z))
        return torch.softmax(q @ k.mT * q.shape[-1] ** -0.5, dim=-1)[0, :, 0]

    def _split(self, t: Tensor) -> Tensor:
        return t.view(*t.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, L, d)
