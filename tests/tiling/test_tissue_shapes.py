"""Rules on the shape of masks: the same as scipy's, only quicker."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_mil.tiling._shapes import dilated, disk_um, eroded, opened


@pytest.mark.parametrize("radius", [1, 2, 3, 6, 11])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_they_are_scipys(radius: int, share: float) -> None:
    mask = np.random.default_rng(radius).random((37, 53)) < share
    mask[5:30, 8:40] = True
    shape = disk_um(float(radius), (1.0, 1.0))
    assert len(shape) == 2 * radius + 1
    np.testing.assert_array_equal(eroded(mask, shape), ndimage.binary_erosion(mask, shape))
    np.testing.assert_array_equal(dilated(mask, shape), ndimage.binary_dilation(mask, shape))
    np.testing.assert_array_equal(opened(mask, shape), ndimage.binary_opening(mask, shape))
    np.testing.assert_array_equal(eroded(mask, shape, beyond=True), ndimage.binary_erosion(mask, shape, border_value=1))
