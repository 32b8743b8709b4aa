"""The contract between MIL models and everything that shows them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ._card import ModelCard, ScoreKind


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """One number per patch, or per class and patch, as the model gave it: never normalised for display.

    Parameters
    ----------
    raw : (N,) or (C, N) float32 tensor on the CPU
        The score, in the bag's order.
    kind : ScoreKind
        What the numbers mean; it decides which display scales are honest.
    """

    raw: Tensor
    kind: ScoreKind


@dataclass(frozen=True, slots=True, eq=False)
class BagOutput:
    """What a model says of one bag.

    Parameters
    ----------
    logits : (C,) float32 tensor on the model's device
        The bag's prediction before softmax (or sigmoid where C is 1).
    scores : mapping of str to Score
        By name; empty where none were asked for.
    """

    logits: Tensor
    scores: Mapping[str, Score]


class MILModel(nn.Module, ABC):
    """A model that turns a bag of patch features into a prediction and a score per patch.

    Parameters
    ----------
    card : ModelCard
        What the model is; `card.config` holds its sizes.

    Attributes
    ----------
    defaults : dict
        The names and default values of the sizes that `card.config` holds, one entry per accepted name. A whole number
        stands for a whole number, a float for a positive number (``dropout``: a share), text for one of `choices`.
    least : dict
        Smallest value of a whole number, where that is not 1.
    choices : dict
        What a text may be.
    default_score : str
        Name of the score to show first.
    attends : bool
        Whether `note_attention` is called.
    reads_each_alone : bool
        Whether what the model takes from a patch depends on no other patch, so that a bag can be read as its patches
        come: see `read_patches` and `pool_patches`.
    note_attention : callable or None
        Set while training. Called in `loss` with each attention that the model pays, (N,) or (N, K), carrying
        gradients; it sums to 1 over its patches.
    """

    defaults: ClassVar[dict[str, int | float | str]]
    least: ClassVar[dict[str, int]] = {}
    choices: ClassVar[dict[str, tuple[str, ...]]] = {}
    default_score: ClassVar[str]
    attends: ClassVar[bool] = False
    reads_each_alone: ClassVar[bool] = False
    note_attention: Callable[[Tensor], object] | None = None

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        self.card = card

    @abstractmethod
    def forward(self, bag: Tensor, scores: bool = True) -> BagOutput:
        """Predict one bag.

        Parameters
        ----------
        bag : (N, D) floating tensor
            One feature vector per patch, N >= 1; it may stay on the CPU, rows are moved to the model's device.
        scores : bool
            True computes the scores per patch and records nothing for gradients; False (training) computes the
            logits alone.

        Returns
        -------
        BagOutput
            Logits (C,) and, if asked for, the scores.

        Raises
        ------
        ValueError
            If the bag is empty or not (N, D) floating point.
        ModelError
            If the scores are asked for and the features hold NaN or infinite numbers.
        """

    @abstractmethod
    def absorb_standardisation(self, mean: Tensor, std: Tensor) -> None:
        """Change the first layer so that the model takes x where it took (x - mean) / std, and answers the same.

        Parameters
        ----------
        mean, std : (D,) float64 tensors
            Of the features; std must be positive.
        """

    def initialise(self, generator: torch.Generator) -> None:
        """Fill the parameters and buffers that are not of linear, convolution or norm layers, from the generator."""

    def loss(self, bag: Tensor, target: int, criterion: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Return the training loss of one bag; poolings with losses of their own add them here.

        Parameters
        ----------
        bag : (N, D) floating tensor
            The bag.
        target : int
            Its class.
        criterion : callable
            Loss of logits (C,) against a class.

        Returns
        -------
        Tensor
            A number that carries gradients.
        """
        return criterion(self(bag, scores=False).logits, target)

    @torch.no_grad()
    def read_once(self, bag: Tensor) -> Callable[[Tensor], Tensor]:
        """Read a bag once, to predict any of its patches together: for many questions about one bag.

        Models that embed each patch by itself keep the embedded patches, so that a part costs its pooling alone.

        Parameters
        ----------
        bag : (N, D) floating tensor
            The bag.

        Returns
        -------
        callable
            Takes rows (n,) int64, n >= 1, and returns the logits (C,) of the bag of these patches alone.
        """

        def of_part(rows: Tensor) -> Tensor:
            with torch.no_grad():
                output: BagOutput = self(bag[rows], scores=False)
            return output.logits

        return of_part

    def read_patches(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Return what the model takes from some patches: all that `pool_patches` needs of them.

        Parameters
        ----------
        rows : (n, D) floating tensor
            Features of patches, n >= 1.

        Returns
        -------
        tuple of (n, ...) tensors
            Each row from its patch alone, so that those of several calls can be joined in any order.

        Raises
        ------
        TypeError
            If the model does not read each patch alone (`reads_each_alone`).
        """
        raise TypeError(f"{type(self).__name__} does not read each patch by itself")

    def pool_patches(self, *read: Tensor) -> BagOutput:
        """Predict the bag of the patches that `read_patches` read, with scores: the same as reading them at once.

        Parameters
        ----------
        *read : (N, ...) tensors
            As `read_patches` returns them, N >= 1.

        Returns
        -------
        BagOutput
            Logits and scores, as `forward` gives them.

        Raises
        ------
        TypeError
            As in `read_patches`.
        ModelError
            If the features hold NaN or infinite numbers.
        """
        raise TypeError(f"{type(self).__name__} does not read each patch by itself")

    def noted(self, attention: Tensor) -> Tensor:
        """Pass on an attention (N,) or (N, K), having told `note_attention` of it."""
        if self.note_attention is not None:
            self.note_attention(attention)
        return attention

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return class probabilities (C,) for logits (C,): softmax, or sigmoid for a single class."""
        return torch.softmax(logits, dim=-1) if logits.shape[-1] > 1 else torch.sigmoid(logits)
