"""What all poolings with a linear head share: projection, head, and one read of the bag in blocks.

With a linear head the bag's logits are sums over per-patch evidence ``s_i = W h_i``, so a bag of any size is read
once, a block of rows at a time, and only its (N, C) evidence and (N,) attention energies are kept.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ._bag import absorb, check_bag, check_finite, read_together
from ._base import BagOutput, MILModel, Score
from ._card import ModelCard
from ._product import linear


class LinearHeadModel(MILModel):
    """Base of the poolings ``logits = sum_i (weight_i s_i) + b`` with ``s_i = W h_i``, ``h_i = relu(P x_i + p)``.

    Children say how evidence becomes logits (`_pool`) and scores (`_scores`); those that weigh patches also
    give each an energy (`_energy`).
    """

    reads_each_alone: ClassVar[bool] = True

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        hidden = int(card.config["hidden"])
        self.projection = nn.Linear(card.in_features, hidden)
        self.dropout = nn.Dropout(float(card.config["dropout"]))
        self.head = nn.Linear(hidden, len(card.class_names))

    def forward(self, bag: Tensor, scores: bool = True) -> BagOutput:
        """Predict one bag; see `MILModel.forward`."""
        check_bag(bag, self.card.in_features)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not scores):
            evidence, energy = self._read(bag)  # (N, C), (N,) or (N, branches)
            logits = self._logits(evidence, energy)
            return BagOutput(logits, self._all_scores(evidence, energy) if scores else {})

    @torch.no_grad()
    def read_once(self, bag: Tensor) -> Callable[[Tensor], Tensor]:
        """Keep evidence and energies; see `MILModel.read_once`."""
        check_bag(bag, self.card.in_features)
        evidence, energy = self._read(bag)

        def of_part(rows: Tensor) -> Tensor:
            with torch.no_grad():
                return self._logits(evidence[rows], energy[rows])

        return of_part

    @torch.no_grad()
    def read_patches(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return evidence and energies; see `MILModel.read_patches`."""
        check_bag(rows, self.card.in_features)
        return self._read(rows)

    @torch.no_grad()
    def pool_patches(self, *read: Tensor) -> BagOutput:
        """Pool evidence and energies; see `MILModel.pool_patches`."""
        return BagOutput(self._logits(*read), self._all_scores(*read))

    def absorb_standardisation(self, mean: Tensor, std: Tensor) -> None:
        """Fold the standardisation into the projection; see `MILModel.absorb_standardisation`."""
        absorb(self.projection, mean, std)

    def _read(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """Return the evidence (N, C) and energies (N, ...) of a bag, reading it in blocks of rows."""
        evidence, energy = read_together(bag, self.projection.weight, self._read_block)
        return evidence, energy

    def _read_block(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        h = self._hidden(rows)
        return h @ self.head.weight.T, self._energy(h)  # (n, C), (n,) or (n, branches)

    def _hidden(self, rows: Tensor) -> Tensor:
        hidden: Tensor = self.dropout(torch.relu_(linear(self.projection, rows)))
        return hidden  # (n, hidden)

    def _logits(self, evidence: Tensor, energy: Tensor) -> Tensor:
        return self._pool(evidence, energy) + self.head.bias  # (C,)

    def _all_scores(self, evidence: Tensor, energy: Tensor) -> dict[str, Score]:
        # float64 for the differences that leave-one-out takes; on the CPU because MPS has no float64
        evidence, energy = (t.detach().cpu().double() for t in (evidence, energy))
        check_finite(evidence, energy)
        bias = self.head.bias.detach().cpu().double()
        instance = Score((evidence + bias).T.float().contiguous(), "instance_logit")
        return {**self._scores(evidence, energy), "instance_logit": instance}

    def _energy(self, h: Tensor) -> Tensor:
        """Return the attention energies (n,) or (n, branches) of hidden rows (n, hidden); nought where none weighs."""
        return h.new_zeros(len(h))

    @abstractmethod
    def _pool(self, evidence: Tensor, energy: Tensor) -> Tensor:
        """Return the logits (C,) less the head's bias."""

    @abstractmethod
    def _scores(self, evidence: Tensor, energy: Tensor) -> dict[str, Score]:
        """Return the pooling's own scores from float64 evidence (N, C) and energies (N, ...)."""


def contribution(raw: Tensor) -> Score:
    """Wrap contributions (N, C) as a score (C, N): signed shares that sum to the logit less the bias."""
    return Score(raw.T.float().contiguous(), "contribution")


def leave_one_out(raw: Tensor) -> Score:
    """Wrap logit changes (N, C) as a score (C, N): logit with the patch minus logit without it."""
    if len(raw) == 1:  # without its only patch a bag has no prediction
        raw = torch.full_like(raw, torch.nan)
    return Score(raw.T.float().contiguous(), "leave_one_out")
