"""Paint a slide: plan where everything is, then render it block by block in threads.

Whatever a block shows depends on the plan alone, never on other blocks, so that the picture does not depend on the
number of threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._cells import stamp_cells
from ._ground import lay_ground
from ._noise import smoothstep
from ._populate import Lobule, populate
from ._stain import GLASS_RGB, Look, draw_look, expose, ink
from ._stroma import paint_fat, paint_stroma
from ._tumour import paint_nests

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._cells import Cells
    from ._ground import Ground
    from ._noise import Field
    from ._rings import Ring
    from ._stroma import Stain

_BLOCK_PX = 512
_MARGIN_UM = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Everything a slide shows, before it is painted.

    Parameters
    ----------
    shape : (int, int)
        Height and width in level-0 pixels.
    mpp : float
        Microns per pixel.
    ground : Ground
        Sections, fat and lesions.
    lobules, rings, cells
        Lobules, glands and vessels, and the nuclei of the slide.
    tumour_um : (N, 2) float32
        Centres (y, x) of the tumour cells, microns.
    look : Look
        How it is stained and marked.
    """

    shape: tuple[int, int]
    mpp: float
    ground: Ground
    lobules: list[Lobule]
    rings: list[Ring]
    cells: Cells
    tumour_um: Field
    look: Look

    @property
    def outlines_rc(self) -> list[NDArray[np.float64]]:
        """Closed outlines (row, col) of the lesions, level-0 pixels, pixel edges on whole numbers."""
        return [outline / self.mpp for outline in self.ground.outlines_um]


def plan_slide(shape: tuple[int, int], mpp: float, seed: int, *, lesion: bool) -> Plan:
    """Plan a slide.

    Parameters
    ----------
    shape : (int, int)
        Height and width in level-0 pixels.
    mpp : float
        Microns per pixel.
    seed : int
        The same seed gives the same slide.
    lesion : bool
        Whether it carries tumour.

    Raises
    ------
    ValueError
        If the slide would be smaller than 300 um in one direction: no section fits.
    """
    size_um = shape[0] * mpp, shape[1] * mpp
    if min(size_um) < 300:
        raise ValueError(
            f"a slide of {size_um[0]:.0f} x {size_um[1]:.0f} um is too small for a section; 300 um at least"
        )
    ground = lay_ground(size_um, seed, lesion=lesion)
    lobules, rings, cells, tumour_um = populate(ground, seed)
    return Plan(shape, mpp, ground, lobules, rings, cells, tumour_um, draw_look(ground, seed))


def paint_slide(plan: Plan, threads: int = 2) -> NDArray[np.uint8]:
    """Return the (h, w, 3) uint8 picture of a plan; ``threads`` changes the time it takes, not the picture."""
    height, width = plan.shape
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = np.rint(GLASS_RGB).astype(np.uint8)
    corners = [(row, col) for row in range(0, height, _BLOCK_PX) for col in range(0, width, _BLOCK_PX)]

    def paint(corner: tuple[int, int]) -> None:
        row, col = corner
        block = paint_block(plan, row, col, min(_BLOCK_PX, height - row), min(_BLOCK_PX, width - col))
        if block is not None:
            picture[row : row + block.shape[0], col : col + block.shape[1]] = block

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(paint, corners))
    return picture


def paint_block(plan: Plan, row: int, col: int, height: int, width: int) -> NDArray[np.uint8] | None:
    """Return one (height, width, 3) uint8 block of the picture, or None where there is nothing but glass."""
    ground, mpp = plan.ground, plan.mpp
    margin = int(np.ceil(_MARGIN_UM / mpp))
    y, x = np.meshgrid(
        (np.arange(row - margin, row + height + margin, dtype=np.float32) + np.float32(0.5)) * np.float32(mpp),
        (np.arange(col - margin, col + width + margin, dtype=np.float32) + np.float32(0.5)) * np.float32(mpp),
        indexing="ij",
    )
    inside = ground.section_um(y, x)
    if inside.max() < -25 and not ink(ground, plan.look, y, x).any():
        return None
    stain = paint_stroma(ground, y, x)
    for lobule in plan.lobules:
        lobule.paint(stain, ground, y, x)
    _paint_outline(ground, inside, y, x, stain)
    paint_fat(ground, y, x, stain, inside)
    paint_nests(ground, plan.tumour_um, y, x, stain)
    box = y[0, 0], x[0, 0], y[-1, -1], x[-1, -1]
    for ring in plan.rings:
        if _near(ring.y, ring.x, ring.reach, box):
            ring.paint(stain, ground, y, x)
    reach = 1.6 * np.maximum(plan.cells["a"], plan.cells["b"])
    seen = plan.cells[_near(plan.cells["y"], plan.cells["x"], reach, box)]
    origin = (row - margin) * mpp, (col - margin) * mpp
    stamp_cells(stain, seen, ground.noise, origin, mpp)
    rgb = expose(ground, plan.look, stain, y, x, mpp)
    return rgb[margin : margin + height, margin : margin + width]


def _near(y: Field | float, x: Field | float, reach: Field | float, box: tuple[float, ...]) -> NDArray[np.bool_]:
    near = (y + reach >= box[0]) & (x + reach >= box[1]) & (y - reach <= box[2]) & (x - reach <= box[3])
    return np.asarray(near)


def _paint_outline(ground: Ground, inside: Field, y: Field, x: Field, stain: Stain) -> None:
    """End the tissue at its outline, frayed along the fibres, and open the tears."""
    noise = ground.noise
    fray = 7 * noise("fray", y, x, 22) + 3.5 * noise("fray-fine", y, x, 7) + 14 * (stain.eosin - 0.35)
    cover = smoothstep(inside + fray, -1.5, 1.5)
    tear = np.abs(noise("tear", y, x, 190, 620) + 0.05 * noise("tear-edge", y, x, 18))
    open_ = smoothstep(noise("tear-where", y, x, 420), 0.55, 1.6) * smoothstep(-ground.lesion_um(y, x), 0, 40)
    cover *= smoothstep(tear - 0.055 * open_, -0.006, 0.006 + 0.02 * (1 - open_).min())
    # a cut edge takes up more dye
    edge = 1 + 0.22 * np.exp(-((inside / 16) ** 2))
    stain.eosin[...] *= cover * edge
    stain.haematoxylin[...] *= cover * edge
