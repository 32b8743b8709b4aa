"""DTFD-MIL: a bag is split into pseudo-bags, each is distilled, and attention is paid to what was distilled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ._bag import absorb, check_bag, check_finite, read_rows
from ._base import BagOutput, MILModel, Score
from ._card import ModelCard
from ._linear import contribution, leave_one_out


class GatedEnergy(nn.Module):
    r"""Gated attention energy :math:`e(h) = w^\top (\tanh(V h + v) \odot \sigma(U h + u)) + b_w`."""

    def __init__(self, length: int, attention_dim: int) -> None:
        super().__init__()
        self.V, self.U = nn.Linear(length, attention_dim), nn.Linear(length, attention_dim)
        self.w = nn.Linear(attention_dim, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Return the energies (n,) of rows (n, length)."""
        energy: Tensor = self.w(torch.tanh(self.V(h)) * torch.sigmoid(self.U(h))).squeeze(1)
        return energy


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A bag as tier 1 reads it: h (N, hidden), energies e1 (N,), and how strongly h_i speaks, `margin` (N,)."""

    h: Tensor
    e1: Tensor
    margin: Tensor

    def without(self, i: int) -> _Read:
        kept = torch.arange(len(self.h), device=self.h.device) != i
        return _Read(self.h[kept], self.e1[kept], self.margin[kept])


class DoubleTierPooling(MILModel):
    r"""Double-tier feature distillation.

    .. math::

        h_i = \mathrm{relu}(P x_i + p), \quad a_i = \mathrm{softmax}_{i \in g}(e_1(h_i)), \quad
        z_g = \sum_{i \in g} a_i h_i, \quad y_g = W_1 z_g + b_1

        d_k \text{ distilled from the groups}, \quad A = \mathrm{softmax}_k(e_2(d_k)), \quad
        \mathrm{logits} = W_2 \sum_k A_k d_k + b_2

    with two gated attentions :math:`e_1, e_2` (`GatedEnergy`) and the bag dealt at random into ``groups`` pseudo-bags g
    whose sizes differ by one at most. ``distillation``: "afs" takes :math:`d_g = z_g`; "maxs" the :math:`h_i` of each
    group whose attended evidence :math:`t_i = a_i W_1 h_i` speaks most for the last class (its t less that of the first
    of two; of more classes: the largest t less their mean); "maxmins" that and the one that speaks least.

    Predictions and scores are means over ``splits`` deals drawn from ``split_seed``: the same each time, and the mean
    is of logits, so that contributions sum. The published code has no bias p and deals once, unseeded. In training
    each bag is dealt anew. Which patch comes first decides who shares its group, so order changes the answer a little.

    Scores: attention over the whole bag, softmax of :math:`e_1` (does not depend on the deal); instance logit
    :math:`W_2 h_i + b_2` (of the patch alone); contribution :math:`\omega_i W_2 h_i` (sums to logit less bias) with the
    weight that the patch truly had, :math:`\omega_i = A_g a_i` for "afs", else A of what was taken and 0 for the rest;
    leave-one-out with each deal kept for the others: closed form in tier 1, tier 2 computed anew.

    Trained on the mean loss of :math:`y_g` plus that of the logits, which is kept from tier 1.

    Zhang et al., "DTFD-MIL: double-tier feature distillation multiple instance learning for histopathology whole
    slide image classification", CVPR 2022.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {
        "hidden": 512,
        "attention_dim": 128,
        "groups": 4,
        "distillation": "afs",
        "splits": 8,
        "split_seed": 0,
        "dropout": 0.0,
    }
    least: ClassVar[dict[str, int]] = {"split_seed": 0}
    choices: ClassVar[dict[str, tuple[str, ...]]] = {"distillation": ("afs", "maxs", "maxmins")}
    default_score: ClassVar[str] = "attention"
    attends: ClassVar[bool] = True

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        hidden, attention_dim = int(card.config["hidden"]), int(card.config["attention_dim"])
        self.projection = nn.Linear(card.in_features, hidden)
        self.dropout = nn.Dropout(float(card.config["dropout"]))
        self.energy1, self.energy2 = GatedEnergy(hidden, attention_dim), GatedEnergy(hidden, attention_dim)
        self.group_head = nn.Linear(hidden, len(card.class_names))  # W_1, b_1
        self.head = nn.Linear(hidden, len(card.class_names))  # W_2, b_2

    def forward(self, bag: Tensor, scores: bool = True) -> BagOutput:
        """Predict one bag; see `MILModel.forward`."""
        check_bag(bag, self.card.in_features)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not scores):
            read = self._read(bag)
            deals = self.deal(len(bag), read.h.device)
            weights = torch.stack([self._weights(read, groups) for groups in deals])  # (splits, N)
            logits = (weights.mean(dim=0) @ read.h) @ self.head.weight.T + self.head.bias
            return BagOutput(logits, self._scores(read, deals, weights) if scores else {})

    def absorb_standardisation(self, mean: Tensor, std: Tensor) -> None:
        """Fold the standardisation into the projection; see `MILModel.absorb_standardisation`."""
        absorb(self.projection, mean, std)

    def loss(self, bag: Tensor, target: int, criterion: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Return the mean loss of the pseudo-bags plus that of the bag; see `MILModel.loss`."""
        read = self._read(bag)
        groups = self.deal(len(bag), read.h.device)[0]
        z = torch.stack(
            [self.noted(torch.softmax(read.e1[groups == g], dim=0)) @ read.h[groups == g] for g in _present(groups)]
        )
        first = torch.stack([criterion(y, target) for y in self.group_head(z)]).mean()
        distilled = (self._distil(read, groups) @ read.h).detach()
        second = torch.softmax(self.energy2(distilled), dim=0) @ distilled
        return first + criterion(self.head(second), target)

    def deal(self, n: int, device: torch.device | str = "cpu") -> Tensor:
        """Return the group of each of n patches in each split, (splits, n): fixed by seed, in training one anew."""
        count = int(self.card.config["groups"])
        if self.training:
            return (torch.randperm(n) % count)[None].to(device)
        generator = torch.Generator().manual_seed(int(self.card.config["split_seed"]))
        order = [torch.randperm(n, generator=generator) for _ in range(int(self.card.config["splits"]))]
        return (torch.stack(order) % count).to(device)

    def _read(self, bag: Tensor) -> _Read:
        weight = self.projection.weight
        h = read_rows(bag, weight, lambda rows: self.dropout(torch.relu_(self.projection(rows))))
        with torch.no_grad():
            evidence = h @ self.group_head.weight.T  # (N, C) = W_1 h
            few = evidence.shape[1] <= 2
            margin = evidence[:, -1] - (evidence[:, 0] if evidence.shape[1] == 2 else 0)
            margin = margin if few else (evidence - evidence.mean(dim=1, keepdim=True)).amax(dim=1)
        return _Read(h, read_rows(h, weight, self.energy1), margin)

    def _distil(self, read: _Read, groups: Tensor) -> Tensor:
        """Return how the distilled features are made of the patches, (K, N): attention, or a 1 for the one taken."""
        rows = []
        for g in _present(groups):
            a = torch.softmax(read.e1.masked_fill(groups != g, -torch.inf), dim=0)  # (N,)
            if self.card.config["distillation"] == "afs":
                rows.append(a)
                continue
            spoken = a * read.margin
            rows.append(_one(spoken.masked_fill(groups != g, -torch.inf).argmax(), a))
            if self.card.config["distillation"] == "maxmins":
                rows.append(_one(spoken.masked_fill(groups != g, torch.inf).argmin(), a))
        return torch.stack(rows)

    def _weights(self, read: _Read, groups: Tensor) -> Tensor:
        """Return what each patch weighs in one deal (N,): the logits are W_2 of so weighted h, plus b_2."""
        made = self._distil(read, groups)
        return torch.softmax(self.energy2(made @ read.h), dim=0) @ made

    def _scores(self, read: _Read, deals: Tensor, weights: Tensor) -> dict[str, Score]:
        check_finite(read.h, read.e1)
        evidence = (read.h @ self.head.weight.T).cpu().double()  # (N, C) = W_2 h
        bias = self.head.bias.cpu().double()
        omega = weights.mean(dim=0).cpu().double()
        attention = torch.softmax(read.e1.cpu().double(), dim=0)
        changes = torch.zeros_like(evidence)
        for groups in deals if len(read.h) > 1 else ():
            changes += self._changes(read, groups, evidence) / len(deals)
        return {
            "attention": Score(attention.float(), "attention"),
            "contribution": contribution(omega[:, None] * evidence),
            "leave_one_out": leave_one_out(changes),
            "instance_logit": Score((evidence + bias).T.float().contiguous(), "instance_logit"),
        }

    def _changes(self, read: _Read, groups: Tensor, evidence: Tensor) -> Tensor:
        """Return (N, C): how much the logits of one deal fall when patch i is left out of its group.

        Where distillation takes single patches, only those change anything. They, and the patch of each group with the
        most attention, for which the closed form loses its digits, are left out for real.
        """
        made = self._distil(read, groups)
        pooled = (torch.softmax(self.energy2(made @ read.h), dim=0) @ made).cpu().double() @ evidence
        if self.card.config["distillation"] == "afs":
            changes = self._changes_of_means(read, groups, evidence, made, pooled)
        else:
            changes = torch.zeros_like(evidence)
        for i in {*made.argmax(dim=1).tolist()}:
            kept = torch.arange(len(groups)) != i
            weights = self._weights(read.without(i), groups[kept.to(groups.device)])
            changes[i] = pooled - weights.cpu().double() @ evidence[kept]
        return changes

    def _changes_of_means(self, read: _Read, groups: Tensor, evidence: Tensor, made: Tensor, pooled: Tensor) -> Tensor:
        z = made @ read.h  # (K, hidden)
        e2 = self.energy2(z)
        evidence_of = made.cpu().double() @ evidence  # (K, C) = W_2 z
        changes = torch.zeros_like(evidence)
        for k, g in enumerate(_present(groups)):
            rows = (groups == g).nonzero().squeeze(1)
            a = made[k, rows, None]
            ratio = a / (1 - a).clamp_min(torch.finfo(a.dtype).tiny)  # z less i is z + a / (1 - a) (z - h)

            def energy_less(some: Tensor, z_g: Tensor = z[k], of: Tensor = ratio, at: Tensor = rows) -> Tensor:
                return self.energy2(z_g + of[some] * (z_g - read.h[at[some]]))  # type: ignore[no-any-return]

            blocks = torch.split(torch.arange(len(rows), device=rows.device), 8192)
            energies = e2.repeat(len(rows), 1)  # (n, K)
            energies[:, k] = torch.cat([energy_less(some) for some in blocks])
            shares = torch.softmax(energies.cpu().double(), dim=1)
            less = evidence_of[k] + ratio.cpu().double() * (evidence_of[k] - evidence[rows.cpu()])  # (n, C)
            others = shares @ evidence_of - shares[:, k, None] * evidence_of[k]
            changes[rows.cpu()] = pooled - others - shares[:, k, None] * less
        return changes


def _present(groups: Tensor) -> list[int]:
    """Return the groups that have patches, in order."""
    present: list[int] = torch.bincount(groups).nonzero().squeeze(1).tolist()
    return present


def _one(index: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).scatter_(0, index[None], 1.0)
