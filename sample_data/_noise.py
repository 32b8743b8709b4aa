"""Smooth random fields that any point of a slide can be asked for, in any order, with the same answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from scipy import ndimage as ndi

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Field = NDArray[np.floating[Any]]

_EDGE = 1024
_SIGMA = 4.0
_PER_FEATURE = 12.0
_N_TEXTURES = 4


class Noise:
    """Named noise fields over the plane, zero mean and unit variance.

    Every name reads one of a few periodic textures (Gaussian-filtered white noise) from its own place, linearly
    interpolated; a field repeats after about 85 features, which domain warping hides.

    Parameters
    ----------
    seed : int
        The same seed gives the same fields.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        rng = np.random.default_rng([seed, 101])
        white = rng.standard_normal((_N_TEXTURES, _EDGE, _EDGE), dtype=np.float32)
        smooth = ndi.gaussian_filter(white, (0, _SIGMA, _SIGMA), mode="wrap")
        self._textures = np.ascontiguousarray(smooth / smooth.std(axis=(1, 2), keepdims=True))

    def __call__(self, name: str, y: Field, x: Field, size_y: float, size_x: float | None = None) -> Field:
        """Return the field ``name`` at points.

        Parameters
        ----------
        name : str
            Which field; other names are independent.
        y, x : float32 arrays of one shape
            Where, in any unit.
        size_y, size_x : float
            About the width of one bump along y and x, in that unit; ``size_x`` defaults to ``size_y``.
        """
        key = crc32(f"{name}/{self._seed}".encode())
        scale_y, scale_x = _PER_FEATURE / size_y, _PER_FEATURE / (size_x or size_y)
        at_y = np.asarray(y * np.float32(scale_y) + np.float32(key % _EDGE), np.float32)
        at_x = np.asarray(x * np.float32(scale_x) + np.float32((key >> 10) % _EDGE), np.float32)
        sampled = ndi.map_coordinates(
            self._textures[(key >> 20) % _N_TEXTURES], (at_y, at_x), order=1, mode="grid-wrap", prefilter=False
        )
        return np.asarray(sampled, np.float32)


def smoothstep(value: Field, low: Field | float, high: Field | float) -> Field:
    """Return 0 below ``low``, 1 above ``high`` and a smooth rise between them."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def scattered(rng: np.random.Generator, size_um: tuple[float, float], spacing_um: float, jitter: float = 0.33) -> Field:
    """Return (N, 2) float32 points (y, x) in microns: a hexagonal lattice, every point moved at random.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    size_um : (float, float)
        Height and width to fill.
    spacing_um : float
        Lattice constant.
    jitter : float
        Largest move as a share of the spacing.
    """
    pitch_y = spacing_um * 0.866
    rows, cols = int(size_um[0] / pitch_y) + 1, int(size_um[1] / spacing_um) + 1
    row, col = np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij")
    points = np.stack([row * pitch_y, (col + 0.5 * (row % 2)) * spacing_um], -1).reshape(-1, 2)
    points = points + rng.uniform(-jitter, jitter, points.shape) * spacing_um
    inside = (points >= 0).all(1) & (points[:, 0] < size_um[0]) & (points[:, 1] < size_um[1])
    return np.asarray(points[inside], np.float32)
