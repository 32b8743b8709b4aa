"""The grid of tiles: fixed to the slide's corner, sized in microns, kept where there is tissue."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TilingError
from ._grid import TileGrid, TissueMask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..slides import Slide

FINEST_RATIO = 2.2
"""How much finer than the scan tiles may be asked for; beyond one octave (and a margin for nominal 20x and 40x scans)
enlarging would show an encoder detail that was never recorded."""


def tile(
    slide: Slide,
    mask: TissueMask,
    *,
    tile_px: int = 256,
    mpp: float = 0.5,
    stride_px: int | None = None,
    min_tissue: float = 0.25,
) -> TileGrid:
    """Cut a slide into tiles.

    Parameters
    ----------
    slide : Slide
        The slide; it must know its scale.
    mask : TissueMask
        Where its tissue is, from `find_tissue`.
    tile_px : int
        Edge of a patch in pixels, as the encoder sees it.
    mpp : float
        Microns per patch pixel; a tile's edge is ``tile_px * mpp`` microns.
    stride_px : int, optional
        Distance between neighbouring tiles in patch pixels; smaller than ``tile_px`` makes them overlap. By default
        ``tile_px``.
    min_tissue : float
        Least share of a tile that must be tissue, 0 to 1.

    Returns
    -------
    TileGrid
        The tiles with enough tissue, in raster order.

    Raises
    ------
    TilingError
        If the slide has no scale, was scanned too coarsely, is smaller than a tile, or carries too little tissue.
    ValueError
        If a size is not positive or ``min_tissue`` is not within 0 to 1.
    """
    if slide.mpp is None:
        raise TilingError(
            f"{slide.path.name} does not say how large its pixels are, so tiles in microns cannot be laid. "
            'Give its scale: in the panel\'s "Scale" field, with --slide-mpp, or open_slide(path, mpp=...).'
        )
    return tile_grid(slide.shape, slide.mpp, mask, tile_px=tile_px, mpp=mpp, stride_px=stride_px, min_tissue=min_tissue)


def tile_grid(
    shape: tuple[int, int],
    slide_mpp: tuple[float, float],
    mask: TissueMask,
    *,
    tile_px: int = 256,
    mpp: float = 0.5,
    stride_px: int | None = None,
    min_tissue: float = 0.25,
) -> TileGrid:
    """Lay the grid of tiles over plain data; `tile` without a file.

    Row ``k`` begins at level-0 row ``round(k * stride_l0)``, columns likewise: every tile is placed afresh, so a stride
    that is not whole does not drift. Only tiles that lie wholly inside the slide are made.

    Parameters
    ----------
    shape : (int, int)
        Level-0 (height, width) in pixels.
    slide_mpp : (float, float)
        Microns per level-0 pixel, (y, x); tiles are square in level-0 pixels, by the geometric mean
        of the two, so that their area is exact.
    mask : TissueMask
        Where tissue is.
    tile_px, mpp, stride_px, min_tissue
        As in `tile`.

    Returns
    -------
    TileGrid
        As `tile` does.

    Raises
    ------
    TilingError
        As `tile` does, but for the missing scale.
    ValueError
        If a size is not positive or ``min_tissue`` is not within 0 to 1.
    """
    stride_px = tile_px if stride_px is None else stride_px
    if tile_px <= 0 or mpp <= 0 or stride_px <= 0:
        raise ValueError(f"tile_px, mpp and stride_px must be positive, not {tile_px}, {mpp} and {stride_px}")
    if not 0 <= min_tissue <= 1:
        raise ValueError(f"min_tissue must be within 0 to 1, not {min_tissue}")
    mean_mpp = math.sqrt(slide_mpp[0] * slide_mpp[1])
    if mpp * FINEST_RATIO < mean_mpp:
        raise TilingError(
            f"The slide was scanned at {mean_mpp:.3g} um per pixel, too coarse for patches at {mpp:g} um per pixel. "
            f"Choose an encoder that works at {mean_mpp / FINEST_RATIO:.2g} um per pixel or more, or a finer scan."
        )
    tile_l0, stride_l0 = tile_px * mpp / mean_mpp, stride_px * mpp / mean_mpp
    rows, cols = (_starts(length, tile_l0, stride_l0) for length in shape)
    if len(rows) == 0 or len(cols) == 0:
        raise TilingError(
            f"The slide is {shape[0]} x {shape[1]} pixels, smaller than one tile of {tile_l0:.0f} pixels "
            f"({tile_px * mpp:g} um). Choose a model or an encoder with smaller tiles, or check "
            f"the slide's scale of {mean_mpp:.3g} um per pixel."
        )
    if not mask.mask.any() and not mask.origin.startswith("found"):
        raise TilingError(
            f"The tissue mask ({mask.origin}) is empty. Draw tissue in it, or let tissue be found automatically."
        )
    if not mask.mask.any():
        raise TilingError(
            "No tissue was found on the slide. Check that it is stained and not blank, and that its scale of "
            f"{mean_mpp:.3g} um per pixel is right."
        )
    share = _tissue_share(mask, rows, cols, tile_l0)
    keep_r, keep_c = np.nonzero(share >= min_tissue)
    if len(keep_r) == 0:
        raise TilingError(
            f"No tile of {tile_px * mpp:g} um has {min_tissue:.0%} tissue (the best has {share.max():.0%}). "
            "Choose a model or an encoder with smaller tiles."
        )
    l0_rc = np.stack([rows[keep_r], cols[keep_c]], axis=1)
    return TileGrid(l0_rc, tile_l0, stride_l0, tile_px, mpp, share[keep_r, keep_c].astype(np.float32))


def _starts(length: int, tile_l0: float, stride_l0: float) -> NDArray[np.int64]:
    """Return where tiles begin along one axis, level-0 pixels."""
    count = max(0, math.floor((length - tile_l0) / stride_l0) + 2)
    starts: NDArray[np.int64] = np.rint(np.arange(count) * stride_l0).astype(np.int64)
    # a ten-thousandth of a pixel of grace, so that rounding in tile_l0 never costs a slide its only tile
    inside: NDArray[np.int64] = starts[starts + tile_l0 <= length + 1e-4]
    return inside


def _tissue_share(
    mask: TissueMask, rows: NDArray[np.int64], cols: NDArray[np.int64], tile_l0: float
) -> NDArray[np.float64]:
    """Return the share of tissue of every tile, (rows, cols), exact also where tiles cut through mask pixels."""
    table = np.zeros((mask.mask.shape[0] + 1, mask.mask.shape[1] + 1))
    np.cumsum(np.cumsum(mask.mask, axis=0, dtype=np.float64), axis=1, out=table[1:, 1:])
    # the mask is constant within a pixel, so its integral is linear between the table's nodes: interpolation is exact
    for axis, (starts, l0_per_px) in enumerate(zip((rows, cols), mask.l0_per_px, strict=True)):
        table = _at(table, (starts + tile_l0) / l0_per_px, axis) - _at(table, starts / l0_per_px, axis)
    return np.clip(table * (mask.l0_per_px[0] * mask.l0_per_px[1] / tile_l0**2), 0, 1)


def _at(table: NDArray[np.float64], position: NDArray[np.floating], axis: int) -> NDArray[np.float64]:
    """Interpolate linearly along one axis; constant beyond its ends."""
    position = np.clip(position, 0, table.shape[axis] - 1)
    whole = np.minimum(position.astype(np.int64), table.shape[axis] - 2)
    part = np.expand_dims(position - whole, 1 - axis)
    low, high = np.take(table, whole, axis), np.take(table, whole + 1, axis)
    result: NDArray[np.float64] = low + (high - low) * part
    return result
