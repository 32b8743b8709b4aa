"""The lie of the land: where the sections, the fat and the lesions of one generated slide are.

Frame of this package: (y, x) in microns, pixel edges on whole pixels, so that pixel (r, c) has its centre at
((r + 0.5) * mpp, (c + 0.5) * mpp).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from ._noise import Noise, scattered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._noise import Field

CELL_UM = 6.0
FAT_CELL_UM = 64.0


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """The coarse plan of a slide, which every painter asks.

    Parameters
    ----------
    size_um : (float, float)
        Height and width of the slide.
    noise : Noise
        The slide's random fields.
    section : (rows, cols) float32
        Signed distance to the outline of the tissue on a grid of ``CELL_UM``, microns, positive inside.
    lesion : (rows, cols) float32
        The same for the lesions; negative everywhere on a slide without one.
    outlines_um : list of (P, 2) float64
        Closed outlines (y, x) of the lesions, microns: the zero line of ``lesion``.
    fat_tree : cKDTree
        Of the centres (y, x), microns, of the cells of the fat mosaic.
    is_fat : (N,) bool
        Which of these cells are fat; the others are stroma.
    """

    size_um: tuple[float, float]
    noise: Noise
    section: Field
    lesion: Field
    outlines_um: list[NDArray[np.float64]]
    fat_tree: cKDTree
    is_fat: NDArray[np.bool_]

    def section_um(self, y: Field, x: Field) -> Field:
        """Return the signed distance to the outline of the tissue, microns, positive inside."""
        return _lookup(self.section, y, x)

    def lesion_um(self, y: Field, x: Field) -> Field:
        """Return the signed distance to the outline of the nearest lesion, microns, positive inside."""
        return _lookup(self.lesion, y, x)

    def to_fat_um(self, y: Field, x: Field) -> Field:
        """Return the distance from points to the centre of the nearest fat cell, microns."""
        centres = self.fat_tree.data[self.is_fat]
        if not len(centres):
            return np.full(np.shape(y), 1e4, np.float32)
        return np.asarray(cKDTree(centres).query(np.stack([y, x], -1))[0], np.float32)

    def in_fat(self, y: Field, x: Field) -> NDArray[np.bool_]:
        """Tell which points lie in a fat cell or its wall."""
        _, nearest = self.fat_tree.query(np.stack([y, x], -1))
        return np.asarray(self.is_fat[nearest])


def _lookup(grid: Field, y: Field, x: Field) -> Field:
    """Interpolate a grid whose cell (i, j) has its centre at ((i + 0.5), (j + 0.5)) * CELL_UM."""
    at = (np.asarray(y) / CELL_UM - 0.5, np.asarray(x) / CELL_UM - 0.5)
    return np.asarray(ndi.map_coordinates(grid, at, order=1, mode="nearest", prefilter=False), np.float32)


def lay_ground(size_um: tuple[float, float], seed: int, *, lesion: bool, everywhere: bool = False) -> Ground:
    """Draw the plan of a slide.

    Parameters
    ----------
    size_um : (float, float)
        Height and width of the slide.
    seed : int
        Same seed, same plan.
    lesion : bool
        Whether two to four tumour regions are laid into the tissue; they may merge or part.
    everywhere : bool
        Fill the slide with tissue but for a narrow frame, instead of laying biopsies on glass.
    """
    noise = Noise(seed)
    rng = np.random.default_rng([seed, 1])
    cells = np.ceil(np.asarray(size_um) / CELL_UM).astype(int)
    y, x = np.meshgrid(*((np.arange(n, dtype=np.float32) + 0.5) * CELL_UM for n in cells), indexing="ij")
    section = _frame_um(size_um, y, x) if everywhere else _sections(size_um, noise, rng, y, x)
    field, outlines = (_lesions(section, noise, rng, y, x)) if lesion else (np.full(y.shape, -1e4, np.float32), [])
    centres = scattered(rng, size_um, FAT_CELL_UM, 0.3)
    is_fat = _fat_cells(centres, noise, section, field)
    return Ground(size_um, noise, section, field, outlines, cKDTree(centres), is_fat)


def _sections(size_um: tuple[float, float], noise: Noise, rng: np.random.Generator, y: Field, x: Field) -> Field:
    """Return the signed distance to one or two bent strips of tissue, as a needle biopsy leaves them."""
    height, width = size_um
    strips = [(0.29, 0.1), (0.71, 0.087)] if min(size_um) > 1800 else [(0.5, 0.29)]
    signed: Field = np.full(y.shape, -1e4, np.float32)
    for centre, half in strips:
        end = (half * height + 110) / width
        along = np.linspace(end, 1 - end, 5) + rng.uniform(-0.02, 0.02, 5)
        across = centre + rng.uniform(-0.04, 0.04, 5)
        knots = CubicSpline(np.arange(5), np.stack([across * height, along * width], -1))(np.linspace(0, 4, 400))
        halves = half * height * CubicSpline(np.arange(6), rng.uniform(0.75, 1.15, 6))(np.linspace(0, 5, 400))
        distance, nearest = cKDTree(knots).query(np.stack([y, x], -1), workers=1)
        signed = np.maximum(signed, halves[nearest] - distance)
    scale = min(height, 3000) / 3000
    rough = noise("outline-a", y, x, 520 * scale) * 62 * scale + noise("outline-b", y, x, 170 * scale) * 34 * scale
    signed = signed + rough + noise("outline-c", y, x, 55) * 9
    for _ in range(max(2, round(14 * scale))):  # crumbs beside the biopsy
        rows, cols = np.nonzero((signed > -150 * scale - 40) & (signed < -30))
        pick = rng.integers(len(rows))
        away = np.hypot(y - y[rows[pick], 0], x - x[0, cols[pick]])
        signed = np.maximum(signed, rng.uniform(5, 26) - away + 6 * noise("crumb", y, x, 26))
    return _signed_distance(np.minimum(signed, _frame_um(size_um, y, x)))


def _frame_um(size_um: tuple[float, float], y: Field, x: Field) -> Field:
    """Return the signed distance to a frame 40 um inside the slide."""
    return np.asarray(np.minimum.reduce([y, x, size_um[0] - y, size_um[1] - x]) - 40, np.float32)


def _signed_distance(field: Field) -> Field:
    """Return a field with the zero line of the given one and a slope of about one."""
    inside = field > 0
    if not inside.any() or inside.all():
        return np.asarray(np.where(inside, 1e4, -1e4), np.float32)
    far = np.where(inside, ndi.distance_transform_edt(inside), -ndi.distance_transform_edt(~inside)) * CELL_UM
    near = field / np.maximum(np.hypot(*np.gradient(field, CELL_UM)), 0.3)
    return np.asarray(np.where(np.abs(far) < 1.5 * CELL_UM, np.clip(near, -9, 9), far), np.float32)


def _lesions(
    section: Field, noise: Noise, rng: np.random.Generator, y: Field, x: Field
) -> tuple[Field, list[NDArray[np.float64]]]:
    """Lay lesions of falling size into the tissue; return their signed distance and their outlines."""
    from skimage.measure import find_contours

    reach = float(np.sqrt((section > 0).sum()) * CELL_UM)
    shares = (0.165, 0.115, 0.075, 0.05)[: int(rng.integers(3, 5))] if reach > 900 else (0.2, 0.14)
    sizes = [max(share * reach, 66) for share in shares]
    field = np.full(y.shape, -1e4, np.float32)
    for size in sizes:
        room = np.where(field < -1.2 * size, np.minimum(section, 0.9 * size), -1e4)
        candidates = np.argwhere(room >= min(0.55 * size, 0.8 * room.max()))
        row, col = candidates[rng.integers(len(candidates))]
        turn, aspect = rng.uniform(0, np.pi), rng.uniform(0.6, 0.85)
        dy, dx = y - y[row, col], x - x[row, col]
        u, v = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
        field = np.maximum(field, size - np.hypot(u * aspect, v / aspect))
    bumps = noise("lesion-a", y, x, 0.085 * reach) * 0.034 * reach + noise("lesion-b", y, x, 48) * min(9, 0.02 * reach)
    shape = np.minimum(field + bumps, section - 14)
    labels, count = ndi.label(shape > 0)
    area = ndi.sum_labels(np.ones_like(shape), labels, np.arange(1, count + 1)) * CELL_UM**2
    crumbs = np.isin(labels, 1 + np.flatnonzero(area < (0.03 * reach) ** 2 * np.pi))
    shape = np.where(crumbs, -CELL_UM, shape)
    holes = ndi.binary_fill_holes(shape > 0) & (shape <= 0)
    signed = _signed_distance(np.asarray(np.where(holes, CELL_UM, shape), np.float32))
    outlines = [(contour + 0.5) * CELL_UM for contour in find_contours(signed, 0.0)]
    outlines.sort(key=len, reverse=True)
    return signed, outlines


def _fat_cells(centres: Field, noise: Noise, section: Field, lesion: Field) -> NDArray[np.bool_]:
    """Tell which cells of the mosaic are adipocytes: in patches, away from lesions, anywhere in the tissue."""
    y, x = centres.T
    fatty = noise("fat", y, x, 330) + 0.35 * noise("fat-b", y, x, 90)
    clear = (_lookup(lesion, y, x) < -45) & (_lookup(section, y, x) > -20)
    return np.asarray((fatty > 1.0) & clear)
