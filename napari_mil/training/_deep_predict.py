"""What an encoder and a pooling that are fitted together say of a slide's patches, a chunk at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..counting import counted
from ..errors import ModelError
from ._deep_patches import as_images

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._deep import DeepMIL


def encode_pool(model: DeepMIL, pool: NDArray[np.uint8]) -> Generator[bool, None, Tensor]:
    """Encode a slide's patches as they are, without gradients.

    Parameters
    ----------
    model : DeepMIL
        In evaluation mode.
    pool : (n, T, T, 3) uint8
        The patches.

    Yields
    ------
    bool
        False after each chunk.

    Returns
    -------
    (n, D) tensor
        Standardised features, where the model is.
    """
    parts = []
    for start in range(0, len(pool), model.chunk):
        with torch.no_grad(), enough_memory(model.chunk):
            parts.append(model.standardised(as_images(pool[start : start + model.chunk])))
        yield False
    return torch.cat(parts)


def predict_pool(model: DeepMIL, pool: NDArray[np.uint8]) -> Generator[bool, None, NDArray[np.float64]]:
    """Return the class probabilities (C,) of a slide by its patches; yields as `encode_pool`."""
    bag = yield from encode_pool(model, pool)
    with torch.no_grad():
        logits = model.pooling(bag, scores=False).logits
    probabilities: NDArray[np.float64] = model.pooling.probabilities(logits.cpu().double()).numpy()
    return probabilities


@contextmanager
def enough_memory(chunk: int) -> Iterator[None]:
    """Say in words that a GPU has too little memory for so many patches."""
    try:
        yield
    except torch.OutOfMemoryError as err:
        raise ModelError(
            f"The GPU has not enough memory for {counted(chunk, 'patch')} at once. Encode fewer (--chunk)."
        ) from err
