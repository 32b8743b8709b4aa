"""The sparse pyramid: huge for its readers, small on disk, the same picture on every level."""

from __future__ import annotations

import numpy as np
import openslide
import pytest

from sample_data import write_sparse_pyramid


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    return write_sparse_pyramid(tmp_path_factory.mktemp("sparse") / "s.tif", (40_000, 60_000), 0.25)


def test_size_scale_and_levels(sparse):
    with openslide.OpenSlide(sparse) as slide:
        assert slide.dimensions == (60_000, 40_000)
        assert slide.level_dimensions[-1] == (938, 625)
        assert slide.level_count == 7
        np.testing.assert_allclose(slide.level_downsamples, 2.0 ** np.arange(7), rtol=1e-3)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
    assert sparse.stat().st_size < 10e6


def test_levels_show_the_same_picture(sparse):
    """A tile of level k is, up to JPEG, the area average of what level 0 shows there."""
    with openslide.OpenSlide(sparse) as slide:
        width, height = slide.level_dimensions[-1]
        small = np.asarray(slide.read_region((0, 0), 6, (width, height)).convert("L"), float)
        assert 0.2 < (small < 235).mean() < 0.6
        assert (small[:8] > 240).all()
        assert (small[-8:] > 240).all()
        rows, cols = np.nonzero(small < 200)
        for pick in (len(rows) // 5, len(rows) // 2):
            corner = (int(cols[pick]) * 64 // 512 * 512, int(rows[pick]) * 64 // 512 * 512)
            level0 = np.asarray(slide.read_region(corner, 0, (1024, 1024)).convert("RGB"), float)
            level2 = np.asarray(slide.read_region(corner, 2, (256, 256)).convert("RGB"), float)
            average = level0.reshape(256, 4, 256, 4, 3).mean((1, 3))
            right = np.abs(average - level2).mean()
            assert right < 8
            for axis in (0, 1):  # a pixel to the side it fits far worse
                assert np.abs(np.roll(average, 1, axis) - level2).mean() > 1.5 * right


def test_few_levels_of_a_small_slide(tmp_path):
    path = write_sparse_pyramid(tmp_path / "s.tif", (3000, 5000), 1.0, levels=2, tile=128)
    with openslide.OpenSlide(path) as slide:
        assert slide.level_dimensions == ((5000, 3000), (2500, 1500))
        assert slide.properties["openslide.level[0].tile-width"] == "128"


@pytest.mark.parametrize("arguments", [{"shape": (0, 10)}, {"levels": 0}, {"tile": 100}, {"tile": 0}])
def test_impossible_requests_are_refused(tmp_path, arguments):
    with pytest.raises(ValueError, match="cannot tile a slide"):
        write_sparse_pyramid(tmp_path / "s.tif", **arguments)
