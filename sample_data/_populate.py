"""Settle glands, vessels and cells on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from ._cells import CELL, make_cells, without_overlap
from ._noise import scattered, smoothstep
from ._rings import make_ring
from ._stroma import fibre_angle, looseness
from ._tumour import nest_um, tumour_cells

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._cells import Cells
    from ._ground import Ground
    from ._noise import Field
    from ._rings import Ring
    from ._stroma import Stain


@dataclass(frozen=True, slots=True)
class Lobule:
    """A disc of loose, cellular stroma that holds a cluster of glands, microns."""

    y: float
    x: float
    radius: float

    @property
    def reach(self) -> float:
        """Radius of a disc that holds the lobule."""
        return self.radius + 70

    def share(self, ground: Ground, y: Field, x: Field) -> Field:
        """Return how much points belong to the lobule, 0 to 1; its border is irregular."""
        away = np.hypot(y - self.y, x - self.x) + 16 * ground.noise("lobule", y, x, 50)
        return smoothstep(self.radius - away, -8, 10)

    def paint(self, stain: Stain, ground: Ground, y: Field, x: Field) -> None:
        """Paint its loose stroma over the collagen of a block."""
        share = self.share(ground, y, x)
        soft = 0.27 + 0.035 * ground.noise("lobule-grain", y, x, 5) + 0.03 * ground.noise("lobule-tone", y, x, 18)
        stain.eosin[...] += 0.8 * share * (soft - stain.eosin)
        stain.haematoxylin[...] += 0.8 * share * (0.10 + 0.1 * (soft - 0.27) - stain.haematoxylin)


def populate(ground: Ground, seed: int) -> tuple[list[Lobule], list[Ring], Cells, Field]:
    """Return lobules, rings, all cells without overlap, and the (N, 2) centres (y, x, microns) of tumour cells."""
    rng = np.random.default_rng([seed, 3])
    lobules, rings = _glands(ground, rng)
    rings += _vessels(ground, rng, rings)
    walls = [part for ring in rings for part in ring.cells(rng)]
    nests = tumour_cells(ground, rng)
    loose = [*_lymphocytes(ground, lobules, rng), *_fibroblasts(ground, lobules, rng)]
    free = np.concatenate([np.zeros(0, CELL), *loose])
    free = free[_clear_of(rings, free["y"], free["x"]) & _in_stroma(ground, free["y"], free["x"])]
    tumour = np.concatenate([np.zeros(0, CELL), *nests])
    cells = without_overlap(np.concatenate([np.zeros(0, CELL), *walls, tumour, free]))
    return lobules, rings, cells, np.stack([tumour["y"], tumour["x"]], -1)


def _glands(ground: Ground, rng: np.random.Generator) -> tuple[list[Lobule], list[Ring]]:
    """Return lobules of acini, and ducts between them, in fibrous tissue away from lesions and edges."""
    lobules: list[Lobule] = []
    rings: list[Ring] = []
    places = scattered(rng, ground.size_um, 290, 0.3)
    rooms = np.minimum(ground.section_um(*places.T), -ground.lesion_um(*places.T) - 10)
    rooms = np.minimum(rooms, ground.to_fat_um(*places.T) - 38)
    for (y, x), room in zip(places[rooms > 52].tolist(), rooms[rooms > 52].tolist(), strict=True):
        if rng.random() < 0.33:
            radius = min(rng.uniform(34, 68), 0.7 * room)
            rings.append(
                make_ring("gland", np.array([y, x]), radius, rng.uniform(13, 16), rng, aspect=rng.uniform(0.6, 0.85))
            )
            continue
        lobule = Lobule(float(y), float(x), min(rng.uniform(75, 135), room))
        acini = scattered(rng, (2 * lobule.radius, 2 * lobule.radius), 43, 0.2) + np.array([y, x]) - lobule.radius
        held = np.hypot(*(acini - np.array([y, x])).T) < lobule.radius - 20 + rng.normal(0, 6, len(acini))
        chosen = acini[held & (rng.random(len(acini)) < 0.9)]
        rings += [make_ring("gland", at, rng.uniform(14.5, 21), rng.uniform(10, 12.5), rng) for at in chosen]
        lobules.append(lobule)
    return lobules, rings


def _vessels(ground: Ground, rng: np.random.Generator, glands: list[Ring]) -> list[Ring]:
    """Return small arteries, veins and capillaries in the stroma, clear of glands and nests."""
    rings = []
    places = scattered(rng, ground.size_um, 120, 0.35)
    rooms = np.minimum(ground.section_um(*places.T) - 18, -nest_um(ground, *places.T))
    rooms = np.minimum(rooms, ground.to_fat_um(*places.T) - 38)
    for at, room in zip(places, rooms, strict=True):
        size = rng.random()
        radius = rng.uniform(26, 42) if size < 0.05 else rng.uniform(11, 20) if size < 0.3 else rng.uniform(4.5, 8)
        if radius > room or any(np.hypot(ring.y - at[0], ring.x - at[1]) < ring.reach + radius for ring in glands):
            continue
        artery = size < 0.1
        wall = 0.42 * radius if artery else 2.2
        rings.append(make_ring("artery" if artery else "vessel", at, radius, wall, rng, aspect=rng.uniform(0.6, 1.0)))
    return rings


def _lymphocytes(ground: Ground, lobules: list[Lobule], rng: np.random.Generator) -> list[Cells]:
    """Return lymphocytes: aggregates anywhere in the stroma, some in lobules and around tumour, few elsewhere."""
    points = scattered(rng, ground.size_um, 7.0, 0.36)
    points = points[ground.section_um(points[:, 0], points[:, 1]) > 6]
    y, x = points.T
    chance = np.full(len(points), 0.0045, np.float32)
    chance += 0.028 * smoothstep(ground.noise("infiltrate", y, x, 160), 0.6, 1.8)
    front = np.exp(-(((ground.lesion_um(y, x) + 12) / 38) ** 2))
    chance += 0.28 * front * smoothstep(ground.noise("front", y, x, 110), 0.0, 1.4)
    area = float((ground.section > 60).sum()) * 36.0
    for _ in range(max(1, round(area / 260_000))):
        rows, cols = np.nonzero(ground.section > 45)
        pick = rng.integers(len(rows))
        at_y, at_x, reach = rows[pick] * 6.0, cols[pick] * 6.0, rng.uniform(38, 95)
        away = np.hypot(y - at_y, x - at_x) / reach + 0.22 * ground.noise("aggregate", y, x, 30)
        chance += 0.93 * smoothstep(1.1 - away, 0, 0.35)
    for lobule in lobules:
        near = (np.abs(y - lobule.y) < lobule.radius + 60) & (np.abs(x - lobule.x) < lobule.radius + 60)
        chance[near] += rng.uniform(0.01, 0.09) * lobule.share(ground, y[near], x[near])
    chosen = points[rng.random(len(points)) < chance]
    return [make_cells("lymphocyte", chosen, rng.uniform(0, np.pi, len(chosen)).astype(np.float32), rng)]


def _fibroblasts(ground: Ground, lobules: list[Lobule], rng: np.random.Generator) -> list[Cells]:
    """Return the spindle nuclei of the stroma, along its fibres; plumper and more of them in a lesion."""
    points = scattered(rng, ground.size_um, 17, 0.45)
    points = points[ground.section_um(points[:, 0], points[:, 1]) > 4]
    y, x = points.T
    tumour = smoothstep(ground.lesion_um(y, x), -30, 10)
    crowd = smoothstep(ground.noise("fibroblasts", y, x, 130), -1.2, 1.8)
    chance = 0.06 + 0.22 * crowd + 0.1 * tumour - 0.08 * looseness(ground, y, x)
    for lobule in lobules:
        chance = chance + 0.25 * lobule.share(ground, y, x)
    taken = rng.random(len(points)) < chance
    chosen, plump = points[taken], rng.random(int(taken.sum())) < 0.12 + 0.45 * tumour[taken]
    angle = fibre_angle(ground.noise, chosen[:, 0], chosen[:, 1])
    angle = angle + rng.normal(0, 0.14, len(chosen)).astype(np.float32)
    return [
        make_cells("plump", chosen[plump], angle[plump], rng),
        make_cells("spindle", chosen[~plump], angle[~plump], rng),
    ]


def _clear_of(rings: list[Ring], y: Field, x: Field) -> NDArray[np.bool_]:
    """Tell which points lie outside every ring."""
    clear = np.ones(len(y), bool)
    tree = cKDTree(np.stack([y, x], -1))
    for ring in rings:
        near = np.asarray(tree.query_ball_point((ring.y, ring.x), ring.reach), np.intp)
        if len(near):
            clear[near] &= ring.depth(y[near], x[near]) < -2.5
    return clear


def _in_stroma(ground: Ground, y: Field, x: Field) -> NDArray[np.bool_]:
    """Tell which points are neither in a nest nor in fat; some lymphocytes stay in nests."""
    rare = (np.arange(len(y)) % 17) == 0
    return np.asarray(((nest_um(ground, y, x) < -2.5) | rare) & ~ground.in_fat(y, x))
