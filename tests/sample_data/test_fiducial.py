"""Crosses lie where the function says, on every level."""

from __future__ import annotations

import numpy as np
import openslide
import pytest

from sample_data import fiducial_slide


@pytest.mark.parametrize("downsamples", [[1], [1, 2, 4], [1, 2.5, 7.3], [1, 3.9997, 16.02]])
def test_centroids_on_every_level(tmp_path, downsamples):
    path = tmp_path / "f.tif"
    centres = fiducial_slide(path, (1501, 1907), 0.25, downsamples)
    with openslide.OpenSlide(path) as slide:
        assert slide.level_count == len(downsamples)
        for k in range(slide.level_count):
            width, height = slide.level_dimensions[k]
            dark = 243 - np.asarray(slide.read_region((0, 0), k, (width, height)).convert("L"), float)
            scale = np.array([1501 / height, 1907 / width])
            for centre in centres:
                # the centre of pixel n lies at n + 0.5 from the edge, at level 0 as at level k
                at = (np.array(centre) + 0.5) / scale
                reach = 6 * downsamples[-1] / scale[0] + 2
                low, high = (at - reach).astype(int).clip(0), (at + reach).astype(int)
                part = dark[low[0] : high[0], low[1] : high[1]]
                part = np.where(part > 8, part, 0)
                found = (np.argwhere(part > 0) + 0.5 + low) * scale
                weights = part[part > 0]
                centroid = (found * weights[:, None]).sum(0) / weights.sum()
                assert np.abs(centroid - 0.5 - centre).max() < 0.35


@pytest.mark.parametrize("downsamples", [[2, 4], [1, 1], [1, 4, 3]])
def test_downsamples_must_start_at_one_and_rise(tmp_path, downsamples):
    with pytest.raises(ValueError, match="start at 1 and rise"):
        fiducial_slide(tmp_path / "f.tif", (800, 800), 1.0, downsamples)


def test_slide_must_hold_the_crosses(tmp_path):
    with pytest.raises(ValueError, match="too small for crosses"):
        fiducial_slide(tmp_path / "f.tif", (800, 800), 1.0, [1, 32])
