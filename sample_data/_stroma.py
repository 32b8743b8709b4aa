"""Collagen and fat: the stroma everything else is painted into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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


def fibre_frame(noise: Noise, y: Field, x: Field, family: str) -> tuple[Field, Field]:
    """Return coordinates (v across, u along) of one family of collagen fibres, microns.

    Domain warping: a straight frame is bent by noise at three scales and given the crimp of collagen (about 40 um).
    """
    turn = {"a": 0.12, "b": 1.25}[family]
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along = cos * x + sin * y + 30 * noise(f"{family}-along", y, x, 300)
    across = cos * y - sin * x + 85 * noise(f"{family}-bend", y, x, 430) + 15 * noise(f"{family}-wave", y, x, 95)
    phase = along * np.float32(2 * np.pi / 41) + 2.5 * noise(f"{family}-phase", y, x, 75)
    across = across + 3.2 * noise(f"{family}-fray", y, x, 26) + 1.8 * np.sin(phase)
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
        fine = noise(f"{family}-fine", v, u, 2.6, 46)
        bundle = noise(f"{family}-bundle", v, u, 11, 120)
        crack = noise(f"{family}-crack", v, u, 5.5, 70)
        width = 0.04 + 0.3 * loose * loose + 0.1 * np.maximum(bundle, 0) * loose
        gap = np.exp(-((crack / width) ** 2)) * smoothstep(loose, 0.2, 0.6)
        strength = 0.44 + 0.085 * bundle + 0.055 * fine - 0.12 * loose
        eosin += weight * np.maximum(strength, 0.1) * (1 - 0.93 * gap)
    tumour = smoothstep(ground.lesion_um(y, x), -25, 20)
    mottle = noise("mottle", y, x, 34)
    eosin *= (1 - 0.2 * tumour) * (1 + 0.05 * mottle)
    blue = 0.045 + 0.02 * noise("blue", y, x, 150) + 0.012 * mottle + 0.05 * tumour
    haematoxylin = np.maximum(blue, 0.01) * np.minimum(eosin * 3, 1)
    return Stain(np.asarray(haematoxylin, np.float32), np.asarray(eosin, np.float32), np.zeros(y.shape, np.float32))


def paint_fat(ground: Ground, y: Field, x: Field, stain: Stain, inside: Field) -> None:
    """Paint adipocytes over the stroma: empty cells with thin walls, thicker where three of them meet.

    ``inside`` is the signed distance to the outline of the tissue, microns: walls end there.
    """
    reach = 2.5 * 64
    box = np.array([[y.min() - reach, x.min() - reach], [y.max() + reach, x.max() + reach]])
    centres = ground.fat_tree.data
    near = ((centres > box[0]) & (centres < box[1])).all(1) & ground.is_fat
    if not near.any():
        return
    noise = ground.noise
    warp_y = y + 7 * noise("fat-warp-y", y, x, 45)
    warp_x = x + 7 * noise("fat-warp-x", y, x, 45)
    distance, index = ground.fat_tree.query(np.stack([warp_y, warp_x], -1), k=3)
    fat = ground.is_fat[index[..., 0]]
    gap2 = np.asarray(distance[..., 1] - distance[..., 0], np.float32)
    gap3 = np.asarray(distance[..., 2] - distance[..., 0], np.float32)
    wall = np.exp(-((gap2 / (2.0 + 0.7 * noise("fat-wall", y, x, 20))) ** 2)) + 0.9 * np.exp(-((gap3 / 8.0) ** 2))
    wall *= 1 - 0.5 * smoothstep(noise("fat-frayed", y, x, 60), 0.6, 1.6)
    eosin = 0.26 * np.clip(wall, 0, 1.2)
    beside = smoothstep(gap2, 2.0, 6.0)
    keep = np.where(fat, 0, 1)
    # at the border to stroma the wall thickens into collagen instead of ending in a hard step
    border = fat & ~ground.is_fat[index[..., 1]]
    eosin = np.where(border, np.maximum(eosin, 0.3 * (1 - beside)), eosin) * smoothstep(inside, -9, -3)
    stain.eosin[...] = stain.eosin * keep + np.where(fat, eosin, 0)
    stain.haematoxylin[...] = stain.haematoxylin * keep + np.where(fat, 0.12 * eosin, 0)
