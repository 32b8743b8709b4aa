"""The map of a run while it is going: a layer of its own that grows, and what of the slide the run should read first.

It is a picture in colours, not a map layer: nothing can be thresholded, exported or saved of it, and it goes when the
run ends. What it shows is computed in a thread of the run's (`LiveMap`); the window only writes pixels, five times a
second at most.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Shapes
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QObject, QTimer

from ..maps import LiveMap, interest
from ..slides import slide_name
from .layers import KEY, LIVE_OF, placement
from .overlay_data import axis_limits, raster_place
from .settings import HeatmapSettings
from .tissue import read_outlines
from .viewers import camera

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer
    from numpy.typing import NDArray

    from ..maps import MapView, ProvisionalMap

_TICK_MS = 200
_MOST_CORNERS = 5000
"""Of more outlines than people draw, which were loaded, the corners would be asked for one by one in the window."""


class LiveOverlay:
    """A run's map while it grows. Made before the run, and stopped after it, in the window's thread.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is shown, and whose view and drawn shapes say what is read first.
    slide_layer : napari layer
        The slide's.
    canvas_px : callable
        Returns the (height, width) of the canvas.
    on_shown : callable
        Called after it has appeared, changed, been hidden, or gone.
    parent : QObject or None
        What it does not outlive.
    """

    provisional = True
    """What it says may change yet."""

    def __init__(
        self,
        viewer: napari.Viewer,
        slide_layer: Layer,
        canvas_px: Callable[[], tuple[int, int]],
        on_shown: Callable[[], None],
        parent: QObject | None = None,
    ) -> None:
        self.live = LiveMap()
        self.layer: Image | None = None
        self._viewer, self._slide_layer = viewer, slide_layer
        self._canvas_px, self._on_shown = canvas_px, on_shown
        self._shown: ProvisionalMap | None = None
        self._asked: tuple[Any, ...] = ()
        self._areas: list[Any] = []
        self._colours: dict[str, NDArray[np.uint8]] = {}
        self._set_aside = False
        self._timer = QTimer(parent)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    @property
    def seen(self) -> bool:
        """Whether it is on the screen."""
        return self.layer is not None and self.layer in self._viewer.layers and self.layer.visible

    @property
    def view(self) -> MapView:
        """What is shown of the map."""
        assert self._shown is not None
        return self._shown.view

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value of the colour bar."""
        return self.view.limits

    @property
    def colours(self) -> str:
        """Name of the colour map in use."""
        return self.view.scale.colourmap

    @property
    def settings(self) -> HeatmapSettings:
        """What a colour bar asks for: nothing is cut off."""
        view = self.view
        return HeatmapSettings(view.score, view.scale.name, view.class_index or 0, view.lowest)

    @property
    def shows_all(self) -> bool:
        """Whether nothing is hidden."""
        return True

    def legend(self) -> str:
        """Return the words beside it."""
        return "" if self._shown is None else self._shown.legend()

    def stop(self) -> None:
        """Take it off the screen: the run has ended."""
        self._timer.stop()
        self._timer.deleteLater()
        layer, self.layer, self._shown = self.layer, None, None
        try:
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        finally:
            if self._set_aside:
                self._set_aside = False
                gc.unfreeze()
            self._on_shown()

    def _tick(self) -> None:
        grid, latest = self.live.grid, self.live.latest
        if grid is not None and self._slide_layer in self._viewer.layers:
            view, drawn = self._view_l0(), self._drawn()
            if (id(grid), view, drawn) != self._asked:
                if self._asked[2:] != (drawn,):
                    self._areas = self._read_areas()
                self._asked = (id(grid), view, drawn)
                self.live.want(interest(grid, view, self._areas))
        if latest is not None and latest is not self._shown:
            self._show(latest)

    def _show(self, found: ProvisionalMap) -> None:
        self._shown = found
        pixels = self._pixels(found)
        if self.layer is None:
            self._add(found, pixels)
        elif self.layer in self._viewer.layers:  # who takes it away does not want it back
            self.layer.data[...] = pixels
            self.layer.refresh(extent=False, highlight=False, thumbnail=False)
        self._on_shown()

    def _add(self, found: ProvisionalMap, pixels: NDArray[np.uint8]) -> None:
        amap, layers = found.map, self._viewer.layers
        # As a layer goes, napari has Python look through all objects for garbage, which stops the window for as long as
        # there are many: with PyTorch loaded half a million and more. What is there before the layer is left out of
        # that until it has gone; what the layer brought along is looked through.
        gc.freeze()
        self._set_aside = True
        layer = Image(
            pixels,
            rgb=True,
            name=f"Provisional: {amap.model.title or amap.model.pooling} on {slide_name(amap.slide.path)}",
            **raster_place(amap, found.raster, 1),
            units=placement(amap.slide.mpp)["units"],
            blending="translucent_no_depth",
            interpolation2d="nearest",
            opacity=self.settings.opacity,
            metadata={KEY: {LIVE_OF: amap.slide.quickhash, "mpp": amap.slide.mpp}},
        )
        layer.events.visible.connect(lambda _: self._on_shown())
        maps = [k for k, one in enumerate(layers) if one is self._slide_layer or "map" in one.metadata.get(KEY, {})]
        active = layers.selection.active
        layers.insert(max(maps, default=len(layers) - 1) + 1, layer)
        layers.selection.active = active  # somebody may be drawing in it
        self.layer = layer

    def _pixels(self, found: ProvisionalMap) -> NDArray[np.uint8]:
        """Return the map in colours (rows, cols, 4), as pale as it is far from what was read."""
        view = found.view
        name = view.scale.colourmap
        if name not in self._colours:
            self._colours[name] = np.rint(255 * ensure_colormap(name).map(np.linspace(0, 1, 256))).astype(np.uint8)
        low, high = axis_limits(view)
        place = (view.scale.to_axis(found.raster.values) - low) / (high - low)
        pixels = self._colours[name][np.rint(255 * np.clip(np.nan_to_num(place), 0, 1)).astype(np.int64)]
        pixels[..., 3] = np.rint(255 * found.strength)
        return pixels

    def _view_l0(self) -> tuple[float, float, float, float] | None:
        """Return top, left, bottom and right of what is seen of the slide, level-0 pixels."""
        if not self._slide_layer.visible:
            return None
        view, scale = camera(self._viewer), np.asarray(self._slide_layer.scale[-2:], float)
        size = np.array(self._canvas_px()) / view.zoom
        middle = np.asarray(view.center[-2:]) - np.asarray(self._slide_layer.translate[-2:], float) + scale / 2
        top, left, bottom, right = (float(x) for x in (*((middle - size / 2) / scale), *((middle + size / 2) / scale)))
        return top, left, bottom, right

    def _drawn(self) -> tuple[Any, ...]:
        """Return what tells whether somebody has drawn since."""
        return tuple((id(one), tuple(hash(ring.tobytes()) for ring in one.data)) for one in self._drawings())

    def _drawings(self) -> list[Shapes]:
        """Return the layers in which people draw."""
        return [
            one
            for one in self._viewer.layers
            if isinstance(one, Shapes)
            and one.visible
            and sum(map(len, one.data)) <= _MOST_CORNERS
            and "tissue_of" not in one.metadata.get(KEY, {})
        ]

    def _read_areas(self) -> list[Any]:
        return [area.geometry for one in self._drawings() for area in read_outlines(one, self._slide_layer)]
