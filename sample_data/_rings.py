"""Glands, ducts and vessels: everything that is a wall around a lumen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._cells import make_cells
from ._noise import scattered, smoothstep

if TYPE_CHECKING:
    from ._cells import Cells
    from ._ground import Ground
    from ._noise import Field
    from ._stroma import Stain


@dataclass(frozen=True, slots=True, eq=False)
class Ring:
    """A closed wall around a lumen, microns.

    Parameters
    ----------
    kind : "gland", "artery" or "vessel"
        An epithelium of nuclei side by side; a wall of muscle; a bare endothelium.
    y, x, radius : float
        Centre and mean outer radius.
    wall : float
        Thickness of the wall.
    aspect, turn : float
        The outline is stretched by 1/aspect along ``turn`` (radians) and by aspect across, keeping its area.
    waves : (K, 2) float32
        Amplitude (share of the radius) and phase of the outline's harmonics 2, 3, ...
    filled : float
        Share of the lumen's area taken by red cells (vessels), or by secretion (glands).
    """

    kind: str
    y: float
    x: float
    radius: float
    wall: float
    aspect: float
    turn: float
    waves: Field
    filled: float

    @property
    def reach(self) -> float:
        """Radius of a disc that holds the ring and its surroundings."""
        return self.radius / self.aspect * 1.35 + 14

    def depth(self, y: Field, x: Field) -> Field:
        """Return how far inside the outer border points lie, microns, negative outside."""
        dy, dx = y - self.y, x - self.x
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        u, v = (cos * dx + sin * dy) * self.aspect, (cos * dy - sin * dx) / self.aspect
        theta = np.arctan2(v, u)
        return np.asarray(self._outline(theta) - np.hypot(u, v), np.float32)

    def on_wall(self, theta: Field, depth: Field | float) -> tuple[Field, Field]:
        """Return points (N, 2) at a depth under the outline, and the direction (radians) from there to the centre."""
        r = np.maximum(self._outline(theta) - depth, 0)
        u, v = r * np.cos(theta) / self.aspect, r * np.sin(theta) * self.aspect
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        dx, dy = cos * u - sin * v, sin * u + cos * v
        tangent = np.roll(dx, -1) - np.roll(dx, 1), np.roll(dy, -1) - np.roll(dy, 1)
        points = np.stack([self.y + dy, self.x + dx], -1)
        return np.asarray(points, np.float32), np.asarray(np.arctan2(tangent[1], tangent[0]) + np.pi / 2, np.float32)

    def _outline(self, theta: Field) -> Field:
        r = np.ones_like(theta)
        for k, (amplitude, phase) in enumerate(self.waves, start=2):
            r = r + amplitude * np.cos(k * theta + phase)
        return np.asarray(self.radius * r, np.float32)

    def paint(self, stain: Stain, ground: Ground, y: Field, x: Field) -> None:
        """Paint wall and lumen into a block, before its nuclei."""
        noise = ground.noise
        depth = self.depth(y, x) + 0.9 * noise("ring-edge", y, x, 7)
        inside = smoothstep(depth, -0.8, 0.8)
        grain = noise("ring-grain", y, x, 3.2)
        lumen = smoothstep(depth - self.wall + 1.3 * noise("ring-lumen", y, x, 9), -0.9, 0.9)
        if self.kind == "gland":
            apical = np.exp(-(((depth - self.wall) / 1.5) ** 2))
            tone: Field = 0.38 + 0.04 * grain + 0.14 * apical
            blue = 0.22 + 0.04 * grain
            content: Field = self.filled * (0.2 + 0.03 * noise("secretion", y, x, 12))
            collar = np.exp(-(((depth + 3) / 3.5) ** 2)) * (depth < 0)
            stain.eosin[...] += 0.12 * collar * (stain.eosin > 0.05)
        else:
            swirl = noise("muscle", depth * 1.0, np.arctan2(y - self.y, x - self.x) * self.radius, 2.6, 30)
            tone = 0.52 + 0.07 * swirl
            blue = 0.08 + 0.02 * grain
            content = 0.07 * np.ones_like(depth)
        for dye, wall, within in ((stain.eosin, tone, content), (stain.haematoxylin, blue, 0.05 * content)):
            dye[...] = dye * (1 - inside) + inside * (wall * (1 - lumen) + within * lumen)

    def cells(self, rng: np.random.Generator) -> list[Cells]:
        """Return the nuclei of the wall and the cells in the lumen."""
        around = 2 * np.pi * self.radius * (1 / self.aspect + self.aspect) / 2
        if self.kind == "gland":
            deep, radial = self.on_wall(self._turns(around, 6.6, rng), 5.4 + rng.normal(0, 0.7))
            deep += rng.normal(0, 0.65, deep.shape).astype(np.float32)
            angle = radial + rng.normal(0, 0.22, len(deep)).astype(np.float32)
            basal, across = self.on_wall(self._turns(around, 17, rng), 0.9)
            return [
                make_cells("epithelial", deep, angle, rng),
                make_cells("myoepithelial", basal, across + np.float32(np.pi / 2), rng),
            ]
        lining, radial = self.on_wall(self._turns(around, 19, rng), self.wall - 0.9)
        flat = make_cells("endothelial", lining, radial + np.float32(np.pi / 2), rng)
        flat["a"] = np.minimum(flat["a"], 0.55 * self.radius)  # bent around a capillary they look shorter
        parts = [flat]
        if self.kind == "artery":
            muscle, radial = self.on_wall(self._turns(around, 13, rng), self.wall * rng.uniform(0.2, 0.6))
            parts.append(make_cells("spindle", muscle, radial + np.float32(np.pi / 2), rng))
        size = 2 * self.reach
        blood = scattered(rng, (size, size), 6.1) + np.asarray([self.y - size / 2, self.x - size / 2], np.float32)
        held = (self.depth(blood[:, 0], blood[:, 1]) > self.wall + 2.4) & (rng.random(len(blood)) < self.filled)
        parts.append(make_cells("red", blood[held], 0.0, rng))
        return parts

    @staticmethod
    def _turns(around: float, pitch: float, rng: np.random.Generator) -> Field:
        count = max(2, round(around / pitch))
        shift = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.12, count) * 2 * np.pi / count
        return np.asarray(np.sort(np.arange(count) * 2 * np.pi / count + shift), np.float32)


def make_ring(kind: str, centre: Field, radius: float, wall: float, rng: np.random.Generator, **more: float) -> Ring:
    """Return a ring whose outline, stretch and filling are drawn at random where ``more`` does not fix them."""
    waves = np.stack([rng.normal(0, 1, 4) * (0.10, 0.06, 0.035, 0.025), rng.uniform(0, 2 * np.pi, 4)], -1)
    return Ring(
        kind,
        float(centre[0]),
        float(centre[1]),
        radius,
        wall,
        more.get("aspect", rng.uniform(0.75, 1.0)),
        more.get("turn", rng.uniform(0, np.pi)),
        waves.astype(np.float32),
        more.get("filled", rng.uniform(0, 1) ** 2),
    )
