"""Two ways of reading a file give one picture: direct decoding beside OpenSlide, on all levels of the real slides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_mil.slides import open_slide
from napari_mil.slides._openslide import OpenSlideSource

WINDOW_PX = 300


@pytest.mark.parametrize(
    "name",
    ["cmu-1-small-region.svs", "tcga-jp2k-no-mpp.svs", "breast-lobular-10x.tif", "duodenum-giardiasis-40x.tif"],
)
def test_direct_decoding_shows_what_openslide_shows(shared_data: Path, name: str) -> None:
    path = shared_data / "slides" / name
    with open_slide(path) as slide:
        assert slide.reader == "direct decoding"
        other = OpenSlideSource(path)
        assert other.level_shapes == slide.level_shapes
        for level, (rows, cols) in enumerate(slide.level_shapes):
            height, width = min(rows, WINDOW_PX), min(cols, WINDOW_PX)
            # also across tiles, and down to the last pixel of the far corner
            places = {(0, 0), ((rows - height) // 2, (cols - width) // 3), (rows - height, cols - width)}
            down = other.level_downsamples[level]
            for row, col in places:
                # OpenSlide takes corners in whole level-0 pixels: between them it shifts and blurs
                if max(abs(v * down - round(v * down)) for v in (row, col)) > 1e-3:
                    continue
                ours = slide.read(level, row, col, height, width).astype(int)
                theirs = other.read(level, row, col, height, width).astype(int)
                assert np.abs(ours - theirs).mean() <= 2, (level, row, col)
        # no shift: where there is structure, one pixel aside is worse by far
        rows, cols = slide.level_shapes[0]
        patches = [
            (row, col)
            for row in range(0, rows - 200, max(1, rows // 12))
            for col in range(0, cols - 200, max(1, cols // 12))
        ]
        row, col = max(patches, key=lambda at: slide.read(0, *at, 100, 100).std())
        theirs = other.read(0, row + 1, col + 1, 98, 98).astype(int)
        ours = slide.read(0, row, col, 100, 100).astype(int)
        apart = {
            (dr, dc): np.abs(ours[1 + dr : 99 + dr, 1 + dc : 99 + dc] - theirs).mean()
            for dr in (-1, 0, 1)
            for dc in (-1, 0, 1)
        }
        assert min(apart, key=apart.__getitem__) == (0, 0)
        assert sorted(apart.values())[1] > apart[0, 0] + 1
        other.close()
