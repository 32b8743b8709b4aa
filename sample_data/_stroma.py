"""Collagen and fat: the stroma everything else is painted into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._ground import FAT_CELL_UM
from ._noise import smoothstep

if TYPE_CHECKING:
    from ._ground import Ground
    from ._noise import Field, Noise


@dataclass(frozen=True, slots=True, eq=False)
class Stain:
    """Concentrations of the dyes over one block, (rows, cols) float32, 1 being a well stained nucleus or red cell.

    Painters change the arrays in place.
    """

    haematoxylin: Field
    eosin: Field
    red_cell: Field

    def window(self, part: tuple[slice, slice]) -> Stain:
        """Return a view of a part of the block; painting it paints the block."""
        return Stain(self.haematoxylin[part], self.eosin[part], self.red_cell[part])


def part_near(y: Field, x: Field, box_um: tuple[float, float, float, float]) -> tuple[slice, slice] | None:
    """Return a block's rows and columns within (top, left, bottom, right) microns, or None if there are none."""
    rows = slice(*np.searchsorted(y[:, 0], box_um[0::2]))
    cols = slice(*np.searchsorted(x[0], box_um[1::2]))
    return (rows, cols) if rows.start < rows.stop and cols.start < cols.stop else None


def fibre_frame(noise: Noise, y: Field, x: Field, family: str) -> tuple[Field, Field]:
    """Return coordinates (v across, u along) of one family of collagen fibres, microns.

    Domain warping: a straight frame is bent by noise at three scales and given the crimp of collagen (about 40 um).
    """
    turn = {"a": 0.12, "b": 1.25}[family]
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along = cos * x + sin * y + 30 * noise(f"{family}-along", y, x, 300)
    across = cos * y - sin * x + 80 * noise(f"{family}-bend", y, x, 460) + 11 * noise(f"{family}-wave", y, x, 110)
    phase = along * np.float32(2 * np.pi / 41) + 2.5 * noise(f"{family}-phase", y, x, 75)
    across = across + 2.4 * noise(f"{family}-fray", y, x, 22) + 1.9 * np.sin(phase)
    return across, along


def weave(noise: Noise, y: Field, x: Field) -> Field:
    """Return the share of fibre family "b" against "a", in [0, 1]."""
    return smoothstep(noise("weave", y, x, 210) + 0.3 * noise("weave-fine", y, x, 40), 0.1, 0.75)


def fibre_angle(noise: Noise, y: Field, x: Field) -> Field:
    """Return the direction of the fibres in radians from the x axis towards the y axis."""
    step = np.float32(3)
    angles = []
    for family in "ab":
        v = fibre_frame(noise, y, x, family)[0]
        dv_dy = fibre_frame(noise, y + step, x, family)[0] - v
        dv_dx = fibre_frame(noise, y, x + step, family)[0] - v
        angles.append(np.arctan2(-dv_dx, dv_dy))
    return np.asarray(np.where(weave(noise, y, x) > 0.5, angles[1], angles[0]), np.float32)


def looseness(ground: Ground, y: Field, x: Field) -> Field:
    """Return how loosely the collagen is packed, 0 (dense, hyaline) to 1 (oedematous, cracked)."""
    noise = ground.noise
    loose = 0.42 + 0.24 * noise("loose", y, x, 260) + 0.1 * noise("loose-fine", y, x, 60)
    tumour = smoothstep(ground.lesion_um(y, x), -30, 15)
    return np.asarray(np.clip(loose * (1 - 0.35 * tumour), 0, 1), np.float32)


def paint_stroma(ground: Ground, y: Field, x: Field) -> Stain:
    """Return the concentrations of stroma at points: two families of fibres, woven."""
    noise, loose = ground.noise, looseness(ground, y, x)
    share = weave(noise, y, x)
    eosin = np.zeros(y.shape, np.float32)
    for family, weight in (("a", 1 - share), ("b", share)):
        v, u = fibre_frame(noise, y, x, family)
        fine = noise(f"{family}-fine", v, u, 2.2, 24)
        bundle = noise(f"{family}-bundle", v, u, 9.5, 75)
        crack = noise(f"{family}-crack", v, u, 6.0, 52) + 0.25 * fine
        limit = 2.45 - 2.1 * loose
        gap = smoothstep(crack, limit, limit + 0.45)
        strength = 0.52 + 0.09 * bundle + 0.08 * fine - 0.26 * loose
        eosin += weight * np.maximum(strength, 0.12) * (1 - 0.95 * gap)
    tumour = smoothstep(ground.lesion_um(y, x), -25, 20)
    mottle = noise("mottle", y, x, 34)
    grain = noise("grain", y, x, 1.9)
    eosin *= (1 - 0.16 * tumour) * (1 + 0.06 * mottle + 0.075 * grain)
    blue = 0.045 + 0.02 * noise("blue", y, x, 150) + 0.012 * mottle + 0.05 * tumour
    haematoxylin = np.maximum(blue, 0.01) * np.minimum(eosin * 3, 1)
    return Stain(np.asarray(haematoxylin, np.float32), np.asarray(eosin, np.float32), np.zeros(y.shape, np.float32))


def paint_fat(ground: Ground, y: Field, x: Field, stain: Stain, inside: Field) -> None:
    """Paint adipocytes over the stroma: empty cells with thin walls, thicker where three of them meet.

    ``inside`` is the signed distance to the outline of the tissue, microns: walls end there.
    """
    reach = 2.5 * FAT_CELL_UM
    centres = ground.fat_tree.data[ground.is_fat]
    low, high = np.array([y[0, 0], x[0, 0]]) - reach, np.array([y[-1, -1], x[-1, -1]]) + reach
    near = centres[((centres > low) & (centres < high)).all(1)]
    part = part_near(y, x, (*(near.min(0) - reach), *(near.max(0) + reach))) if len(near) else None
    if part is None:
        return
    y, x, inside, stain, noise = y[part], x[part], inside[part], stain.window(part), ground.noise
    warp_y = y + 7 * noise("fat-warp-y", y, x, 45)
    warp_x = x + 7 * noise("fat-warp-x", y, x, 45)
    distance, index = ground.fat_tree.query(np.stack([warp_y, warp_x], -1), k=3)
    fat = ground.is_fat[index[..., 0]]
    gap2 = np.asarray(distance[..., 1] - distance[..., 0], np.float32)
    gap3 = np.asarray(distance[..., 2] - distance[..., 0], np.float32)
    wall = np.exp(-((gap2 / (2.0 + 0.7 * noise("fat-wall", y, x, 20))) ** 2)) + 0.9 * np.exp(-((gap3 / 8.0) ** 2))
    wall *= 1 - 0.5 * smoothstep(noise("fat-frayed", y, x, 60), 0.6, 1.6)
    eosin = 0.26 * np.clip(wall, 0, 1.2)
    # cells are round: collagen fills the corners between fat and stroma
    border = fat & ~(ground.is_fat[index[..., 1]] & ground.is_fat[index[..., 2]])
    roundness = gap2 - 16 * np.exp(-((gap3 / 15) ** 2))
    keep = np.where(fat, np.where(border, 1 - smoothstep(roundness, 0.0, 3.0), 0), 1)
    eosin = np.where(fat, eosin * smoothstep(inside, -9, -3), 0) * (1 - keep)
    stain.eosin[...] = stain.eosin * keep + eosin
    stain.haematoxylin[...] = stain.haematoxylin * keep + 0.12 * eosin
