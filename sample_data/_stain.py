"""From dye to light: optical density, ink, focus and the scanner's own marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage as ndi

from ._noise import smoothstep

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._ground import Ground
    from ._noise import Field
    from ._stroma import Stain

GLASS_RGB = (243.0, 243.0, 244.0)
# optical density per unit of dye in (R, G, B): haematoxylin after Ruifrok & Johnston 2001, eosin of the reference
# H&E of Macenko et al. 2009 (the pair that QuPath starts from), red cells and ink by eye
HAEMATOXYLIN_OD = (0.651, 0.701, 0.290)
EOSIN_OD = (0.216, 0.801, 0.558)
RED_CELL_OD = (0.14, 0.86, 0.62)
INKS_OD = {"blue": (1.25, 0.80, 0.34), "green": (1.20, 0.52, 0.80)}


@dataclass(frozen=True, slots=True)
class Look:
    """How one slide was stained, marked and scanned.

    Parameters
    ----------
    haematoxylin, eosin : float
        Strength of the dyes.
    tint : (float, float, float)
        Change of eosin's optical density per channel, a share.
    ink : str
        Colour of the pen mark.
    stroke_um : (P, 2) float64
        Path (y, x) of the pen mark, microns; ``pen_um`` wide.
    pen_um : float
        Width of the pen mark.
    """

    haematoxylin: float
    eosin: float
    tint: tuple[float, float, float]
    ink: str
    stroke_um: NDArray[np.float64]
    pen_um: float


def draw_look(ground: Ground, seed: int) -> Look:
    """Draw the staining of a slide, and a pen mark across an edge of the tissue."""
    rng = np.random.default_rng([seed, 2])
    height, width = ground.size_um
    scale = min(height, 3000) / 3000
    rows, cols = np.nonzero(np.abs(ground.section) < 12)
    pick = int(
        np.argmin(np.abs(cols / ground.section.shape[1] - rng.uniform(0.1, 0.9)) + rng.uniform(0, 0.1, len(cols)))
    )
    at = np.array([rows[pick] / ground.section.shape[0] * height, cols[pick] / ground.section.shape[1] * width])
    turn, length = rng.uniform(0, np.pi), rng.uniform(420, 560) * scale
    t = np.linspace(-1, 1, 60)
    bow = rng.uniform(-0.25, 0.25) * (1 - t**2)
    path = at + length / 2 * np.stack(
        [np.sin(turn) * t + np.cos(turn) * bow, np.cos(turn) * t - np.sin(turn) * bow], -1
    )
    return Look(
        haematoxylin=float(np.exp(rng.normal(0, 0.12))),
        eosin=float(np.exp(rng.normal(0, 0.12))),
        tint=tuple(float(v) for v in 1 + rng.normal(0, 0.06, 3)),  # type: ignore[arg-type]
        ink=str(rng.choice(list(INKS_OD))),
        stroke_um=path,
        pen_um=float(rng.uniform(75, 105) * scale),
    )


def ink(ground: Ground, look: Look, y: Field, x: Field) -> Field:
    """Return the density of the pen mark at points, 0 to about 1: streaky, darker where the pen rested."""
    noise, path = ground.noise, look.stroke_um
    reach = look.pen_um
    box = path.min(0) - reach, path.max(0) + reach
    if (y.max() < box[0][0]) or (y.min() > box[1][0]) or (x.max() < box[0][1]) or (x.min() > box[1][1]):
        return np.zeros(y.shape, np.float32)
    axis = path[-1] - path[0]
    length = float(np.hypot(*axis))
    axis = axis / length
    along = (y - path[0][0]) * axis[0] + (x - path[0][1]) * axis[1]
    across = (x - path[0][1]) * axis[0] - (y - path[0][0]) * axis[1]
    middle = np.interp(along, (path - path[0]) @ axis, (path - path[0]) @ np.array([-axis[1], axis[0]]))
    off = np.abs(across - middle) + 3 * noise("ink-edge", y, x, 14)
    ends = np.minimum(along, length - along) + 12 * noise("ink-end", y, x, 25)
    body = smoothstep(look.pen_um / 2 - off, -2, 6) * smoothstep(ends, -8, 14)
    streak = 0.6 + 0.11 * noise("ink-streak", across, along, 5, 500) + 0.13 * noise("ink-pool", y, x, 60)
    streak = streak + 0.06 * noise("ink-grain", y, x, 4)
    rim = 0.2 * np.exp(-(((look.pen_um / 2 - off) / 7) ** 2))
    return np.asarray(np.clip(body * (streak + rim), 0, 1), np.float32)


def expose(ground: Ground, look: Look, stain: Stain, y: Field, x: Field, mpp: float) -> NDArray[np.uint8]:
    """Return the (rows, cols, 3) uint8 picture of a block as a scanner sees it."""
    noise = ground.noise
    blue = look.haematoxylin * (1 + 0.07 * noise("uneven-h", y, x, 600)) * stain.haematoxylin
    pink = look.eosin * (1 + 0.09 * noise("uneven-e", y, x, 700)) * stain.eosin
    mark = ink(ground, look, y, x)
    defocus = smoothstep(noise("focus", y, x, 500), 0.7, 2.2)[..., None]
    density = np.stack(
        [
            blue * HAEMATOXYLIN_OD[c]
            + pink * EOSIN_OD[c] * look.tint[c]
            + stain.red_cell * RED_CELL_OD[c]
            + mark * INKS_OD[look.ink][c]
            for c in range(3)
        ],
        -1,
    )
    light = np.exp(-density)
    sharp = ndi.gaussian_filter(light, (0.28 / mpp, 0.28 / mpp, 0))
    soft = ndi.gaussian_filter(light, (0.75 / mpp, 0.75 / mpp, 0))
    rgb = (sharp + defocus * (soft - sharp)) * np.asarray(GLASS_RGB, np.float32)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)
