"""Rules on the shape of masks, in microns."""

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


def closed(mask: NDArray[np.bool_], radius_um: float, um_per_px: tuple[float, float]) -> NDArray[np.bool_]:
    """Bridge gaps narrower than twice the radius, without eating at the picture's border."""
    shape = disk_um(radius_um, um_per_px)
    margin = max(shape.shape)
    bridged = ndimage.binary_closing(np.pad(mask, margin, mode="edge"), shape)
    result: NDArray[np.bool_] = bridged[margin:-margin, margin:-margin]
    return result


def without_small(mask: NDArray[np.bool_], min_area_um2: float, um_per_px: tuple[float, float]) -> NDArray[np.bool_]:
    """Drop connected pieces of a smaller area."""
    labels, _ = ndimage.label(mask)
    keep = np.bincount(labels.ravel()) >= min_area_um2 / (um_per_px[0] * um_per_px[1])
    keep[0] = False
    result: NDArray[np.bool_] = keep[labels]
    return result
