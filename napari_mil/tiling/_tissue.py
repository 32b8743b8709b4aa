"""Where the tissue is: Otsu's threshold on saturation at low resolution, with rules in microns.

Glass is colourless whatever its brightness and stained tissue is not, so saturation parts the two better than
brightness does; dust, scratches, air bubbles and cover-slip edges are dark but grey, and fall out by themselves.
Source of the threshold: N. Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62-66. It is taken of the square root of
saturation: tissue spreads so much wider than glass that Otsu's even split would otherwise cut off the pale stroma.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import disk

from ._grid import TissueMask

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
_PEN_CORE_UM = 48.0
_PEN_EDGE_UM = 48.0

_THRESHOLD_MIN, _THRESHOLD_MAX = 10.0, 20.0
"""Bounds (saturation, 0 to 255). Balanced glass, noise included, stays below the lower, so that a blank slide is blank;
stained stroma, even pale, lies above the upper, so that a slide without glass is not split in two. Over real H&E slides
the 99th percentile of glass was 3 to 6, the fifth of tissue 20 to 73."""

_GLASS_SATURATION_MAX = 30
"""A brightest tenth more colourful than this is tissue, not glass with a tint, and is not taken for white."""

_DARK = 60
"""Pixels with no channel above this are ink, folds or scanner borders: their saturation is noise."""

ASSUMED_MPP = 0.5
"""Microns per level-0 pixel assumed for the size rules alone, where the slide does not know its own scale."""


def find_tissue(
    slide: Slide,
    *,
    mpp: float = MASK_MPP,
    min_area_um2: float = MIN_AREA_UM2,
    max_hole_um2: float = MAX_HOLE_UM2,
) -> TissueMask:
    """Find the tissue on a slide.

    Parameters
    ----------
    slide : Slide
        The slide. Where it has no scale, level 0 is taken for 0.5 um per pixel, as of a 20x scan: good enough for a
        mask, never for tiles.
    mpp : float
        Microns per mask pixel, about: a stored level close by is used as it is.
    min_area_um2 : float
        Smaller pieces are left out, square microns; at most a twentieth of the slide.
    max_hole_um2 : float
        Smaller holes are filled, square microns.

    Returns
    -------
    TissueMask
        Empty where the slide is blank.

    Raises
    ------
    SlideError
        If the slide is closed or cannot be read.
    ValueError
        If ``mpp`` is not positive.
    """
    slide_mpp = slide.mpp or (ASSUMED_MPP, ASSUMED_MPP)
    rgb, l0_per_px_rc = slide.thumbnail(_long_edge_px(slide, mpp))
    um_per_px = l0_per_px_rc[0] * slide_mpp[0], l0_per_px_rc[1] * slide_mpp[1]
    threshold = saturation_threshold(rgb)
    # on a small picture, a cut-out or a core, a piece that is large for it is no speck
    area_um2 = slide.shape[0] * slide_mpp[0] * slide.shape[1] * slide_mpp[1]
    smallest = min(min_area_um2, area_um2 / 20)
    mask = tissue_mask(rgb, um_per_px, threshold=threshold, min_area_um2=smallest, max_hole_um2=max_hole_um2)
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
    shrink = max(1.0, max(slide.shape) / _long_edge_px(slide, mpp))
    rows, cols = (max(1, round(length / shrink)) for length in slide.shape)
    l0_per_px = slide.shape[0] / rows, slide.shape[1] / cols
    return TissueMask(np.zeros((rows, cols), bool), l0_per_px, slide.mpp, None, "empty")


def _long_edge_px(slide: Slide, mpp: float) -> int:
    """Return how many pixels long a slide's mask is at about so many microns per pixel."""
    if not mpp > 0:
        raise ValueError(f"mpp must be positive, not {mpp}")
    l0_per_px = mpp / (sum(slide.mpp or (ASSUMED_MPP, ASSUMED_MPP)) / 2)
    # a stored level within a quarter of the wish spares the resampling of one four times its size
    near = [d for d in slide.level_downsamples if 0.8 <= d / l0_per_px <= 1.25]
    return max(1, round(max(slide.shape) / (near[0] if near else l0_per_px)))


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
        Saturation (0 to 255) above which a pixel is tissue; by default `saturation_threshold`.
    min_area_um2, max_hole_um2 : float
        As in `find_tissue`.

    Returns
    -------
    (rows, cols) bool
        True on tissue.
    """
    hsv = _hsv(rgb)
    if threshold is None:
        threshold = _threshold(hsv)
    ink = _pen(hsv, um_per_px)
    mask = _smoothed(_saturation(hsv), um_per_px) > threshold
    mask &= ~ink
    mask = _closed(mask, um_per_px)
    px_um2 = um_per_px[0] * um_per_px[1]
    mask = ~_without_small(~mask, max_hole_um2 / px_um2)
    # filling and closing may have run over a pen stroke
    mask &= ~ink
    return _without_small(mask, min_area_um2 / px_um2)


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
    return _threshold(_hsv(rgb))


def _threshold(hsv: NDArray[np.uint8]) -> float:
    counted = hsv[..., 1][hsv[..., 2] > _DARK]
    if counted.size == 0 or counted.min() == counted.max():
        return _THRESHOLD_MIN
    otsu = threshold_otsu(np.sqrt(counted, dtype=np.float32)) ** 2
    return float(np.clip(otsu, _THRESHOLD_MIN, _THRESHOLD_MAX))


def _hsv(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return hue, saturation and value, 0 to 255 each, after making the glass white."""
    brightness = rgb[..., 1]
    bright = rgb[brightness >= np.percentile(brightness, 90)]
    glass = np.maximum(np.median(bright, axis=0), 1)
    if (1 - glass.min() / glass.max()) * 255 <= _GLASS_SATURATION_MAX:
        gain = glass.max() / glass
        tables = [np.minimum(np.rint(np.arange(256) * g), 255).astype(np.uint8) for g in gain]
        rgb = np.stack([table[rgb[..., channel]] for channel, table in enumerate(tables)], axis=-1)
    return np.asarray(Image.fromarray(rgb).convert("HSV"))


def _saturation(hsv: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return saturation, 0 where a pixel is too dark for it to mean anything."""
    return np.where(hsv[..., 2] > _DARK, hsv[..., 1], np.uint8(0))


def _pen(hsv: NDArray[np.uint8], um_per_px: tuple[float, float]) -> NDArray[np.bool_]:
    """Mark strokes of a pen: strong colours that haematoxylin, eosin and DAB do not make, and their soft edges."""
    hue, strength, value = hsv[..., 0] * (360 / 255), hsv[..., 1], hsv[..., 2]
    green = (hue > 75) & (hue < 195) & (strength > 40)
    blue = (hue >= 195) & (hue < 238) & (strength > 115)
    ink = green | blue | (value <= _DARK)
    strokes = ndimage.binary_opening(ink, _disk(_PEN_CORE_UM / 2, um_per_px))
    if not strokes.any():
        return np.zeros(ink.shape, bool)
    grown: NDArray[np.bool_] = ndimage.binary_dilation(strokes, _disk(_PEN_EDGE_UM, um_per_px))
    return grown


def _smoothed(values: NDArray[np.uint8], um_per_px: tuple[float, float]) -> NDArray[np.uint8]:
    """Take the median over a few microns, against specks of noise and of compression."""
    size = [2 * max(1, round(_SMOOTH_UM / um)) + 1 for um in um_per_px]
    result: NDArray[np.uint8] = ndimage.median_filter(values, size=size)
    return result


def _closed(mask: NDArray[np.bool_], um_per_px: tuple[float, float]) -> NDArray[np.bool_]:
    """Bridge gaps narrower than the closing distance, without eating at the picture's border."""
    shape = _disk(_CLOSE_UM, um_per_px)
    margin = max(shape.shape)
    closed = ndimage.binary_closing(np.pad(mask, margin, mode="edge"), shape)
    result: NDArray[np.bool_] = closed[margin:-margin, margin:-margin]
    return result


def _disk(radius_um: float, um_per_px: tuple[float, float]) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = disk(max(1, round(radius_um * 2 / sum(um_per_px))))
    return result


def _without_small(mask: NDArray[np.bool_], min_px: float) -> NDArray[np.bool_]:
    """Drop connected pieces of fewer pixels."""
    labels, _ = ndimage.label(mask)
    keep = np.bincount(labels.ravel()) >= min_px
    keep[0] = False
    result: NDArray[np.bool_] = keep[labels]
    return result
