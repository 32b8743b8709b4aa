"""Where the tissue is: colour against the glass at low resolution, with rules in microns.

Glass is colourless whatever its brightness and stained tissue is not, so saturation parts the two better than
brightness does; dust, scratches, air bubbles and cover-slip edges are dark but grey, and fall out by themselves.
Source of the threshold: N. Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62-66. It is taken of the square root of
saturation: tissue spreads so much wider than glass that Otsu's even split would otherwise cut off the pale stroma.

What is too pale or too thin for that, faint stains, counterstain alone and the membranes of fat, is found by its mean
over some tens of microns, in which noise drowns, where it is grained as well: haze and tinted glass are smooth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

from ._glass import DARK, GLASS_SHARE_MIN, balanced, find_glass, largest, saturation_of
from ._grid import TissueMask
from ._ink import find_ink
from ._learned import SEGMENTERS, tissue_probability
from ._shapes import closed, dilated, disk_um, eroded, opened, without_small

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..slides import Slide

MASK_MPP = 8.0
"""Microns per mask pixel: a nucleus is one pixel, a tile of 128 um 16 of them."""

MIN_AREA_UM2 = 50_000.0
"""Smaller specks (about 0.22 mm square, three tiles of 128 um) are taken for debris."""

MAX_HOLE_UM2 = 16_000.0
"""Smaller holes (a tile of 128 um: fat cells, gland lumens, capillaries) belong to the tissue around them."""

_SMOOTH_UM = 8.0
_CLOSE_UM = 24.0
_FAINT_UM = 24.0
"""Standard deviation of the mean by which pale and thin tissue is found: half a fat cell."""

_THRESHOLD_MIN, _THRESHOLD_MAX = 10.0, 20.0
"""Bounds (saturation, 0 to 255). Balanced glass, noise included, stays below the lower, so that a blank slide is blank;
stained stroma, even pale, lies above the upper, so that a slide without glass is not split in two. Over real H&E slides
the 99th percentile of glass was 3 to 6, the fifth of tissue 20 to 73."""

_FAT_CELL_UM = 96.0
"""As wide as fat cells mostly are at most."""

_GLASS_PERCENTILE, _FAINT_MIN, _GRAIN_RATIO, _GRAIN_MIN = 80, 2.0, 1.6, 0.3
"""Faint tissue is by so much more colourful (saturation), and so many times and by so much as grained (grey values),
as all but a fifth of the glass: glare around tissue is coloured but smooth, droplets under the slip are grained but
grey."""

TISSUE_METHODS = ("colour", *SEGMENTERS)
"""What `find_tissue` takes."""

ASSUMED_MPP = 0.5
"""Microns per level-0 pixel assumed for the size rules alone, where the slide does not know its own scale."""


def find_tissue(
    slide: Slide,
    *,
    method: str = "colour",
    mpp: float = MASK_MPP,
    min_area_um2: float = MIN_AREA_UM2,
    max_hole_um2: float = MAX_HOLE_UM2,
    device: str = "auto",
) -> TissueMask:
    """Find the tissue on a slide.

    Parameters
    ----------
    slide : Slide
        The slide. Where it has no scale, level 0 is taken for 0.5 um per pixel, as of a 20x scan: good enough for a
        mask, never for tiles.
    method : {"colour", "grandqc", "hest"}
        How: by colour against the glass, or by a network through the package lazyslide-models, whose weights are for
        non-commercial use.
    mpp : float
        Microns per mask pixel, about.
    min_area_um2 : float
        Smaller pieces are left out, square microns; at most a twentieth of the slide.
    max_hole_um2 : float
        Smaller holes are filled, square microns.
    device : str
        Where a network computes, as PyTorch calls it; "auto" takes a GPU where there is one.

    Returns
    -------
    TissueMask
        Empty where the slide is blank.

    Raises
    ------
    SlideError
        If the slide is closed or cannot be read.
    TilingError
        If a network's package or weights are missing, or it has to know the slide's scale.
    ValueError
        If ``mpp`` is not positive or there is no such method.
    """
    if method not in TISSUE_METHODS:
        raise ValueError(f"method must be one of {', '.join(TISSUE_METHODS)}, not {method!r}")
    slide_mpp = slide.mpp or (ASSUMED_MPP, ASSUMED_MPP)
    blank = empty_mask(slide, mpp=mpp)
    l0_per_px_rc = blank.l0_per_px
    um_per_px = l0_per_px_rc[0] * slide_mpp[0], l0_per_px_rc[1] * slide_mpp[1]
    # on a small picture, a cut-out or a core, a piece that is large for it is no speck
    area_um2 = slide.shape[0] * slide_mpp[0] * slide.shape[1] * slide_mpp[1]
    smallest = min(min_area_um2, area_um2 / 20)
    shape = blank.mask.shape
    if method in SEGMENTERS:
        likely = tissue_probability(slide, method, (shape[0], shape[1]), device) > 0.5
        mask = ~without_small(~likely, max_hole_um2, um_per_px)
        mask = without_small(mask, smallest, um_per_px)
        return TissueMask(mask, l0_per_px_rc, slide.mpp, None, f"found by {SEGMENTERS[method].title}")
    mask, threshold = _found(_picture(slide, shape), um_per_px, None, smallest, max_hole_um2)
    return TissueMask(mask, l0_per_px_rc, slide.mpp, threshold)


def empty_mask(slide: Slide, *, mpp: float = MASK_MPP) -> TissueMask:
    """Return a mask of a slide without any tissue, to be filled: at the resolution of `find_tissue`.

    Parameters
    ----------
    slide : Slide
        The slide.
    mpp : float
        As in `find_tissue`.

    Returns
    -------
    TissueMask
        Spans the slide.

    Raises
    ------
    ValueError
        If ``mpp`` is not positive.
    """
    if not mpp > 0:
        raise ValueError(f"mpp must be positive, not {mpp}")
    shrink = max(1.0, mpp / (sum(slide.mpp or (ASSUMED_MPP, ASSUMED_MPP)) / 2))
    rows, cols = (max(1, round(length / shrink)) for length in slide.shape)
    l0_per_px = slide.shape[0] / rows, slide.shape[1] / cols
    return TissueMask(np.zeros((rows, cols), bool), l0_per_px, slide.mpp, None, "empty")


def _picture(slide: Slide, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the slide at this many pixels, averaged from twice as many at least.

    Around tissue JPEG leaves colour and ripples up to 16 pixels wide: taken from a level of the mask's own resolution,
    that would be a rim of 128 um.
    """
    fine, _ = slide.thumbnail(2 * max(shape))
    return np.asarray(Image.fromarray(fine).resize((shape[1], shape[0]), Image.Resampling.BOX))


def tissue_mask(
    rgb: NDArray[np.uint8],
    um_per_px: tuple[float, float],
    *,
    threshold: float | None = None,
    min_area_um2: float = MIN_AREA_UM2,
    max_hole_um2: float = MAX_HOLE_UM2,
) -> NDArray[np.bool_]:
    """Tell tissue from glass, ink and borders in a picture of a slide.

    Parameters
    ----------
    rgb : (rows, cols, 3) uint8
        The slide at low resolution.
    um_per_px : (float, float)
        Microns per pixel of ``rgb``, (row, col).
    threshold : float, optional
        Saturation (0 to 255) above which a pixel is tissue; by default `saturation_threshold`, and faint tissue is
        looked for as well.
    min_area_um2, max_hole_um2 : float
        As in `find_tissue`.

    Returns
    -------
    (rows, cols) bool
        True on tissue.
    """
    return _found(rgb, um_per_px, threshold, min_area_um2, max_hole_um2)[0]


def _found(
    rgb: NDArray[np.uint8],
    um_per_px: tuple[float, float],
    threshold: float | None,
    min_area_um2: float,
    max_hole_um2: float,
) -> tuple[NDArray[np.bool_], float]:
    """Return the mask, and the threshold that was used."""
    glass = find_glass(rgb)
    white = balanced(rgb, glass)
    saturation = saturation_of(white)
    limit = _threshold(white, saturation) if threshold is None else threshold
    ink = find_ink(white, um_per_px)
    mask = _smoothed(saturation, um_per_px) > limit
    if threshold is None:
        mask |= _faint(white, saturation, mask | ink, glass, um_per_px)
    mask = closed(mask & ~ink, _CLOSE_UM, um_per_px)
    mask = ~without_small(~mask, max_hole_um2, um_per_px)
    # filling and closing may have run over a pen stroke
    return without_small(mask & ~ink, min_area_um2, um_per_px), limit


def saturation_threshold(rgb: NDArray[np.uint8]) -> float:
    """Return Otsu's threshold on saturation, kept within what separates tissue from glass.

    Parameters
    ----------
    rgb : (rows, cols, 3) uint8
        The slide at low resolution.

    Returns
    -------
    float
        Saturation, 0 to 255.
    """
    white = balanced(rgb, find_glass(rgb))
    return _threshold(white, saturation_of(white))


def _threshold(rgb: NDArray[np.uint8], saturation: NDArray[np.uint8]) -> float:
    counted = saturation[largest(rgb) > DARK]
    if counted.size == 0 or counted.min() == counted.max():
        return _THRESHOLD_MIN
    otsu = threshold_otsu(np.sqrt(counted, dtype=np.float32)) ** 2
    return float(np.clip(otsu, _THRESHOLD_MIN, _THRESHOLD_MAX))


def _faint(
    rgb: NDArray[np.uint8],
    saturation: NDArray[np.uint8],
    known: NDArray[np.bool_],
    glass: NDArray[np.bool_],
    um_per_px: tuple[float, float],
) -> NDArray[np.bool_]:
    """Return where the mean saturation is above that of the glass and the picture is grained, besides what is known.

    What is known is left out of the means, so that they do not spill over its edge.
    """
    solid = opened(known, disk_um(_FAINT_UM / 2, um_per_px))
    open_ = (~dilated(solid, disk_um(_CLOSE_UM, um_per_px))).astype(np.float32)
    glass = glass & (open_ > 0) & (saturation <= _THRESHOLD_MAX)
    # the inside of fat cells is smooth as well
    clear = eroded(glass, disk_um(_FAT_CELL_UM / 2, um_per_px))
    glass = clear if np.count_nonzero(clear) >= GLASS_SHARE_MIN * glass.size else glass
    if np.count_nonzero(glass) < GLASS_SHARE_MIN * glass.size:
        return np.zeros(glass.shape, bool)
    sigma = [_FAINT_UM / um for um in um_per_px]
    weight = np.maximum(ndimage.gaussian_filter(open_, sigma), 1e-3)
    grey = rgb.mean(axis=-1, dtype=np.float32)
    found = weight > 0.1  # elsewhere nothing is left to take a mean of
    for values, ratio, least in (
        (np.minimum(saturation, np.float32(_THRESHOLD_MAX)), 1.0, _FAINT_MIN),
        (np.sqrt(_variance(grey)), _GRAIN_RATIO, _GRAIN_MIN),
    ):
        mean = ndimage.gaussian_filter(values * open_, sigma) / weight
        found &= mean > ratio * np.percentile(mean[glass], _GLASS_PERCENTILE) + least
    # the edge of a cover slip, tinted on one side, is narrower
    return opened(found, disk_um(_FAINT_UM, um_per_px))


def _variance(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the variance among nine neighbouring pixels."""
    grey = grey - np.float32(grey.mean())  # differences of large squares lose digits
    mean = ndimage.uniform_filter(grey, 3)
    result: NDArray[np.float32] = np.maximum(ndimage.uniform_filter(grey * grey, 3) - mean * mean, 0)
    return result


def _smoothed(values: NDArray[np.uint8], um_per_px: tuple[float, float]) -> NDArray[np.uint8]:
    """Take the median over a few microns, against specks of noise and of compression."""
    size = [2 * max(1, round(_SMOOTH_UM / um)) + 1 for um in um_per_px]
    result: NDArray[np.uint8] = ndimage.median_filter(values, size=size)
    return result
