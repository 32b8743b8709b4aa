"""What models share whose patches attend to one another: no patch has a share of its own to state.

What a patch is worth is then found by leaving it out: the bag without it is computed anew, many such bags at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ._bag import check_bag, check_finite, read_rows
from ._base import BagOutput, MILModel, Score

TOKENS_AT_ONCE = 32_768  # of all bags computed together when patches are left out: 64 MB at 512 float32


class TokenModel(MILModel):
    """Base of the models that embed each patch by itself and then compute bags of embedded patches whole.

    Children say how a patch is embedded (`_embed`), what bags of embedded patches come to (`_logits`) and which
    scores the model itself gives (`_scores`).
    """

    def forward(self, bag: Tensor, scores: bool = True) -> BagOutput:
        """Predict one bag; see `MILModel.forward`."""
        check_bag(bag, self.card.in_features)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not scores):
            h = self._embed_bag(bag)
            if not scores:
                return BagOutput(self._logits(h[None])[0], {})
            check_finite(h)
            logits, found = self._scores(h)
            return BagOutput(logits, found)

    @torch.no_grad()
    def read_once(self, bag: Tensor) -> Callable[[Tensor], Tensor]:
        """Keep the embedded patches; see `MILModel.read_once`."""
        check_bag(bag, self.card.in_features)
        h = self._embed_bag(bag)

        def of_part(rows: Tensor) -> Tensor:
            with torch.no_grad():
                return self._logits(h[rows][None])[0]

        return of_part

    @torch.no_grad()
    def logits_without(self, bag: Tensor, patches: Tensor) -> Tensor:
        """Return the logits (n, C) of the bag without each of some patches, computed anew.

        Parameters
        ----------
        bag : (N, D) floating tensor
            The bag, N >= 2.
        patches : (n,) int64 tensor
            Rows of the bag to leave out, one at a time.

        Returns
        -------
        (n, C) tensor
            On the CPU.
        """
        check_bag(bag, self.card.in_features)
        h = self._embed_bag(bag)
        rows = torch.arange(len(h) - 1)
        logits = []
        for some in torch.split(patches, max(1, TOKENS_AT_ONCE // len(h))):
            kept = rows + (rows >= some[:, None])  # (b, N - 1): all rows but one
            logits.append(self._logits(h[kept.to(h.device)]).cpu())
        return torch.cat(logits)

    def _embed_bag(self, bag: Tensor) -> Tensor:
        return read_rows(bag, next(self.parameters()), self._embed)

    @abstractmethod
    def _embed(self, rows: Tensor) -> Tensor:
        """Return the embedding (n, E) of rows (n, D)."""

    @abstractmethod
    def _logits(self, h: Tensor) -> Tensor:
        """Return the logits (B, C) of B bags of as many embedded patches (B, N, E), each as if it were alone."""

    @abstractmethod
    def _scores(self, h: Tensor) -> tuple[Tensor, dict[str, Score]]:
        """Return the logits (C,) of one bag of embedded patches (N, E), and the scores per patch."""


def shares(mass: Tensor) -> Tensor:
    """Return attention mass (heads, N) as shares (N,): nothing below nought, each head summing to 1, their mean."""
    mass = mass.double().clamp_min(0) if mass.device.type != "mps" else mass.cpu().double().clamp_min(0)
    total = mass.sum(dim=1, keepdim=True)
    even = torch.full_like(mass, 1 / mass.shape[1])
    return torch.where(total > 0, mass / total, even).mean(dim=0)
