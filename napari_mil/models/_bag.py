"""What every model asks of a bag, and how it is read: a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..errors import ModelError

T = TypeVar("T")

BLOCK_ROWS = 2048  # most of a bag's rows read at once: 2 MB of hidden activations at 256 float32
LEAST_ROWS, PARTS = 256, 8  # of a smaller bag an eighth, so that little is held at a time
JOINED_PARTS = 4  # of a bag of any size by several threads: beside other work each step of a block waits for the last
DEVICE_ROWS = 8192  # rows where each step costs a launch on another device


def check_bag(bag: Tensor, in_features: int) -> None:
    """Refuse what is no bag.

    Raises
    ------
    ValueError
        If the bag is empty or not (N, in_features) floating point.
    """
    if bag.ndim != 2 or len(bag) == 0 or bag.shape[1] != in_features or not bag.is_floating_point():
        raise ValueError(f"bag must be (N >= 1, {in_features}) floating point, not {tuple(bag.shape)} {bag.dtype}")


def read_rows(bag: Tensor, like: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
    """Return read(rows) of all blocks of rows, joined; the rows are moved to the device and dtype of a weight."""
    return read_together(bag, like, lambda rows: (read(rows),))[0]


def read_together(bag: Tensor, like: Tensor, read: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Return each of the tensors of read(rows) of all blocks of rows, joined, as `read_rows` does for one.

    Without gradients they are set aside once and filled: joining doubles them, and what blocks leave lying between
    their passing needs keeps the allocator from using that space again for the next block.
    """
    step = _block_rows(len(bag), like)
    if torch.is_grad_enabled() or len(bag) <= step:
        return tuple(torch.cat(parts) for parts in zip(*read_blocks(bag, like, read), strict=True))
    whole: tuple[Tensor, ...] = ()
    for start in range(0, len(bag), step):
        parts = read(bag[start : start + step].to(like.device, like.dtype))
        whole = whole or tuple(part.new_empty(len(bag), *part.shape[1:]) for part in parts)
        for rows, part in zip(whole, parts, strict=True):
            rows[start : start + step] = part
    return whole


def read_blocks(bag: Tensor, like: Tensor, read: Callable[[Tensor], T]) -> list[T]:
    """Return read(rows) of each block of rows; the rows are moved to the device and dtype of a weight.

    Where the gradient of the bag itself is wanted, as of no training, what a block computes on the way is computed
    again for it instead of kept.
    """
    blocks = torch.split(bag, _block_rows(len(bag), like))
    if bag.is_leaf and bag.requires_grad and torch.is_grad_enabled() and len(blocks) > 1:
        return [checkpoint(read, rows.to(like.device, like.dtype), use_reentrant=False) for rows in blocks]
    return [read(rows.to(like.device, like.dtype)) for rows in blocks]


def _block_rows(n: int, like: Tensor) -> int:
    if like.device.type != "cpu":
        most = DEVICE_ROWS
    elif torch.is_grad_enabled() or torch.get_num_threads() == 1:
        most = min(BLOCK_ROWS, max(LEAST_ROWS, n // PARTS))
    else:
        most = max(LEAST_ROWS, -(-n // JOINED_PARTS))
    return -(-n // -(-n // most))  # of one size, or nearly: the last block is no small one


def check_finite(*values: Tensor) -> None:
    """Refuse to score what is not finite.

    Raises
    ------
    ModelError
        If any value is NaN or infinite.
    """
    if not all(torch.isfinite(value).all() for value in values):
        raise ModelError(
            "The features hold numbers that are not finite (or far too large), so this model cannot score them. "
            "Extract the features of this slide again."
        )


@torch.no_grad()
def absorb(layer: torch.nn.Linear, mean: Tensor, std: Tensor) -> None:
    """Fold (x - mean) / std, float64, into a linear layer with a bias, so that it takes x."""
    weight = layer.weight.cpu().double() / std
    layer.bias.copy_(layer.bias.cpu().double() - weight @ mean)
    layer.weight.copy_(weight)
