"""Pictures of slides drawn on the spot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_mil.tiling import TissueMask


@pytest.fixture
def glass() -> Callable[..., np.ndarray]:
    """Return a function that makes empty glass with sensor noise."""

    def make(shape: tuple[int, int] = (300, 400), colour: tuple[int, int, int] = (243, 243, 243)) -> np.ndarray:
        noise = np.random.default_rng(0).normal(0, 1.2, (*shape, 3))
        return np.clip(np.rint(np.array(colour) + noise), 0, 255).astype(np.uint8)

    return make


@pytest.fixture
def stain() -> Callable[..., None]:
    """Return a function that paints textured tissue inside a boolean mask."""

    def paint(rgb: np.ndarray, where: np.ndarray, colour: tuple[int, int, int] = (205, 140, 185)) -> None:
        texture = np.random.default_rng(1).normal(0, 9, rgb.shape)
        rgb[where] = np.clip(np.array(colour) + texture, 0, 255).astype(np.uint8)[where]

    return paint


@pytest.fixture
def make_mask() -> Callable[..., TissueMask]:
    """Return a function that wraps a boolean array as the mask of a slide of a given shape."""

    def make(mask: np.ndarray, shape: tuple[int, int], mpp: tuple[float, float] = (0.5, 0.5)) -> TissueMask:
        return TissueMask(mask, (shape[0] / mask.shape[0], shape[1] / mask.shape[1]), mpp, 15.0)

    return make
