"""Nuclei and red cells: their shapes, and how they are stamped into the stain maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._noise import Field, Noise
    from ._stroma import Stain

    Cells = NDArray[np.void]

CELL = np.dtype(
    [
        ("y", "f4"),  # centre, microns
        ("x", "f4"),
        ("a", "f4"),  # half axes, microns
        ("b", "f4"),
        ("angle", "f4"),  # of the long axis, from x towards y, radians
        ("dark", "f4"),  # haematoxylin where the chromatin is dense
        ("open", "f4"),  # 0: dense chromatin throughout; 1: vesicular, pale within a dark rim
        ("lumpy", "f4"),  # irregularity of the outline
        ("clump", "f4"),  # contrast of the chromatin
        ("nucleoli", "f4"),  # darkness of the nucleolus
        ("seed", "i4"),  # of the cell's own shape
        ("red", "?"),  # a red cell, not a nucleus
    ]
)
_CHUNK = 512

# half axes in microns (long, short), their spread, and chromatin: dark, open, lumpy, clump, nucleoli
KINDS: dict[str, tuple[float, ...]] = {
    "spindle": (5.8, 1.35, 0.22, 1.15, 0.15, 0.10, 0.14, 0.0),
    "plump": (6.2, 2.2, 0.2, 0.92, 0.40, 0.10, 0.16, 0.25),
    "lymphocyte": (3.3, 3.05, 0.08, 1.55, 0.10, 0.05, 0.22, 0.0),
    "epithelial": (4.6, 3.1, 0.10, 1.2, 0.30, 0.05, 0.14, 0.1),
    "myoepithelial": (4.2, 1.4, 0.15, 1.2, 0.10, 0.08, 0.10, 0.0),
    "endothelial": (4.2, 1.15, 0.15, 1.2, 0.10, 0.08, 0.10, 0.0),
    "tumour": (6.4, 5.1, 0.20, 1.12, 0.56, 0.12, 0.26, 0.7),
    "mitosis": (5.0, 1.9, 0.15, 1.75, 0.0, 0.28, 0.30, 0.0),
    "apoptotic": (2.2, 2.0, 0.20, 1.70, 0.0, 0.12, 0.10, 0.0),
    "red": (3.5, 3.2, 0.08, 1.0, 0.0, 0.06, 0.05, 0.0),
}


def make_cells(kind: str, centres: Field, angle: Field | float, rng: np.random.Generator) -> Cells:
    """Return cells of one kind at (N, 2) centres (y, x, microns), each with its own size, shape and staining."""
    long, short, spread, dark, opened, lumpy, clump, nucleoli = KINDS[kind]
    count = len(centres)
    cells = np.zeros(count, CELL)
    grow = np.exp(rng.normal(0, spread, count))
    squeeze = np.exp(rng.normal(0, spread * 0.6, count))
    cells["y"], cells["x"] = centres[:, 0], centres[:, 1]
    cells["a"], cells["b"] = np.minimum(long * grow * squeeze, 1.6 * long), np.minimum(short * grow, 1.6 * short)
    cells["angle"] = angle
    cells["dark"] = dark * np.exp(rng.normal(0, 0.5 * spread + 0.06, count))
    cells["open"] = np.clip(opened + rng.normal(0, 0.16, count), 0, 0.85)
    cells["lumpy"], cells["clump"] = lumpy, clump
    cells["nucleoli"] = nucleoli * (rng.random(count) < 0.75)
    cells["seed"] = rng.integers(0, 4096, count)
    cells["red"] = kind == "red"
    return cells


def without_overlap(cells: Cells, share: float = 0.76) -> Cells:
    """Drop every cell that lies on an earlier one: nearer than ``share`` of the sum of their mean half axes."""
    radius = np.sqrt(cells["a"] * cells["b"])
    pairs = cKDTree(np.stack([cells["y"], cells["x"]], -1)).query_pairs(2 * float(radius.max()), output_type="ndarray")
    gap = np.hypot(*(cells[name][pairs[:, 0]] - cells[name][pairs[:, 1]] for name in ("y", "x")))
    touching = pairs[gap < share * (radius[pairs[:, 0]] + radius[pairs[:, 1]])]
    keep = np.ones(len(cells), bool)
    for first, second in touching[np.lexsort((touching[:, 1], touching[:, 0]))]:
        if keep[first]:
            keep[second] = False
    return cells[keep]


def stamp_cells(stain: Stain, cells: Cells, noise: Noise, origin_px: tuple[int, int], mpp: float) -> None:
    """Stamp cells into the block whose first pixel is ``origin_px`` (row, col)."""
    size = 2 * np.ceil(1.3 * np.maximum(cells["a"], cells["b"]) / mpp).astype(int) + 3
    for edge in np.unique(size):
        same = cells[size == edge]
        for start in range(0, len(same), _CHUNK):
            _stamp_chunk(stain, same[start : start + _CHUNK], int(edge), noise, origin_px, mpp)


def _stamp_chunk(stain: Stain, cells: Cells, edge: int, noise: Noise, origin_px: tuple[int, int], mpp: float) -> None:
    top = np.floor(cells["y"] / mpp).astype(int) - edge // 2
    left = np.floor(cells["x"] / mpp).astype(int) - edge // 2
    steps = np.arange(edge) + 0.5
    dy = ((steps + top[:, None]) * mpp - cells["y"][:, None]).astype(np.float32)
    dx = ((steps + left[:, None]) * mpp - cells["x"][:, None]).astype(np.float32)
    cover, dye = _draw(cells, dy[:, :, None], dx[:, None, :], noise, mpp)
    top, left = top - origin_px[0], left - origin_px[1]
    rows, cols = stain.haematoxylin.shape
    for index in range(len(cells)):
        t, l_ = top[index], left[index]
        block = slice(max(t, 0), min(t + edge, rows)), slice(max(l_, 0), min(l_ + edge, cols))
        if block[0].start >= block[0].stop or block[1].start >= block[1].stop:
            continue
        own = slice(block[0].start - t, block[0].stop - t), slice(block[1].start - l_, block[1].stop - l_)
        alpha, value = cover[index][own], dye[index][own]
        if cells["red"][index]:
            stain.red_cell[block] = np.maximum(stain.red_cell[block], alpha * value)
            stain.eosin[block] *= 1 - alpha
        else:
            under = stain.haematoxylin[block]
            stain.haematoxylin[block] = under + alpha * (np.maximum(value, 0.45 * under + 0.8 * value) - under)
            stain.eosin[block] += alpha * (0.5 - stain.eosin[block])


def _draw(cells: Cells, dy: Field, dx: Field, noise: Noise, mpp: float) -> tuple[Field, Field]:
    """Return coverage and dye of each cell on its own small grid, both (N, edge, edge) float32."""

    def own(name: str) -> Field:
        return np.asarray(cells[name][:, None, None], np.float32)

    cos, sin = np.cos(own("angle")), np.sin(own("angle"))
    p, q = (cos * dx + sin * dy) / own("a"), (cos * dy - sin * dx) / own("b")
    theta, seed = np.arctan2(q, p), own("seed")
    bound = np.ones_like(p)
    for k, weight in ((1, 0.5), (2, 0.8), (3, 0.8), (5, 0.4)):
        bound += own("lumpy") * weight * np.cos(k * theta + seed * (0.37 * k + 0.11))
    s = np.hypot(p, q) / bound
    edge_px = np.sqrt(own("a") * own("b")) / mpp
    cover = 1 / (1 + np.exp(np.clip((s - 1) * edge_px / 0.42, -30, 30)))
    chromatin = noise("chromatin", dy + 0 * dx + 3.7 * (seed % 911), dx + 0 * dy + 2.3 * (seed % 1013), 1.7)
    rim = np.exp(-(((s - 0.9) / 0.17) ** 2))
    body = 1 - own("open") * 0.62 * (1 - rim) + 0.18 * rim * own("open")
    body = body * (1 + own("clump") * chromatin)
    for turn in (0.0, 2.4):
        at_p, at_q = 0.38 * np.cos(seed + turn), 0.38 * np.sin(seed + turn)
        spot = np.exp(-(((p - at_p) * own("a")) ** 2 + ((q - at_q) * own("b")) ** 2) / 1.1**2)
        body = body + own("nucleoli") * spot * (1.0 if turn == 0 else np.asarray(seed % 3 == 0, np.float32))
    pallor = np.where(own("red") > 0, 1 - 0.3 * np.exp(-((s / 0.45) ** 2)), 1)
    return np.asarray(cover, np.float32), np.asarray(own("dark") * np.maximum(body, 0.12) * pallor, np.float32)
