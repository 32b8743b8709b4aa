"""Two maps on one view: a divider between them, one after the other, or one less the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal
from vispy.visuals.filters import Clipper
from vispy.visuals.transforms import NullTransform

from ..maps import Painter
from .layers import KEY, placement
from .widgets.compare_divider import Divider

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
    """Shows two map layers left and right of a divider, or in turn; shows the first alone when cleared.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose canvas draws them.
    """

    divider_moved = Signal(float)
    """Somebody drew the divider to a place from 0 to 1 of the width."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.divider: Divider | None = None
        self.layers: tuple[Layer, Layer] | None = None
        self._clips: list[tuple[Any, Clipper]] = []
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
        self.divider = Divider(canvas.native)
        self.divider.moved.connect(self.divider_moved)
        self.divider.resized.connect(self._clip)
        self.move_divider(divider)

    def move_divider(self, divider: float) -> None:
        """Put the divider elsewhere: one redraw, nothing is computed."""
        if self.divider is not None:
            self.divider.move_to(divider)
            self._clip()

    def _clip(self) -> None:
        if self.divider is None:
            return
        canvas = self._canvas()
        x = self.divider.place * float(canvas._scene_canvas.physical_size[0])
        for (_, clip), bounds in zip(self._clips, ((0, -_FAR, x, 2 * _FAR), (x, -_FAR, _FAR, 2 * _FAR)), strict=True):
            clip.bounds = bounds
        canvas._scene_canvas.update()

    def start_blinking(self, layers: tuple[Layer, Layer], *, by_itself: bool = True) -> None:
        """Show the first map, and then one after the other: by itself, or whenever `blink` is called."""
        self.clear()
        self.layers = layers
        layers[0].visible, layers[1].visible = True, False
        self.blink_by_itself(by_itself)

    def blink_by_itself(self, by_itself: bool) -> None:
        """Go on in time, or wait to be told."""
        if by_itself and self.layers is not None:
            self._timer.start()
        else:
            self._timer.stop()

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
        if self.divider is not None:
            self.divider.hide()
            self.divider.deleteLater()
            self.divider = None
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
        metadata={KEY: {"compared_on": slide.quickhash}},
        **shown,
    )


def difference_layer(found: Difference, slide: SlideRef) -> Image:
    """Return a layer that shows a difference in diverging colours about zero."""
    name = f"{found.title}: {found.names[0]} less {found.names[1]}"
    return grid_layer(
        found.grid, found.values, slide, name=name, colormap="PuOr", contrast_limits=found.limits, opacity=0.7
    )


def chosen_layer(grid: TileGrid, tiles: NDArray[np.int64], slide: SlideRef, name: str) -> Image:
    """Return a layer that marks tiles."""
    values = np.full(len(grid), np.nan, np.float32)
    values[tiles] = 1
    return grid_layer(grid, values, slide, name=name, colormap="magenta", contrast_limits=(0.0, 1.0), opacity=0.8)
