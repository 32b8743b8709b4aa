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
from ._stroma import paint_fat, paint_stroma, part_near
from ._tumour import paint_nests

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def plan_slide(shape: tuple[int, int], mpp: float, seed: int, *, lesion: bool, everywhere: bool = False) -> Plan:
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
    everywhere : bool
        Fill the slide with tissue but for a narrow frame, instead of laying biopsies on glass.

    Raises
    ------
    ValueError
        If the slide would be smaller than 400 um in one direction: no section fits.
    """
    size_um = shape[0] * mpp, shape[1] * mpp
    if min(size_um) < 400:
        raise ValueError(
            f"a slide of {size_um[0]:.0f} x {size_um[1]:.0f} um is too small for a section; 400 um at least"
        )
    ground = lay_ground(size_um, seed, lesion=lesion, everywhere=everywhere)
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
    _paint_each(plan.lobules, ground, y, x, stain)
    _paint_outline(ground, inside, y, x, stain)
    paint_fat(ground, y, x, stain, inside)
    paint_nests(ground, plan.tumour_um, y, x, stain)
    _paint_each(plan.rings, ground, y, x, stain)
    stamp_cells(stain, _seen(plan.cells, y, x), ground.noise, (row - margin, col - margin), mpp)
    rgb = expose(ground, plan.look, stain, y, x, mpp)
    return rgb[margin : margin + height, margin : margin + width]


def _paint_each(things: Iterable[Lobule | Ring], ground: Ground, y: Field, x: Field, stain: Stain) -> None:
    """Let each thing paint the part of the block that it reaches."""
    for thing in things:
        box = thing.y - thing.reach, thing.x - thing.reach, thing.y + thing.reach, thing.x + thing.reach
        part = part_near(y, x, box)
        if part is not None:
            thing.paint(stain.window(part), ground, y[part], x[part])


def _seen(cells: Cells, y: Field, x: Field) -> Cells:
    """Return the cells that reach into a block."""
    reach = 1.6 * np.maximum(cells["a"], cells["b"])
    in_rows = (cells["y"] + reach >= y[0, 0]) & (cells["y"] - reach <= y[-1, -1])
    seen: Cells = cells[in_rows & (cells["x"] + reach >= x[0, 0]) & (cells["x"] - reach <= x[-1, -1])]
    return seen


def _paint_outline(ground: Ground, inside: Field, y: Field, x: Field, stain: Stain) -> None:
    """End the tissue at its outline, frayed along the fibres, and open the tears."""
    noise = ground.noise
    fray = 7 * noise("fray", y, x, 22) + 3.5 * noise("fray-fine", y, x, 7) + 14 * (stain.eosin - 0.35)
    cover = smoothstep(inside + fray, -1.5, 1.5)
    tear = np.abs(noise("tear", y, x, 190, 620) + 0.05 * noise("tear-edge", y, x, 18))
    open_ = smoothstep(noise("tear-where", y, x, 420), 0.55, 1.6) * smoothstep(-ground.lesion_um(y, x), 0, 40)
    cover *= smoothstep(tear - 0.07 * open_, -0.012, -0.002)
    # a cut edge takes up more dye
    edge = 1 + 0.22 * np.exp(-((inside / 16) ** 2))
    stain.eosin[...] *= cover * edge
    stain.haematoxylin[...] *= cover * edge
