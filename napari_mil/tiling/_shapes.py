"""Rules on the shape of masks, in microns.

Erosion by a disk is done row of the disk by row, each a run of pixels whose own erosion grows from the shorter one's: a
few dozen passes over the mask in place of one look at every pixel of the disk for every pixel. The results are scipy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.morphology import disk

if TYPE_CHECKING:
    from numpy.typing import NDArray


def disk_um(radius_um: float, um_per_px: tuple[float, float]) -> NDArray[np.uint8]:
    """Return a disk as a structuring element, a pixel in radius at least."""
    result: NDArray[np.uint8] = disk(max(1, round(radius_um * 2 / sum(um_per_px))))
    return result


def eroded(mask: NDArray[np.bool_], shape: NDArray[np.uint8], *, beyond: bool = False) -> NDArray[np.bool_]:
    """Return where a disk lies wholly within a mask.

    Parameters
    ----------
    mask : (rows, cols) bool
        The mask.
    shape : (2 r + 1, 2 r + 1) uint8
        From `disk_um`.
    beyond : bool
        What is taken to lie beyond the picture's border.

    Returns
    -------
    (rows, cols) bool
        As of `scipy.ndimage.binary_erosion`.
    """
    radius = len(shape) // 2
    reach = shape.sum(1).astype(int) // 2  # of each row of the disk, to either side
    rows, cols = mask.shape
    padded = np.pad(mask, radius, constant_values=beyond)
    runs = padded[:, radius : radius + cols].copy()
    out = np.ones(mask.shape, bool)
    for half in range(radius + 1):
        if half:
            runs &= padded[:, radius - half : radius - half + cols]
            runs &= padded[:, radius + half : radius + half + cols]
        for row in np.flatnonzero(reach == half):
            out &= runs[row : row + rows]
    return out


def dilated(mask: NDArray[np.bool_], shape: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return what disks about a mask's pixels cover, as `scipy.ndimage.binary_dilation`."""
    return ~eroded(~mask, shape, beyond=True)


def opened(mask: NDArray[np.bool_], shape: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return what disks within a mask cover, as `scipy.ndimage.binary_opening`."""
    return dilated(eroded(mask, shape), shape)


def closed(mask: NDArray[np.bool_], radius_um: float, um_per_px: tuple[float, float]) -> NDArray[np.bool_]:
    """Bridge gaps narrower than twice the radius, without eating at the picture's border."""
    shape = disk_um(radius_um, um_per_px)
    margin = len(shape)
    bridged = eroded(dilated(np.pad(mask, margin, mode="edge"), shape), shape)
    return bridged[margin:-margin, margin:-margin]


def without_small(mask: NDArray[np.bool_], min_area_um2: float, um_per_px: tuple[float, float]) -> NDArray[np.bool_]:
    """Drop connected pieces of a smaller area."""
    labels, _ = ndimage.label(mask)
    keep = np.bincount(labels.ravel()) >= min_area_um2 / (um_per_px[0] * um_per_px[1])
    keep[0] = False
    result: NDArray[np.bool_] = keep[labels]
    return result
