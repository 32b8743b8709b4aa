"""How far fine-tuning has come, in words and numbers."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import TypeVar

import numpy as np

from ..progress import Pacer, Progress, Steps
from ._results import Epoch

STAGE = "Fine-tuning"
T = TypeVar("T")


class Told:
    """Turns a fit's signs of life into Progress.

    Parameters
    ----------
    pacer : Pacer
        Of the whole run, in slides.
    before : int
        Slides of the fits before this one, each with all its epochs though it may have stopped early.
    per_epoch : int
        Slides of an epoch of this fit.
    what : str
        What to call it.
    """

    def __init__(self, pacer: Pacer, before: int, per_epoch: int, what: str) -> None:
        self._pacer, self._before, self._per_epoch, self._what = pacer, before, per_epoch, what

    def fitted(self, fitting: Generator[Epoch | bool, None, int]) -> Steps[tuple[int, list[Epoch]]]:
        """Yield Progress of a fit; return the epoch that was kept and all epochs."""
        history: list[Epoch] = []
        learned = 0
        with closing(fitting):
            while True:
                try:
                    found = next(fitting)
                except StopIteration as end:
                    return end.value, history
                if isinstance(found, Epoch):
                    history.append(found)
                    # also of epochs of before, which a resumed fit tells again
                    learned = len(history) * self._per_epoch
                else:
                    learned += found
                progress = self._pacer.step(self._before + learned, self._words(history))
                if progress is not None:
                    yield progress

    def predicted(self, predicting: Generator[bool, None, T]) -> Steps[T]:
        """Yield Progress of predictions; return them."""
        while True:
            try:
                next(predicting)
            except StopIteration as end:
                found: T = end.value
                return found
            yield Progress(STAGE, message=f"{self._what}, predicting slides it was not fitted on")

    def _words(self, history: list[Epoch]) -> str:
        known = history and not np.isnan(history[-1].val_auc)
        auc = f", validation AUC {history[-1].val_auc:.2f}" if known else ""
        return f"{self._what}, epoch {len(history) + 1}{auc}"
