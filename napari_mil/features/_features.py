"""The plain data of the features room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..slides import SlideRef
    from ..tiling import TileGrid


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """What a feature file and a model card remember of an encoder.

    Parameters
    ----------
    name : str
        The name ``load_encoder`` takes, or a TorchScript file's stem ("colour-texture", "idc_cnn").
    version : str
        Version of the encoder's code or export; empty where unknown.
    weights_hash : str
        First 16 hex digits of the SHA-256 of the weights; empty for an encoder without weights.
    dim : int
        Length D of a feature vector.
    tile_px : int
        Patch edge in pixels that it expects.
    mpp : float
        Microns per pixel that it expects.
    """

    name: str
    version: str
    weights_hash: str
    dim: int
    tile_px: int
    mpp: float

    def same_features(self, other: EncoderInfo) -> bool:
        """Tell whether both name the same function of a patch: same name, weights, dimension, version."""
        mine = (self.name, self.weights_hash, self.dim, self.version)
        return mine == (other.name, other.weights_hash, other.dim, other.version)


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A bag: one feature vector per tile of a slide.

    Parameters
    ----------
    values : (N, D) float32
        Features, in the grid's order.
    grid : TileGrid
        The tiles.
    encoder : EncoderInfo
        What made the features.
    slide : SlideRef
        Which slide they come from.
    unreadable_tiles : int
        Tiles with tissue that ``grid`` lacks because the slide is damaged there.
    """

    values: NDArray[np.float32]
    grid: TileGrid
    encoder: EncoderInfo
    slide: SlideRef
    unreadable_tiles: int = 0

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or len(self.values) != len(self.grid):
            raise ValueError(f"values must be ({len(self.grid)}, D), not {self.values.shape}")

    def __len__(self) -> int:
        return len(self.grid)
