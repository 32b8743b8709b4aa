"""Two maps on one view: a divider between them, one after the other, or one less the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer
from vispy.visuals.filters import Clipper
from vispy.visuals.transforms import NullTransform

from ..maps import Painter
from .layers import placement

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer
    from numpy.typing import NDArray

    from ..maps import Difference
    from ..slides import SlideRef
    from ..tiling import TileGrid

BLINK_MS = 700
_FAR = 1e6


class PairView(QObject):
    """Shows two map layers in one of the ways `show` takes; shows neither otherwise than before when cleared.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose canvas draws them.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.layers: tuple[Layer, Layer] | None = None
        self._clips: list[tuple[Any, Clipper]] = []
        self._divider = 0.5
        self._timer = QTimer(self)
        self._timer.setInterval(BLINK_MS)
        self._timer.timeout.connect(self.blink)

    @property
    def swiping(self) -> bool:
        """Whether a divider lies between the maps."""
        return bool(self._clips)

    @property
    def blinking(self) -> bool:
        """Whether the maps are shown in turn."""
        return self._timer.isActive()

    def swipe(self, layers: tuple[Layer, Layer], divider: float) -> None:
        """Show the first map left of a divider, the second right of it; ``divider`` from 0 to 1 of the width."""
        self.clear()
        self.layers = layers
        canvas = self._canvas()
        for layer in layers:
            layer.visible = True
            node = canvas.layer_to_visual[layer].node
            clip = Clipper(transform=NullTransform())
            node.attach(clip)
            self._clips.append((node, clip))
        self.move_divider(divider)

    def move_divider(self, divider: float) -> None:
        """Put the divider elsewhere: one redraw, nothing is computed."""
        self._divider = divider
        if not self._clips:
            return
        canvas = self._canvas()
        x = divider * float(canvas._scene_canvas.physical_size[0])
        for (_, clip), bounds in zip(self._clips, ((0, -_FAR, x, 2 * _FAR), (x, -_FAR, _FAR, 2 * _FAR)), strict=True):
            clip.bounds = bounds
        canvas._scene_canvas.update()

    def start_blinking(self, layers: tuple[Layer, Layer]) -> None:
        """Show one map after the other."""
        self.clear()
        self.layers = layers
        self.blink()
        self._timer.start()

    def blink(self) -> None:
        """Show the other one of the two."""
        if self.layers is None:
            return
        first, second = self.layers
        second.visible, first.visible = first.visible, not first.visible
        if first.visible == second.visible:
            second.visible = not first.visible

    def clear(self) -> None:
        """Show the first map alone, without divider."""
        self._timer.stop()
        for node, clip in self._clips:
            node.detach(clip)
        self._clips = []
        if self.layers is not None:
            first, second = self.layers
            if second in self._viewer.layers:
                second.visible = False
            if first in self._viewer.layers:
                first.visible = True
        self.layers = None

    def _canvas(self) -> Any:
        return getattr(self._viewer, "__wrapped__", self._viewer).window._qt_window._qt_viewer.canvas


def grid_layer(grid: TileGrid, values: NDArray[np.float32], slide: SlideRef, **shown: Any) -> Image:
    """Return a layer with one number per tile in the place of the tiles, NaN transparent.

    Parameters
    ----------
    grid : TileGrid
        The tiles.
    values : (N,) float32
        One number per tile.
    slide : SlideRef
        Their slide.
    **shown
        Further arguments of the layer.

    Returns
    -------
    napari.layers.Image
        Not yet in a viewer.
    """
    raster = Painter(grid).paint(values)
    place = placement(slide.mpp)
    scale = place["scale"]
    return Image(
        raster.values,
        scale=(raster.l0_step * scale[0], raster.l0_step * scale[1]),
        translate=(raster.l0_origin[0] * scale[0], raster.l0_origin[1] * scale[1]),
        units=place["units"],
        blending="translucent_no_depth",
        interpolation2d="nearest",
        **shown,
    )


def difference_layer(found: Difference, slide: SlideRef) -> Image:
    """Return a layer that shows a difference in diverging colours about zero."""
    name = f"{found.title}: {found.names[0]} less {found.names[1]}"
    return grid_layer(
        found.grid, found.values, slide, name=name, colormap="PuOr", contrast_limits=found.limits, opacity=0.7
    )


def chosen_layer(grid: TileGrid, tiles: NDArray[np.int64], slide: SlideRef) -> Image:
    """Return a layer that marks tiles."""
    values = np.full(len(grid), np.nan, np.float32)
    values[tiles] = 1
    return grid_layer(
        grid, values, slide, name="Chosen patches", colormap="magenta", contrast_limits=(0.0, 1.0), opacity=0.8
    )
