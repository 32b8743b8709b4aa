"""What each patch changes, by leaving it out and computing the bag anew."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..progress import Pacer, Steps
from ._bag import check_bag
from ._base import MILModel, Score
from ._tokens import TokenModel

_PATCHES_AT_ONCE = 64


def iter_leave_one_out(model: MILModel, bag: Tensor, patches: Sequence[int] | None = None) -> Steps[Score]:
    """Leave patches out one at a time: logit with the patch minus logit without it, exact for every model.

    Models that state their own leave-one-out give it at once. For those whose patches attend to one another each bag
    without a patch is computed anew, many together, which takes as long as that many predictions.

    Parameters
    ----------
    model : MILModel
        The model, in evaluation mode.
    bag : (N, D) floating tensor
        The bag.
    patches : sequence of int, optional
        Which patches; None for all. The others get NaN.

    Yields
    ------
    Progress
        In patches. Closing the generator ends the work.

    Returns
    -------
    Score
        (C, N) of kind "leave_one_out"; NaN for a bag of one patch, which says nothing without it.

    Raises
    ------
    ValueError
        If the bag is no bag, or a patch is not in it.
    """
    check_bag(bag, model.card.in_features)
    wanted = torch.arange(len(bag)) if patches is None else torch.as_tensor(list(patches), dtype=torch.int64)
    if len(wanted) and (int(wanted.min()) < 0 or int(wanted.max()) >= len(bag)):
        raise ValueError(f"patches must lie in 0 to {len(bag) - 1}")
    raw = torch.full((len(model.card.class_names), len(bag)), torch.nan)
    if len(bag) > 1 and len(wanted):
        if isinstance(model, TokenModel):
            yield from _recompute(model, bag, wanted, raw)
        else:
            raw[:, wanted] = model(bag).scores["leave_one_out"].raw[:, wanted]
    return Score(raw, "leave_one_out")


def _recompute(model: TokenModel, bag: Tensor, wanted: Tensor, raw: Tensor) -> Steps[None]:
    with torch.no_grad():
        whole = model(bag, scores=False).logits.cpu()
    pacer = Pacer("Leaving patches out", len(wanted))
    done = 0
    for some in torch.split(wanted, _PATCHES_AT_ONCE):
        raw[:, some] = (whole - model.logits_without(bag, some)).T.float()
        done += len(some)
        progress = pacer.step(done)
        if progress is not None:
            yield progress
