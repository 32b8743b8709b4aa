"""What a file of another tool says, and how that becomes Features: sizes and scale are solved for, never guessed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...errors import FeaturesError, OtherSlideError, PatchSizeUnknownError, ScaleUnknownError
from ...slides import SlideRef
from ...tiling import TileGrid
from .._features import EncoderInfo, Features
from ._checks import SCALE_TOLERANCE, SIZE_TOLERANCE_PX, Given, check_patch_size, matched

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a file says of a bag; None where it does not.

    Parameters
    ----------
    values : (N, D) float32
        Features, in the file's order.
    xy : (N, 2) float64
        Places, (x, y), in level-0 pixels, of the tiles' top-left corners.
    name : str
        The slide's name.
    encoder : str
        The encoder's name; empty where unknown.
    tile_l0 : float or None
        Edge of a tile in level-0 pixels.
    tile_px : int or None
        Edge of a patch in pixels as the encoder saw it.
    tile_um : float or None
        Edge of a tile in microns, exact or as it was asked for.
    mpp : float or None
        Microns per patch pixel.
    mpp_nominal : float or None
        The same by nominal magnification: used where nothing better is known.
    stride : float or None
        Distance between neighbouring tiles as a share of their edge.
    slide_mpp : float or None
        Microns per level-0 pixel.
    shape : (int, int) or None
        The slide's level-0 (height, width).
    microns : bool
        ``xy`` is in microns from the slide's corner.
    centres : bool
        ``xy`` are the tiles' centres.
    whole_px : bool
        The tool cuts the edge of a tile in level-0 pixels down to a whole number.
    """

    values: NDArray[np.float32]
    xy: NDArray[np.float64]
    name: str
    encoder: str = ""
    tile_l0: float | None = None
    tile_px: int | None = None
    tile_um: float | None = None
    mpp: float | None = None
    mpp_nominal: float | None = None
    stride: float | None = None
    slide_mpp: float | None = None
    shape: tuple[int, int] | None = None
    microns: bool = False
    centres: bool = False
    whole_px: bool = False


def assemble(found: Found, given: Given, path: Path) -> Features:
    """Make Features of what a file says and what the caller knows.

    Parameters
    ----------
    found : Found
        What the file says.
    given : Given
        What the caller knows.
    path : Path
        The file, for messages.

    Returns
    -------
    Features
        In raster order. Where nothing says how many pixels the encoder saw, ``tile_px`` counts level-0 pixels.

    Raises
    ------
    FeaturesError
        Where patch size or scale are unknown, or contradict one another.
    """
    matched(found.values, found.xy, path)
    scale = _scale(found, given)
    tile_l0 = _tile_l0(found, given, scale, path)
    if scale is None and found.tile_um is not None:
        scale = (found.tile_um / tile_l0,) * 2
    tile_px, mpp = _resolution(found, tile_l0, scale, path)
    l0_xy = _corners(found, tile_l0, scale, path)
    order = np.lexsort((l0_xy[:, 0], l0_xy[:, 1]))
    l0_rc = np.ascontiguousarray(l0_xy[order, ::-1])
    stride_l0 = tile_l0 * found.stride if found.stride is not None else _stride(l0_rc, tile_l0)
    grid = TileGrid(l0_rc, tile_l0, stride_l0, tile_px, mpp, np.full(len(l0_rc), np.nan, np.float32))
    info = EncoderInfo(found.encoder, "", "", found.values.shape[1], tile_px, mpp)
    return Features(np.ascontiguousarray(found.values[order]), grid, info, _slide(found, given, grid, scale))


def _scale(found: Found, given: Given) -> tuple[float, float] | None:
    """Return microns per level-0 pixel, (y, x): the caller's, else the file's."""
    if given.mpp_yx is not None:
        return given.mpp_yx
    return None if found.slide_mpp is None else (found.slide_mpp, found.slide_mpp)


def _tile_l0(found: Found, given: Given, scale: tuple[float, float] | None, path: Path) -> float:
    by_scale = None
    if found.tile_um is not None and scale is not None:
        by_scale = found.tile_um / scale[1]  # the tools that say microns take the scale along x for both
        by_scale = float(math.floor(by_scale + 1e-6)) if found.whole_px else by_scale
    stated = found.tile_l0 if found.tile_l0 is not None else by_scale
    if stated is None:
        if given.patch_size is None:
            needs = (
                " or the slide's scale, from which it follows, with --slide or --slide-mpp"
                if found.tile_um is not None
                else ""
            )
            raise PatchSizeUnknownError(
                f"{path} does not say how large its patches are in level-0 pixels, nor does a file beside it. "
                f"Give the size with --patch-size{needs}."
            )
        return float(given.patch_size)
    check_patch_size(stated, given, path)
    off = 0.0 if by_scale is None else abs(by_scale - stated)
    if off > SIZE_TOLERANCE_PX + SCALE_TOLERANCE * stated and not given.accept:
        raise OtherSlideError(
            f"{path} says that a patch of {found.tile_um:g} microns is {stated:g} level-0 pixels wide, but at the "
            f"slide's scale of {_mean(scale):g} microns per pixel it would be {by_scale:.4g}.",
            "Give the slide that it was made from with --slide, or its scale with --slide-mpp.",
        )
    return stated


def _resolution(found: Found, tile_l0: float, scale: tuple[float, float] | None, path: Path) -> tuple[int, float]:
    """Return the patch edge in pixels, and microns per patch pixel."""
    tile_um = found.tile_um
    if tile_um is None and scale is not None:
        tile_um = tile_l0 * _mean(scale)
    if tile_um is None:
        if found.tile_px is not None and found.mpp_nominal is not None:
            return found.tile_px, found.mpp_nominal
        raise ScaleUnknownError(
            f"{path} does not say how many microns its patches are wide. "
            "Give its slide with --slide, or the slide's scale with --slide-mpp."
        )
    tile_px = found.tile_px
    if tile_px is None:
        tile_px = max(1, round(tile_l0 if found.mpp is None else tile_um / found.mpp))
    return tile_px, found.mpp if found.mpp is not None else tile_um / tile_px


def _corners(found: Found, tile_l0: float, scale: tuple[float, float] | None, path: Path) -> NDArray[np.int64]:
    """Return the tiles' top-left corners, (x, y), level-0 pixels."""
    xy = found.xy
    if not np.isfinite(xy).all():
        raise FeaturesError(
            f"{path} has places that are not finite numbers. Make it again with the tool that wrote it."
        )
    if found.microns:
        if scale is None:
            raise ScaleUnknownError(
                f"{path} has its places in microns, which only the slide's scale turns into pixels. "
                "Give the slide with --slide, or its scale with --slide-mpp."
            )
        xy = xy / scale[1]
    if found.centres:
        xy = xy - math.floor(tile_l0 / 2)
        xy = np.where((xy < 0) & (xy >= -SIZE_TOLERANCE_PX), 0, xy)
    return np.rint(xy).astype(np.int64)


def _stride(l0_rc: NDArray[np.int64], tile_l0: float) -> float:
    """Return how far neighbours lie apart where tiles overlap; else they touch, however many are left out."""
    common = commonest_distance(l0_rc, math.ceil(tile_l0))
    return common if 0 < common < tile_l0 - SIZE_TOLERANCE_PX else tile_l0


def commonest_distance(places: NDArray[np.int64], most: int) -> int:
    """Measure how far neighbours in a row or column lie apart; 0 where there are none.

    The commonest distance counts: each piece of tissue may have a grid of its own, so that single ones mean nothing.

    Parameters
    ----------
    places : (N, 2) int64
        Tiles, both coordinates in the same unit.
    most : int
        Longer distances count as this one.

    Returns
    -------
    int
        In the unit of ``places``.
    """
    gaps = []
    for along in (0, 1):
        ordered = places[np.lexsort((places[:, along], places[:, 1 - along]))]
        steps = np.diff(ordered, axis=0)
        gaps.append(steps[steps[:, 1 - along] == 0, along])
    distances = np.concatenate(gaps)
    distances = distances[distances > 0]
    return int(np.bincount(np.minimum(distances, most)).argmax()) if len(distances) else 0


def _slide(found: Found, given: Given, grid: TileGrid, scale: tuple[float, float] | None) -> SlideRef:
    if given.slide is not None:
        return given.slide if given.slide.mpp == scale else replace(given.slide, mpp=scale)
    shape = found.shape
    if shape is None:
        extent = grid.l0_rc.max(axis=0) + grid.tile_l0 if len(grid) else np.zeros(2)
        shape = math.ceil(extent[0]), math.ceil(extent[1])
    return SlideRef(found.name, "", scale, shape)


def _mean(scale: tuple[float, float] | None) -> float:
    return math.nan if scale is None else math.sqrt(scale[0] * scale[1])
