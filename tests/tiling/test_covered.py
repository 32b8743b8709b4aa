"""The part of a slide that tiles cover."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mil.tiling import TileGrid, TissueMask, covered_mask


@settings(max_examples=60, deadline=None)
@given(
    tiles=st.lists(st.tuples(st.integers(-50, 400), st.integers(-50, 600)), max_size=12),
    tile_l0=st.floats(0.5, 200),
    l0_per_px=st.tuples(st.floats(3, 40), st.floats(3, 40)),
)
def test_a_pixel_is_covered_where_its_centre_lies_in_a_tile(tiles, tile_l0, l0_per_px) -> None:
    l0_rc = np.array(tiles, np.int64).reshape(-1, 2)
    grid = TileGrid(l0_rc, tile_l0, tile_l0, 64, 0.5, np.full(len(tiles), np.nan, np.float32))
    like = TissueMask(np.zeros((21, 17), np.bool_), l0_per_px, (0.5, 0.5))
    mask = covered_mask(grid, like, origin="tiles")
    rows, cols = ((np.arange(n) + 0.5) * edge for n, edge in zip((21, 17), l0_per_px, strict=True))
    expected = np.zeros((21, 17), np.bool_)
    for row, col in l0_rc:
        expected |= np.outer((rows >= row) & (rows < row + tile_l0), (cols >= col) & (cols < col + tile_l0))
    # a centre on the very edge may fall to either side by rounding
    near = [
        (np.abs(centres[:, None] - edges[None]) < 1e-6).any(axis=1)
        for centres, edges in (
            (rows, np.r_[l0_rc[:, 0], l0_rc[:, 0] + tile_l0]),
            (cols, np.r_[l0_rc[:, 1], l0_rc[:, 1] + tile_l0]),
        )
    ]
    sure = ~near[0][:, None] & ~near[1][None]
    np.testing.assert_array_equal(mask.mask[sure], expected[sure])
    assert mask.origin == "tiles"
    assert mask.l0_per_px == l0_per_px
