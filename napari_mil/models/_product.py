"""Linear layers over many rows, by the quickest product of float32 matrices that PyTorch has for this processor.

PyTorch multiplies float32 matrices by MKL, which on AMD's processors leaves 512-bit instructions unused. oneDNN, by
which it convolves, uses them on all, so a linear layer is computed as a convolution of one pixel, there in half the
time.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

LEAST_ROWS, LEAST_COLUMNS = 64, 32  # below which MKL is as quick, or quicker
LEAST_COPIED = 65_536  # weights at a time, 256 KB


def linear(layer: nn.Linear, rows: Tensor) -> Tensor:
    """Return what a linear layer makes of rows (n, in): (n, out)."""
    product: Tensor = _convolved(layer, rows) if _suits(layer, rows) else layer(rows)
    return product


def _suits(layer: nn.Linear, rows: Tensor) -> bool:
    return (
        not torch.is_grad_enabled()  # training keeps to the layer itself
        and len(rows) >= LEAST_ROWS
        and layer.out_features >= LEAST_COLUMNS
        and rows.device.type == "cpu"
        and rows.dtype == layer.weight.dtype == torch.float32
        and rows.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
        and _plain(layer)
        and _wide()
    )


def _plain(layer: nn.Linear) -> bool:
    """Whether calling the layer does nothing but multiply: no other class's work, no hooks."""
    return type(layer) is nn.Linear and not layer._forward_hooks and not layer._forward_pre_hooks


def _convolved(layer: nn.Linear, rows: Tensor) -> Tensor:
    # the rows as pixels whose numbers lie beside one another, which is the layout that oneDNN takes as it is; of the
    # weights it makes a copy, so they are taken a few at a time where the rows are few
    pixels = rows.view(1, len(rows), 1, -1).permute(0, 3, 1, 2)  # (1, in, n, 1)
    at_once = max(LEAST_COPIED // layer.in_features, layer.out_features // 2, len(rows) // 4)
    if at_once >= layer.out_features:
        return _one_pixel(pixels, layer.weight, layer.bias)
    product = rows.new_empty(len(rows), layer.out_features)
    for start in range(0, layer.out_features, at_once):
        some = slice(start, start + at_once)
        product[:, some] = _one_pixel(pixels, layer.weight[some], None if layer.bias is None else layer.bias[some])
    return product


def _one_pixel(pixels: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # dilation does nothing to a kernel of one pixel, but without it one thread would be left to MKL again
    return conv2d(pixels, weight[:, :, None, None], bias, dilation=2)[0, :, :, 0].T  # (n, out)


@cache
def _wide() -> bool:
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
