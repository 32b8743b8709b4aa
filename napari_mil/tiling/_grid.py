"""The plain data of tiling: where tissue is, and where the tiles lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class TissueMask:
    """Where a slide carries tissue, at low resolution.

    Parameters
    ----------
    mask : (rows, cols) bool
        True on tissue.
    l0_per_px : (float, float)
        Level-0 pixels per mask pixel, (row, col); exact, not rounded.
    mpp : (float, float) or None
        Microns per level-0 pixel, (y, x), of the slide; None where unknown.
    threshold : float or None
        Saturation (0 to 255) above which a pixel counted as tissue, where the mask was found by it.
    origin : str
        How the mask came about, a clause for people and for provenance.
    """

    mask: NDArray[np.bool_]
    l0_per_px: tuple[float, float]
    mpp: tuple[float, float] | None
    threshold: float | None = None
    origin: str = "found automatically"

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_:
            raise ValueError(f"mask must be (rows, cols) bool, not {self.mask.shape} {self.mask.dtype}")
        if not all(edge > 0 for edge in self.l0_per_px):
            raise ValueError(f"l0_per_px must be positive, not {self.l0_per_px}")

    @classmethod
    def from_labels(
        cls,
        labels: NDArray[np.integer] | NDArray[np.bool_],
        shape: tuple[int, int],
        mpp: tuple[float, float] | None,
        *,
        origin: str = "labels",
    ) -> Self:
        """Make a mask of an array that was painted.

        Parameters
        ----------
        labels : (rows, cols) int or bool
            Anything but 0 is tissue; spans the whole slide, whatever its resolution.
        shape : (int, int)
            The slide's level-0 (height, width) in pixels.
        mpp : (float, float) or None
            Microns per level-0 pixel, (y, x), of the slide.
        origin : str
            As in `TissueMask`.

        Returns
        -------
        TissueMask
            The mask.

        Raises
        ------
        ValueError
            If the array is not two-dimensional, is empty or finer than the slide.
        """
        if labels.ndim != 2 or not all(0 < have <= most for have, most in zip(labels.shape, shape, strict=True)):
            raise ValueError(f"labels must be (rows, cols), 1 to {shape}, not {labels.shape}")
        return cls(labels != 0, (shape[0] / labels.shape[0], shape[1] / labels.shape[1]), mpp, None, origin)

    def to_labels(self) -> NDArray[np.uint8]:
        """Return the mask as an array to paint in: 1 on tissue, 0 elsewhere."""
        return self.mask.astype(np.uint8)

    def spans(self, shape: tuple[int, int]) -> bool:
        """Tell whether the mask covers a slide of level-0 (height, width) exactly: to half a pixel of its own."""
        pairs = zip(self.mask.shape, self.l0_per_px, shape, strict=True)
        return all(abs(count * edge - length) <= edge / 2 for count, edge, length in pairs)

    @property
    def fraction(self) -> float:
        """Share of the slide covered by tissue, in [0, 1]."""
        return float(self.mask.mean()) if self.mask.size else 0.0

    @property
    def area_mm2(self) -> float | None:
        """Tissue area in square millimetres, or None where the slide has no scale."""
        if self.mpp is None:
            return None
        px_um2 = self.l0_per_px[0] * self.mpp[0] * self.l0_per_px[1] * self.mpp[1]
        return float(self.mask.sum()) * px_um2 / 1e6


@dataclass(frozen=True, slots=True, eq=False)
class TileGrid:
    """The tiles of a slide, in raster order (top to bottom, left to right).

    Parameters
    ----------
    l0_rc : (N, 2) int64
        Top-left corner of each tile, level-0 pixels, (row, col).
    tile_l0 : float
        Edge of a tile in level-0 pixels; need not be whole.
    stride_l0 : float
        Distance between neighbouring tiles in level-0 pixels; equal to ``tile_l0`` without overlap.
    tile_px : int
        Edge of a patch in pixels as the encoder sees it.
    mpp : float
        Microns per patch pixel: a tile's edge is ``tile_px * mpp`` microns. Tiles are square in level-0 pixels; on a
        slide whose pixels are not square the edge is the geometric mean of height and width, so that areas are exact.
    tissue_fraction : (N,) float32
        Share of each tile that is tissue, in [0, 1]; NaN where unknown (files of other tools).
    """

    l0_rc: NDArray[np.int64]
    tile_l0: float
    stride_l0: float
    tile_px: int
    mpp: float
    tissue_fraction: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.l0_rc.ndim != 2 or self.l0_rc.shape[1] != 2 or self.l0_rc.dtype != np.int64:
            raise ValueError(f"l0_rc must be (N, 2) int64, not {self.l0_rc.shape} {self.l0_rc.dtype}")
        if self.tissue_fraction.shape != (len(self.l0_rc),):
            raise ValueError(f"tissue_fraction must be ({len(self.l0_rc)},), not {self.tissue_fraction.shape}")
        if not (self.tile_l0 > 0 and self.stride_l0 > 0 and self.tile_px > 0 and self.mpp > 0):
            raise ValueError("tile_l0, stride_l0, tile_px and mpp must be positive")

    def __len__(self) -> int:
        return len(self.l0_rc)

    @property
    def tile_um(self) -> float:
        """Edge of a tile in microns."""
        return self.tile_px * self.mpp

    @property
    def tile_mm2(self) -> float:
        """Area that one tile stands for in square millimetres; its stride squared, so that overlaps count once."""
        return (self.tile_um * self.stride_l0 / self.tile_l0 / 1000) ** 2

    def l0_centres(self) -> NDArray[np.float64]:
        """Return the (N, 2) centres of the tiles, level-0 pixels, (row, col), napari's pixel-centre convention.

        napari puts pixel centres on whole numbers, so the centre of a tile at ``r`` of edge ``T`` is ``r + T/2 - 0.5``.
        """
        return self.l0_rc.astype(np.float64) + (self.tile_l0 / 2 - 0.5)
