"""CLAM with one attention branch: gated attention that learns from the patches it ranks highest and lowest."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ._bag import check_bag, read_rows
from ._card import ModelCard
from ._product import linear
from .attention import AttentionPooling

BAG_SHARE = 0.7  # of the loss, as its authors train it; the rest is the instance loss


class ClamSB(AttentionPooling):
    r"""Clustering-constrained attention pooling, single branch.

    .. math::

        h_i = \mathrm{relu}(P x_i + p), \quad
        e_i = w^\top \left( \tanh(V h_i + v) \odot \sigma(U h_i + u) \right) + b_w, \quad a = \mathrm{softmax}(e)

        s_i = W h_i, \quad \mathrm{logits} = \sum_i a_i s_i + b

    and scores as in `AttentionPooling`; ``attention="plain"`` leaves out the factor with U. In training
    dropout acts on h and on both factors of e. The loss is 0.7 of the bag's and 0.3 of `instance_loss`.

    Lu et al., "Data-efficient and weakly supervised computational pathology on whole-slide images", Nature Biomedical
    Engineering 2021; its sizes "small". The instance loss is cross-entropy, not the smooth SVM.
    """

    defaults: ClassVar[dict[str, int | float | str]] = {
        "hidden": 512,
        "attention_dim": 256,
        "attention": "gated",
        "k_sample": 8,
        "instance_classes": "own",
        "dropout": 0.25,
    }
    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "attention": ("gated", "plain"),
        "instance_classes": ("own", "all"),
    }
    attention_U: nn.Linear | None

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        hidden, attention_dim = int(card.config["hidden"]), int(card.config["attention_dim"])
        self.attention_U = nn.Linear(hidden, attention_dim) if card.config["attention"] == "gated" else None
        self.instance_head = nn.Linear(hidden, 2 * len(card.class_names))  # (out, in) of class c at 2c and 2c + 1

    def loss(self, bag: Tensor, target: int, criterion: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Return the bag's loss and the instance loss, 7 to 3; see `MILModel.loss`."""
        check_bag(bag, self.card.in_features)
        h = read_rows(bag, self.projection.weight, self._hidden)  # gradients need it whole in any case
        energy = self._energy(h)
        logits = self._logits(h @ self.head.weight.T, energy)
        return BAG_SHARE * criterion(logits, target) + (1 - BAG_SHARE) * self.instance_loss(h, energy, target)

    def instance_loss(self, h: Tensor, energy: Tensor, target: int) -> Tensor:
        """Return the loss of the instance classifiers on the patches that the attention ranks highest and lowest.

        The B highest patches are to be told in, the B lowest out, by the classifier of the bag's class:
        cross-entropy over these 2B. With ``instance_classes="all"`` (classes that exclude one another) the B highest
        are also to be told out by the classifier of every other class, and the sum is divided by the number of classes.
        B is ``k_sample``, or half the patches where there are fewer than 2B; for a bag of one patch the loss is 0.

        Parameters
        ----------
        h : (N, hidden) tensor
            Projected patches.
        energy : (N,) or (N, C) tensor
            Attention before its softmax, shared or of each class.
        target : int
            The bag's class.

        Returns
        -------
        Tensor
            A number that carries gradients.
        """
        b = min(int(self.card.config["k_sample"]), len(h) // 2)
        if b == 0:
            return h.new_zeros(())
        n_classes = len(self.card.class_names)
        every = self.card.config["instance_classes"] == "all"
        losses = []
        for c in range(n_classes) if every else [target]:
            ranked = energy if energy.ndim == 1 else energy[:, c]
            rows = ranked.topk(b).indices
            if c == target:
                rows = torch.cat([rows, ranked.topk(b, largest=False).indices])
            inside = torch.arange(len(rows), device=h.device) < (b if c == target else 0)
            layer = self.instance_head
            logits = nn.functional.linear(h[rows], layer.weight[2 * c : 2 * c + 2], layer.bias[2 * c : 2 * c + 2])
            losses.append(nn.functional.cross_entropy(logits, inside.long()))
        return torch.stack(losses).sum() / (n_classes if every else 1)

    def _energy(self, h: Tensor) -> Tensor:
        return self._branch_energies(h).squeeze(1)  # (n,)

    def _branch_energies(self, h: Tensor) -> Tensor:
        gated: Tensor = self.dropout(torch.tanh_(linear(self.attention_V, h)))  # (n, attention_dim)
        if self.attention_U is not None:
            gated = gated * self.dropout(torch.sigmoid_(linear(self.attention_U, h)))
        energies: Tensor = self.attention_w(gated)
        return energies  # (n, branches)
