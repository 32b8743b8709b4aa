"""The epochs of a fit so far, and the weights of the best one: what a fit goes on from after a kill."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from torch import Tensor, nn

from ._results import Epoch


class Stateful(Protocol):
    """What can be put away and taken up again."""

    def state_dict(self) -> dict[str, Any]:
        """Return its state."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Take up a state."""


class Epochs:
    """A model being fitted, and how far it has come.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    stepper : Stateful
        What changes it.

    Attributes
    ----------
    history : list of Epoch
        The epochs so far.
    best_loss, best_epoch : float, int
        Lowest validation loss of those that counted, and its epoch from 1; infinity and 0 before any.
    """

    def __init__(self, model: nn.Module, stepper: Stateful) -> None:
        self._model, self._stepper = model, stepper
        self.history: list[Epoch] = []
        self.best_loss, self.best_epoch = math.inf, 0
        self._best_weights: dict[str, Tensor] | None = None

    def add(self, epoch: Epoch, *, counts: bool = True) -> None:
        """Add an epoch that was run; if it counts and is the best so far, its weights are kept."""
        self.history.append(epoch)
        if counts and epoch.val_loss < self.best_loss:
            self.best_loss, self.best_epoch = epoch.val_loss, epoch.epoch
            self._best_weights = {
                name: value.detach().cpu().clone() for name, value in self._model.state_dict().items()
            }

    def keep(self) -> None:
        """Go back to the best epoch; the last one where none was."""
        if self._best_weights is not None:
            self._model.load_state_dict(self._best_weights)
        else:
            self.best_epoch = len(self.history)

    def state(self) -> dict[str, Any]:
        """Return all that the next epochs depend on."""
        return {
            "history": [asdict(epoch) for epoch in self.history],
            "weights": self._model.state_dict(),
            "stepper": self._stepper.state_dict(),
            "best": {"loss": self.best_loss, "epoch": self.best_epoch, "weights": self._best_weights},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self._model.load_state_dict(state["weights"])
        self._stepper.load_state_dict(state["stepper"])
        best = state["best"]
        self.best_loss, self.best_epoch, self._best_weights = best["loss"], best["epoch"], best["weights"]
