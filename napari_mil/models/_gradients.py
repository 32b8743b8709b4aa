"""How the prediction answers to a patch's features: gradient times input, and integrated gradients."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..progress import Pacer, Steps
from ..triton_guard import prepare_optimizers
from ._bag import BLOCK_ROWS, check_bag, check_finite
from ._base import MILModel, Score

Baseline: TypeAlias = Literal["zero", "mean"]
GRADIENT_STEPS = 32
_STAGE = "Computing gradients"


def iter_gradient_x_input(model: MILModel, bag: Tensor) -> Steps[Score]:
    r"""Multiply each patch's features by how fast the logit rises with them.

    .. math::

        g_{ic} = \sum_d x_{id} \frac{\partial\,\mathrm{logit}_c}{\partial x_{id}}

    How the logit would move, to first order, if the patch grew or faded a little: a slope at the slide as it is. Where
    the logit is linear in the patches it is their contribution, exactly; elsewhere it adds up to nothing in particular.
    As long as two or three predictions per class.

    Shrikumar, Greenside and Kundaje, "Learning important features through propagating activation differences", ICML
    2017, section 2.

    Parameters
    ----------
    model : MILModel
        The model, in evaluation mode.
    bag : (N, D) floating tensor
        The bag.

    Yields
    ------
    Progress
        Before the work, which is one step.

    Returns
    -------
    Score
        (C, N) of kind "gradient_x_input".

    Raises
    ------
    ValueError
        If the bag is no bag.
    ModelError
        If the features hold numbers that are not finite.
    """
    values, start = _ends(model, bag, "zero")
    yield from _now(Pacer(_STAGE, 1, unit="steps"), 0)
    return Score(_slopes(model, values, start, 1.0).float(), "gradient_x_input")


def iter_integrated_gradients(
    model: MILModel, bag: Tensor, *, baseline: Baseline = "zero", steps: int = GRADIENT_STEPS
) -> Steps[Score]:
    r"""Add up the gradients on the straight way from a bag that says nothing to this one.

    .. math::

        I_{ic} = \sum_d (x_{id} - x'_d) \int_0^1
        \frac{\partial\,\mathrm{logit}_c(x' + \alpha (x - x'))}{\partial x_{id}}\,d\alpha, \quad
        \sum_i I_{ic} = \mathrm{logit}_c(x) - \mathrm{logit}_c(x')

    x' is a bag of as many patches that are all the same. The sum over the patches (completeness) holds as far as the
    integral is computed, by Gauss and Legendre's rule, and wherever the logit has no jumps on the way; of the poolings
    here only ``dtfd`` that picks single patches ("maxs", "maxmins") has. As long as two or three predictions per class
    and step; memory is that of one.

    Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017, equation 1.

    Parameters
    ----------
    model : MILModel
        The model, in evaluation mode.
    bag : (N, D) floating tensor
        The bag.
    baseline : str
        "zero": every feature is 0; "mean": every patch is the bag's mean patch.
    steps : int
        Points on the way.

    Yields
    ------
    Progress
        In steps. Closing the generator ends the work.

    Returns
    -------
    Score
        (C, N) of kind "integrated_gradients".

    Raises
    ------
    ValueError
        If the bag is no bag, the baseline is not known or steps is below 1.
    ModelError
        If the features hold numbers that are not finite.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    values, start = _ends(model, bag, baseline)
    places, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros(len(model.card.class_names), len(bag), dtype=torch.float64)
    pacer = Pacer(_STAGE, steps, unit="steps")
    for done, (place, weight) in enumerate(zip(places, weights, strict=True)):
        yield from _now(pacer, done)
        total += 0.5 * float(weight) * _slopes(model, values, start, 0.5 * (1.0 + float(place)))
    return Score(total.float(), "integrated_gradients")


def _now(pacer: Pacer, done: int) -> Steps[None]:
    progress = pacer.step(done)
    if progress is not None:
        yield progress


def _ends(model: MILModel, bag: Tensor, baseline: Baseline) -> tuple[Tensor, Tensor]:
    """Return the bag on the model's device, and the one patch (1, D) that the baseline is made of."""
    check_bag(bag, model.card.in_features)
    check_finite(bag)
    prepare_optimizers()  # PyTorch's checkpointing loads what would load Triton
    like = next(model.parameters())
    values = bag.detach().to(like.device, like.dtype)
    if baseline == "zero":
        return values, torch.zeros_like(values[:1])
    if baseline == "mean":
        return values, values.mean(dim=0, keepdim=True)
    raise ValueError(f"baseline must be zero or mean, not {baseline!r}")


def _slopes(model: MILModel, values: Tensor, start: Tensor, place: float) -> Tensor:
    """Return (C, N) float64 on the CPU: (x - x') times the gradient at a place on the way, summed over features."""
    with torch.enable_grad():
        x = (values - start).mul_(place).add_(start).requires_grad_()
        logits = model(x, scores=False).logits
        rows = []
        for c, logit in enumerate(logits):
            (slope,) = torch.autograd.grad(logit, x, retain_graph=c + 1 < len(logits))
            rows.append(_inner(values, start, slope))
    return torch.stack(rows)


def _inner(values: Tensor, start: Tensor, slope: Tensor) -> Tensor:
    """Return (N,) float64 on the CPU: (x - x') times the slope, summed over features, a block of rows at a time."""
    blocks = zip(torch.split(values, BLOCK_ROWS), torch.split(slope, BLOCK_ROWS), strict=True)
    return torch.cat([((some - start) * by).sum(dim=1).cpu().double() for some, by in blocks])
