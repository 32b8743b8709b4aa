"""Invasive carcinoma: nests of large, unequal cells inside the lesions' outlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from ._cells import make_cells
from ._noise import scattered, smoothstep

if TYPE_CHECKING:
    from ._cells import Cells
    from ._ground import Ground
    from ._noise import Field
    from ._stroma import Stain

_MARGIN_UM = 5.0


def nest_um(ground: Ground, y: Field, x: Field) -> Field:
    """Return about how far inside a nest points lie, microns; negative in the stroma and outside every lesion."""
    noise = ground.noise
    inside = ground.lesion_um(y, x)
    bent_y = y + 16 * noise("nest-bend-y", y, x, 90)
    bent_x = x + 16 * noise("nest-bend-x", y, x, 90)
    shape = noise("nest", bent_y, bent_x, 62) + 0.5 * noise("nest-fine", y, x, 27)
    # the front is stroma-rich and its nests are small, the middle of a lesion is more cellular
    front = smoothstep(inside, 0, 90)
    field = 17 * (shape - 0.32 + 0.45 * front)
    return np.asarray(np.minimum(field, inside - _MARGIN_UM), np.float32)


def _lumen(ground: Ground, y: Field, x: Field, nest: Field) -> Field:
    """Return where poorly formed lumens lie in nests, 0 to 1."""
    hollow = ground.noise("nest-lumen", y, x, 21)
    return smoothstep(np.minimum((hollow - 1.55) * 9, nest - 9), -0.6, 0.9)


def tumour_cells(ground: Ground, rng: np.random.Generator) -> list[Cells]:
    """Return the cells of all nests: tumour cells that differ from one another, mitoses, dying cells."""
    points = scattered(rng, ground.size_um, 9.6, 0.38)
    points = points[ground.lesion_um(points[:, 0], points[:, 1]) > 0]
    if not len(points):
        return []
    y, x = points.T
    nest = nest_um(ground, y, x)
    points = points[(nest > 2.6) & (_lumen(ground, y, x, nest) < 0.05) & (rng.random(len(points)) < 0.93)]
    fate = rng.random(len(points))
    alive = points[fate >= 0.022]
    cells = make_cells("tumour", alive, rng.uniform(0, np.pi, len(alive)).astype(np.float32), rng)
    grade = np.exp(0.10 * ground.noise("grade", alive[:, 0], alive[:, 1], 70))
    cells["a"] *= grade
    cells["b"] *= grade
    groups = (("mitosis", fate < 0.008), ("apoptotic", (fate >= 0.008) & (fate < 0.022)))
    others = [make_cells(k, points[m], rng.uniform(0, np.pi, int(m.sum())).astype(np.float32), rng) for k, m in groups]
    return [*others, cells]


def paint_nests(ground: Ground, centres: Field, y: Field, x: Field, stain: Stain) -> None:
    """Paint cytoplasm, cell borders, lumens and retraction clefts of nests into a block.

    ``centres`` are the (N, 2) places of tumour cells, to which the borders belong.
    """
    inside = ground.lesion_um(y, x)
    rows, cols = (np.flatnonzero((inside > -9).any(axis)) for axis in (1, 0))
    if not len(rows) or not len(centres):
        return
    part = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
    y, x, inside, stain, noise = y[part], x[part], inside[part], stain.window(part), ground.noise
    nest = nest_um(ground, y, x)
    body = smoothstep(nest, -0.9, 0.9)
    shrunk = smoothstep(noise("retraction", y, x, 48), -0.1, 1.3) * smoothstep(inside, 8, 25)
    width = 0.5 + 1.9 * shrunk
    cleft = np.exp(-(((nest + 0.8 + 1.1 * width) / width) ** 2)) * shrunk
    stain.eosin[...] *= 1 - 0.9 * cleft
    stain.haematoxylin[...] *= 1 - 0.9 * cleft
    grain = noise("cytoplasm", y, x, 2.7)
    eosin = 0.38 + 0.05 * noise("cytoplasm-tone", y, x, 45) + 0.04 * grain
    blue = 0.15 + 0.05 * noise("cytoplasm-blue", y, x, 60) + 0.02 * grain
    picked = nest > 0
    gap = np.full(y.shape, 9, np.float32)
    distance, _ = cKDTree(centres).query(np.stack([y[picked], x[picked]], -1), k=2)
    gap[picked] = distance[:, 1] - distance[:, 0]
    border = np.exp(-((gap / 1.1) ** 2))
    pale = smoothstep(noise("border", y, x, 30), -0.6, 1.2)
    eosin = eosin * (1 - 0.55 * border * pale) + 0.07 * border * (1 - pale)
    hole = _lumen(ground, y, x, nest)
    debris = 0.05 + 0.2 * smoothstep(noise("debris", y, x, 6), 0.8, 1.6)
    for dye, value, rest in ((stain.eosin, eosin, debris), (stain.haematoxylin, blue, 0.3 * debris)):
        dye[...] = dye * (1 - body) + body * (value * (1 - hole) + rest * hole)
