"""What a model costs: its parameters, and the time that a prediction takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..counting import counted
from ..errors import ModelError
from ..models import check_fit, load_model
from ..progress import Pacer, Steps

if TYPE_CHECKING:
    from pathlib import Path

    from ..features import EncoderInfo
    from ..models import MILModel
    from ..training import Bags
    from ._predictions import Candidate


@dataclass(frozen=True, slots=True)
class Cost:
    """What a candidate's model costs.

    Parameters
    ----------
    parameters : int
        Numbers that were fitted.
    seconds : float
        Median over the test slides of one prediction from features in memory, without scores; NaN where no features
        were at hand.
    n_patches : int
        Median patches of these slides; 0 where none were at hand.
    device : str
        Where it was timed, with PyTorch's threads on a CPU; empty where it was not.
    """

    parameters: int
    seconds: float = float("nan")
    n_patches: int = 0
    device: str = ""


def iter_cost(candidate: Candidate, bags: Bags | None, device: str) -> Steps[Cost | None]:
    """Count parameters and time predictions of the test slides, each by its fold's model.

    Parameters
    ----------
    candidate : Candidate
        With model files; without them there is no cost.
    bags : Bags or None
        Features of the test slides.
    device : str
        Torch device.

    Yields
    ------
    Progress
        In slides.

    Returns
    -------
    Cost or None
        The cost.

    Raises
    ------
    ModelError
        If a model cannot be loaded, or takes other features.
    """
    if not candidate.models:
        return None
    pacer = Pacer(f"Timing {candidate.name}", len(candidate.test), unit="slides")
    seconds: list[float] = []
    sizes: list[int] = []
    parameters = 0
    for fold, path in sorted(candidate.models.items()):
        model = fitting_model(path, bags.encoder if bags is not None else None).to(device)
        parameters = sum(weight.numel() for weight in model.parameters())
        if bags is None:
            break
        rows = np.flatnonzero(candidate.test.folds == fold)
        for count, row in enumerate(rows):
            bag = torch.from_numpy(bags.values[candidate.test.slides[row]])
            if count == 0:
                _seconds(model, bag, device)  # the first prediction pays for what is loaded on demand
            seconds.append(_seconds(model, bag, device))
            sizes.append(len(bag))
            progress = pacer.step(len(seconds))
            if progress is not None:
                yield progress
    if not seconds:
        return Cost(parameters)
    where = f"{device}, {counted(torch.get_num_threads(), 'thread')}" if device == "cpu" else device
    return Cost(parameters, float(np.median(seconds)), int(np.median(sizes)), where)


def fitting_model(path: Path, encoder: EncoderInfo | None) -> MILModel:
    """Load a model, or say that it does not take an encoder's features.

    Raises
    ------
    ModelError
        As `load_model`, and if it does not fit.
    """
    model = load_model(path).eval()
    reason = check_fit(model.card, encoder) if encoder is not None else None
    if reason:
        raise ModelError(f"{path.name}: {reason} Give the features that it was trained on.")
    return model


def _seconds(model: MILModel, bag: torch.Tensor, device: str) -> float:
    with torch.inference_mode():
        before = time.perf_counter()
        model(bag, scores=False).logits.cpu()  # the copy waits for the device
        return time.perf_counter() - before
