"""DSMIL: each class has a critical patch, and patches weigh by their likeness to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ._bag import absorb, check_bag, check_finite, read_rows, read_together
from ._base import BagOutput, MILModel, Score
from ._card import ModelCard
from ._linear import contribution, leave_one_out
from ._product import linear


class DualStreamPooling(MILModel):
    r"""Dual-stream MIL: the largest instance logit of each class picks the query of that class's attention.

    .. math::

        c_i = W_c x_i + b_c, \quad m_k = \arg\max_i c_{ik}, \quad q(x) = \tanh(W_2\,\mathrm{relu}(W_1 x + b_1) + b_2)

        A_{ik} = \mathrm{softmax}_i \left( q(x_i) \cdot q(x_{m_k}) / \sqrt{d} \right), \quad
        B_k = \sum_i A_{ik} v_i, \quad \mathrm{logits} = W\,[B_1, \dots, B_C] + b

    with query length d (``query_dim``) and :math:`v_i = x_i`, or, with ``value="layer"``,
    :math:`v_i = \mathrm{relu}(W_v\,\mathrm{dropout}(x_i) + b_v)`; with ``query="linear"``, as the first published
    weights have it, :math:`q(x) = W_1 x + b_1`. W is full: every class's logit hears every class's attention.

    That dropout leaves a feature at nought in the units of training, where nought is the mean. When the standardisation
    is folded in, the mean m of features as they are is kept for it (``centre``), which is
    :math:`\mathrm{dropout}(x_i - m) + m` from then on: passes with dropout answer as they did before the folding.

    Scores: instance logit :math:`c_i` (of the patch alone, by the first stream); attention :math:`A` (C, N), each row
    sums to 1: likeness to the critical patch; contribution :math:`\sum_k A_{ik} W_k v_i` (sums to logit less bias);
    leave-one-out in closed form, :math:`\sum_k \frac{A_{ik}}{1 - A_{ik}} (W_k v_i - W_k B_k)`, and computed anew
    for the critical patches, without which the query is another.

    Trained on half the loss of the logits and half that of :math:`\max_i c_i`.

    Li, Li and Eliceiri, "Dual-stream multiple instance learning network for whole slide image classification with
    self-supervised contrastive learning", CVPR 2021.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {
        "query_dim": 128,
        "query": "two-layer",
        "value": "identity",
        "dropout": 0.0,
    }
    choices: ClassVar[dict[str, tuple[str, ...]]] = {"query": ("two-layer", "linear"), "value": ("identity", "layer")}
    default_score: ClassVar[str] = "instance_logit"
    attends: ClassVar[bool] = True
    centre: Tensor

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        length, d, n_classes = card.in_features, int(card.config["query_dim"]), len(card.class_names)
        if card.config["value"] == "identity" and float(card.config["dropout"]):
            raise ModelError('Dropout acts on the values of dsmil, which has none to drop. Add value="layer".')
        self.instance = nn.Linear(length, n_classes)
        self.query_in = nn.Linear(length, d)
        self.query_out = nn.Linear(d, d) if card.config["query"] == "two-layer" else None
        self.dropout = nn.Dropout(float(card.config["dropout"]))
        self.value = nn.Linear(length, length) if card.config["value"] == "layer" else None
        if self.dropout.p > 0:
            self.register_buffer("centre", torch.empty(length))
        self.head = nn.Linear(n_classes * length, n_classes)

    def initialise(self, generator: torch.Generator) -> None:
        """Begin with features whose mean is nought; see `MILModel.initialise`."""
        if self.dropout.p > 0:
            nn.init.zeros_(self.centre)

    def forward(self, bag: Tensor, scores: bool = True) -> BagOutput:
        """Predict one bag; see `MILModel.forward`."""
        check_bag(bag, self.card.in_features)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not scores):
            c, evidence = self._read(bag)
            critical = c.argmax(dim=0)
            second = _largest_but(c, critical)
            likeness = self._likeness(bag, torch.cat([critical, second]) if scores else critical)
            logits = self._pool(likeness[:, : len(critical)], evidence) + self.head.bias
            return BagOutput(logits, self._scores(c, likeness, evidence) if scores else {})

    @torch.no_grad()
    def read_once(self, bag: Tensor) -> Callable[[Tensor], Tensor]:
        """Keep instance logits, queries and evidence; see `MILModel.read_once`."""
        check_bag(bag, self.card.in_features)
        c, evidence = self._read(bag)
        q = read_rows(bag, self.head.weight, self._query)

        def of_part(rows: Tensor) -> Tensor:
            with torch.no_grad():
                likeness = self._scaled(q[rows] @ q[rows[c[rows].argmax(dim=0)]].T)
                return self._pool(likeness, evidence[rows]) + self.head.bias

        return of_part

    @torch.no_grad()
    def absorb_standardisation(self, mean: Tensor, std: Tensor) -> None:
        """Fold the standardisation into the layers that take features; see `MILModel.absorb_standardisation`."""
        if self.dropout.p > 0:
            self.centre.copy_(self.centre.cpu().double() * std + mean)
        for layer in (self.instance, self.query_in):
            absorb(layer, mean, std)
        if self.value is not None:
            absorb(self.value, mean, std)
        else:  # each class's attention sums to 1, so what is true of one patch is true of their weighted sum
            n_classes = len(self.card.class_names)
            absorb(self.head, mean.repeat(n_classes), std.repeat(n_classes))

    def loss(self, bag: Tensor, target: int, criterion: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Return half the loss of either stream; see `MILModel.loss`."""
        c, evidence = self._read(bag)
        logits = self._pool(self._likeness(bag, c.argmax(dim=0)), evidence) + self.head.bias
        return 0.5 * criterion(logits, target) + 0.5 * criterion(c.max(dim=0).values, target)

    def _read(self, bag: Tensor) -> tuple[Tensor, Tensor]:
        """Return instance logits (N, C) and evidence (N, C, C): W_k v_i for each logit and stream k."""
        n_classes = len(self.card.class_names)
        weight = self.head.weight.view(n_classes * n_classes, self.card.in_features)  # (logit, k) by feature

        def read(rows: Tensor) -> tuple[Tensor, Tensor]:
            v = rows if self.value is None else torch.relu_(linear(self.value, self._dropped(rows)))
            return self.instance(rows), v @ weight.T

        c, evidence = read_together(bag, weight, read)
        return c, evidence.view(-1, n_classes, n_classes)

    def _dropped(self, rows: Tensor) -> Tensor:
        """Return rows (n, D) with dropout about the centre; as they are where it is off."""
        if self.dropout.p > 0 and self.dropout.training:
            dropped: Tensor = self.dropout(rows - self.centre) + self.centre
            return dropped
        return rows

    def _query(self, rows: Tensor) -> Tensor:
        q = linear(self.query_in, rows)
        return q if self.query_out is None else torch.tanh_(linear(self.query_out, torch.relu_(q)))

    def _likeness(self, bag: Tensor, critical: Tensor) -> Tensor:
        """Return q(x_i) q(x_m) / sqrt(d) for some patches m, (N, patches), from a second read: no query is kept."""
        like = self.head.weight
        q = self._query(bag[critical.to(bag.device)].to(like.device, like.dtype))
        return self._scaled(read_rows(bag, like, lambda rows: self._query(rows) @ q.T))

    def _scaled(self, products: Tensor) -> Tensor:
        scaled: Tensor = products / int(self.card.config["query_dim"]) ** 0.5
        return scaled

    def _pool(self, likeness: Tensor, evidence: Tensor) -> Tensor:
        """Return the logits (C,) less the head's bias, from likeness to the critical patches (N, C)."""
        return torch.einsum("nk,nck->c", self.noted(torch.softmax(likeness, dim=0)), evidence)

    def _scores(self, c: Tensor, likeness: Tensor, evidence: Tensor) -> dict[str, Score]:
        # float64 for the differences that leave-one-out takes; on the CPU because MPS has no float64
        c, likeness, evidence = (t.detach().cpu().double() for t in (c, likeness, evidence))
        check_finite(c, likeness, evidence)
        a = torch.softmax(likeness[:, : c.shape[1]], dim=0)  # (N, C)
        return {
            "attention": Score(a.T.float().contiguous(), "attention"),
            "contribution": contribution(torch.einsum("nk,nck->nc", a, evidence)),
            "leave_one_out": leave_one_out(self._changes(c, likeness, evidence, a)),
            "instance_logit": Score(c.T.float().contiguous(), "instance_logit"),
        }

    def _changes(self, c: Tensor, likeness: Tensor, evidence: Tensor, a: Tensor) -> Tensor:
        """Return (N, C): how much the logits fall when patch i is left out.

        Patches that set a query, and those whose attention may be near 1, where the closed form loses its digits, are
        left out for real: at most two a class. Without a critical patch the second largest sets the query; likeness is
        to the critical patches of all classes, then to those (N, 2 C).
        """
        pooled = torch.einsum("nk,nck->ck", a, evidence)
        ratio = a / (1 - a).clamp_min(torch.finfo(a.dtype).tiny)
        changes = torch.einsum("nk,nck->nc", ratio, evidence) - ratio @ pooled.T
        critical, classes = c.argmax(dim=0), torch.arange(c.shape[1])
        for i in {*critical.tolist(), *a.argmax(dim=0).tolist()} if len(c) > 1 else ():
            rest = likeness[:, torch.where(critical == i, classes + len(classes), classes)]
            rest[i] = -torch.inf
            changes[i] = pooled.sum(dim=1) - torch.einsum("nk,nck->c", torch.softmax(rest, dim=0), evidence)
        return changes


def _largest_but(c: Tensor, critical: Tensor) -> Tensor:
    """Return the patch with the largest logit of each class but for its critical one, (C,)."""
    return c.detach().scatter(0, critical[None], -torch.inf).argmax(dim=0)
