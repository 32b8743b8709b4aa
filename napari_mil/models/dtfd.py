"""DTFD-MIL: a bag is split into pseudo-bags, each is distilled, and attention is paid to what was distilled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ._bag import absorb, check_bag, check_finite, read_rows, read_together
from ._base import BagOutput, MILModel, Score
from ._card import ModelCard
from ._linear import contribution, leave_one_out
from ._product import linear
from ._tiers import GatedEnergy, GroupMeans

_MOST = 0.9  # of a group's attention, from which leaving a patch out is computed anew
_ROWS = 256  # patches left out at a time


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """What tier 1 says of each patch: energies e1 (N,), and how strongly h_i speaks, `margin` (N,)."""

    e1: Tensor
    margin: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Seen(_Read):
    """And, of a bag whose h is not kept: W_2 h (N, C), h of groups by deal, `GatedEnergy.parts` of e2 (N, ...)."""

    evidence: Tensor
    means: Tensor
    parts2: tuple[Tensor, ...]  # none where no scores are asked for


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
        deals = self.deal(len(bag), self.head.weight.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not scores):
            if torch.is_grad_enabled():  # which keep h in any case
                h, read = self._read(bag)
                weights = torch.stack(
                    [self._weights(made, made @ h) for made in (self._distil(read, g) for g in deals)]
                )
                return BagOutput((weights.mean(dim=0) @ h) @ self.head.weight.T + self.head.bias, {})
            seen = self._look(bag, deals, scores)
            made = [self._distil(seen, groups) for groups in deals]
            distilled = [self._distilled(bag, seen, *one) for one in zip(made, deals, range(len(deals)), strict=True)]
            weights = torch.stack([self._weights(*pair) for pair in zip(made, distilled, strict=True)])  # (splits, N)
            logits = weights.mean(dim=0) @ seen.evidence + self.head.bias
            return BagOutput(logits, self._scores(bag, seen, deals, made, distilled, weights) if scores else {})

    def absorb_standardisation(self, mean: Tensor, std: Tensor) -> None:
        """Fold the standardisation into the projection; see `MILModel.absorb_standardisation`."""
        absorb(self.projection, mean, std)

    def loss(self, bag: Tensor, target: int, criterion: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Return the mean loss of the pseudo-bags plus that of the bag; see `MILModel.loss`."""
        h, read = self._read(bag)
        groups = self.deal(len(bag), h.device)[0]
        z = torch.stack(
            [self.noted(torch.softmax(read.e1[groups == g], dim=0)) @ h[groups == g] for g in _present(groups)]
        )
        first = torch.stack([criterion(y, target) for y in self.group_head(z)]).mean()
        distilled = (self._distil(read, groups) @ h).detach()
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

    def _hidden(self, rows: Tensor) -> Tensor:
        hidden: Tensor = self.dropout(torch.relu_(linear(self.projection, rows)))
        return hidden

    def _margin(self, h: Tensor) -> Tensor:
        with torch.no_grad():
            evidence = h @ self.group_head.weight.T  # (n, C) = W_1 h
            if evidence.shape[1] > 2:
                return (evidence - evidence.mean(dim=1, keepdim=True)).amax(dim=1)
            return evidence[:, -1] - (evidence[:, 0] if evidence.shape[1] == 2 else 0)

    def _read(self, bag: Tensor) -> tuple[Tensor, _Read]:
        """Return h (N, hidden) and what tier 1 says of it."""
        h = read_rows(bag, self.projection.weight, self._hidden)
        return h, _Read(read_rows(h, self.projection.weight, self.energy1), self._margin(h))

    def _look(self, bag: Tensor, deals: Tensor, scores: bool) -> _Seen:
        """Read a bag a block at a time without keeping h."""
        weight = self.projection.weight
        means = GroupMeans(deals, int(self.card.config["groups"]), weight, len(weight))

        def read(rows: Tensor) -> tuple[Tensor, ...]:
            h = self._hidden(rows)
            e1 = self.energy1(h)
            if self.card.config["distillation"] == "afs":
                means.add(e1, h)
            parts2 = self.energy2.parts(h) if scores else ()
            return e1, self._margin(h), h @ self.head.weight.T, *parts2

        e1, margin, evidence, *parts2 = read_together(bag, weight, read)
        return _Seen(e1, margin, evidence, means.means(), tuple(parts2))

    def _distilled(self, bag: Tensor, seen: _Seen, made: Tensor, groups: Tensor, deal: int) -> Tensor:
        """Return the distilled features (K, hidden) of one deal; `made` says of what."""
        if self.card.config["distillation"] == "afs":
            return seen.means[deal, _present(groups)]
        return self._h_of(bag, made.argmax(dim=1))

    def _h_of(self, bag: Tensor, patches: Tensor) -> Tensor:
        return read_rows(bag[patches.to(bag.device)], self.projection.weight, self._hidden)

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

    def _weights(self, made: Tensor, distilled: Tensor) -> Tensor:
        """Return what each patch weighs in one deal (N,): the logits are W_2 of so weighted h, plus b_2."""
        return torch.softmax(self.energy2(distilled), dim=0) @ made

    def _scores(
        self, bag: Tensor, seen: _Seen, deals: Tensor, made: list[Tensor], distilled: list[Tensor], weights: Tensor
    ) -> dict[str, Score]:
        check_finite(seen.evidence, seen.e1)
        evidence = seen.evidence.cpu().double()
        omega = weights.mean(dim=0).cpu().double()
        changes = torch.zeros_like(evidence)
        for groups, of, d in zip(deals, made, distilled, strict=True) if len(bag) > 1 else ():
            changes += self._changes(bag, seen, groups, of, d) / len(deals)
        return {
            "attention": Score(torch.softmax(seen.e1.cpu().double(), dim=0).float(), "attention"),
            "contribution": contribution(omega[:, None] * evidence),
            "leave_one_out": leave_one_out(changes),
            "instance_logit": Score(
                (evidence + self.head.bias.cpu().double()).T.float().contiguous(), "instance_logit"
            ),
        }

    def _changes(self, bag: Tensor, seen: _Seen, groups: Tensor, made: Tensor, distilled: Tensor) -> Tensor:
        """Return (N, C): how much the logits of one deal fall when patch i is left out of its group.

        Where distillation takes single patches, only those change anything. They, and patches with so much of their
        group's attention that the closed form loses digits, are left out for real.
        """
        pooled = self._weights(made, distilled).cpu().double() @ seen.evidence.cpu().double()
        special = made.argmax(dim=1)
        if self.card.config["distillation"] == "afs":
            changes = self._changes_of_means(seen, groups, distilled, made, pooled)
            special = special[made.amax(dim=1) > _MOST]
        else:
            changes = torch.zeros_like(seen.evidence, dtype=torch.float64, device="cpu")
        for i in {*special.tolist()}:
            changes[i] = pooled - self._pooled_without(bag, seen, groups, distilled, i)
        return changes

    def _pooled_without(self, bag: Tensor, seen: _Seen, groups: Tensor, distilled: Tensor, i: int) -> Tensor:
        """Return the logits (C,) less the bias, float64, of one deal without patch i."""
        rest = groups.clone()
        rest[i] = -1  # no group
        made = self._distil(seen, rest)
        if self.card.config["distillation"] == "afs":
            features = dict(zip(_present(groups), distilled, strict=True))
            left = (rest == groups[i]).nonzero().squeeze(1)
            if len(left):
                features[int(groups[i])] = torch.softmax(seen.e1[left], dim=0) @ self._h_of(bag, left)
            d = torch.stack([features[g] for g in _present(rest)])
        else:
            d = self._h_of(bag, made.argmax(dim=1))
        return self._weights(made, d).cpu().double() @ seen.evidence.cpu().double()

    def _changes_of_means(self, seen: _Seen, groups: Tensor, distilled: Tensor, made: Tensor, pooled: Tensor) -> Tensor:
        evidence = seen.evidence.cpu().double()
        evidence_of = made.cpu().double() @ evidence  # (K, C) = W_2 z
        group = torch.bucketize(groups, torch.tensor(_present(groups), device=groups.device))  # (N,) which of the K
        a = made.gather(0, group[None]).T  # (N, 1)
        ratio = a / (1 - a).clamp_min(torch.finfo(a.dtype).tiny)  # z less i is z + a / (1 - a) (z - h)
        energies = self._energies_without(seen, group, ratio, distilled).cpu().double()
        shares = torch.softmax(energies, dim=1)  # (N, K)
        group, ratio = group.cpu(), ratio.cpu().double()
        less = ratio * (evidence_of[group] - evidence)  # (N, C): W_2 of z less i, less W_2 z
        return pooled - shares @ evidence_of - shares.gather(1, group[:, None]) * less

    def _energies_without(self, seen: _Seen, group: Tensor, ratio: Tensor, distilled: Tensor) -> Tensor:
        """Return e2 of the K groups (N, K) when patch i is left out of its own: e2 of z + ratio (z - h) there."""
        energies: Tensor = self.energy2(distilled).repeat(len(group), 1)
        whole = self.energy2.parts(distilled)
        for start in range(0, len(group), _ROWS):
            at = slice(start, start + _ROWS)
            pairs = ((of[group[at]], part[at]) for of, part in zip(whole, seen.parts2, strict=True))
            moved = (torch.addcmul(z, ratio[at], z - own) for z, own in pairs)
            energies[at].scatter_(1, group[at, None], self.energy2.of_parts_(*moved)[:, None])
        return energies


def _present(groups: Tensor) -> list[int]:
    """Return the groups that have patches, in order; below nought is none."""
    present: list[int] = torch.bincount(groups[groups >= 0]).nonzero().squeeze(1).tolist()
    return present


def _one(index: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).scatter_(0, index[None], 1.0)
