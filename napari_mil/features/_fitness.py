"""How well an encoder suits this machine, in words, before anything is loaded or fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]
import torch

from ._device import choose_device

if TYPE_CHECKING:
    from ._catalogue import EncoderEntry

_BYTES_PER_PARAMETER = 4 * 1.5  # float32, and room for what passes through
_SLOW_ON_CPU, _VERY_SLOW_ON_CPU = 20.0, 150.0  # millions of parameters: about 40 and 3 patches/s on four cores


def fitness(entry: EncoderEntry, *, device: str = "auto") -> str:
    """Say whether an encoder can be used on this machine as it is, and how well.

    Parameters
    ----------
    entry : EncoderEntry
        The encoder.
    device : {"auto", "cpu", "cuda", "mps"}
        Where it would run.

    Returns
    -------
    str
        A clause such as "ready", or a sentence with what is missing and the remedy.

    Raises
    ------
    EncoderError
        Where a GPU is asked for that cannot be used.
    """
    if not entry.usable:
        return entry.reason
    where = choose_device(device).device
    need = entry.parameters * 1e6 * _BYTES_PER_PARAMETER
    free = torch.cuda.mem_get_info()[0] if where == "cuda" else psutil.virtual_memory().available
    if need > free:
        place = "on the GPU" if where == "cuda" else "here"
        return (
            f"It takes about {need / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free {place}. Close other programs."
        )
    if where != "cpu" or entry.parameters < _SLOW_ON_CPU:
        return "ready"
    return (
        "ready, but very slow without a GPU"
        if entry.parameters >= _VERY_SLOW_ON_CPU
        else "ready, but slow without a GPU"
    )
