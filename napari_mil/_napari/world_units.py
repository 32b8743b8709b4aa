"""One unit for all that is in a window: microns, or pixels while a slide without scale is seen.

napari's world has one unit. Layers that disagree it draws by their numbers alone, with a warning, and the scale bar
loses its unit, also when the one that disagrees is hidden. So what is put aside takes the unit of what is seen; its own
scale stays, and with it its place.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from .layers import KEY, mpp_of, placement, slide_of
from .navigation import slide_layers

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

_UNITS = {placement(mpp)["units"]: unit for mpp, unit in (((1.0, 1.0), "micrometer"), (None, "pixel"))}
"""What slides, maps and outlines are in, as napari names it."""


class WorldUnits:
    """Keeps the layers of a viewer in one unit.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer_ref = weakref.ref(viewer)
        self._busy = False
        # napari draws in its own answer to this event, which it calls before any plugin's unless told where
        answers = list(viewer.layers.events.inserted.callbacks)
        names = [answer[1] if isinstance(answer, tuple) else "" for answer in answers]
        drawing = names.index("_on_add_layer_change") if "_on_add_layer_change" in names else 0
        order = {"before": answers[drawing], "after": answers[:drawing]} if drawing else {}
        viewer.layers.events.inserted.connect(self._inserted, **order)
        viewer.layers.events.removed.connect(self._removed)
        for layer in viewer.layers:
            self._watch(layer, True)
        self.agree()

    def agree(self, _: Any = None) -> None:
        """Give all layers the unit of the slides that are seen, pixels where one of these has no scale.

        While none is seen everything stays as it is.
        """
        viewer = self._viewer_ref()
        if viewer is None or self._busy:
            return
        seen = [layer for layer in slide_layers(viewer) if layer.visible]
        if not seen:
            return
        unit = placement(None)["units"] if any(mpp_of(layer) is None for layer in seen) else placement((1, 1))["units"]
        self._busy = True
        for layer in viewer.layers:
            if _follows(layer) and any(str(one) != _UNITS[unit] for one in layer.units):
                layer.units = unit
        self._busy = False

    def _inserted(self, event: Any) -> None:
        self._watch(event.value, True)
        self.agree()

    def _removed(self, event: Any) -> None:
        self._watch(event.value, False)
        self.agree()

    def _watch(self, layer: Layer, on: bool) -> None:
        if not _follows(layer):
            return
        events = (layer.events.units, layer.events.visible) if slide_of(layer) is not None else (layer.events.units,)
        for event in events:
            (event.connect if on else event.disconnect)(self.agree)


def _follows(layer: Layer) -> bool:
    """Tell whether a layer takes the unit of the slides: ours, and any in microns or pixels, which is napari's usual.

    Others keep the units that somebody gave them.
    """
    return KEY in layer.metadata or all(str(unit) in _UNITS.values() for unit in layer.units)
