"""Two maps on the main view: how they are shown, and each as it was afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from ...errors import NapariMilError
from ...maps import difference
from ..compare_pair import PairView, chosen_layer, difference_layer
from ..overlay import overlay_of
from .compare_card import DifferenceCard
from .legend import CanvasLegend

if TYPE_CHECKING:
    import napari
    import numpy as np
    from napari.layers import Layer
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

    from ...maps import MapComparison, MapCut, Places
    from ..overlay import Overlay

MODES = (
    ("One map", "off", "Show the map that is chosen in the Heatmap tab"),
    ("Swipe", "swipe", "The first map left of a divider, the second right of it"),
    ("Blink", "blink", "One map after the other"),
    ("Difference of ranks", "rank", "Where one map ranks a patch higher than the other"),
    ("Difference of scores", "raw", "The score of the one less that of the other; for the same kind of score"),
)
_CHOSEN = "Chosen patches"


class TwoMaps(QObject):
    """Shows two maps of a comparison on the main view, with legends, and gives back what was shown before.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose maps.
    """

    legends_changed = Signal()

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.pair = PairView(viewer)
        self.card: DifferenceCard | None = None
        self.legends: list[tuple[Overlay, CanvasLegend]] = []
        self._before: list[tuple[Overlay, dict[str, Any]]] = []
        self._hidden: list[Layer] = []
        self._own: list[Layer] = []

    def show(
        self,
        comparison: MapComparison,
        numbers: tuple[int, int],
        layers: tuple[Layer, Layer],
        mode: str,
        *,
        cut: MapCut | None,
        place: float,
        by_itself: bool,
    ) -> str:
        """Show two maps in a way; after `clear`.

        Parameters
        ----------
        comparison : MapComparison
            What is compared.
        numbers : (int, int)
            Which of its maps.
        layers : (Layer, Layer)
            Their layers.
        mode : str
            One of `MODES`, but "off".
        cut : MapCut or None
            What of both is shown; None shows all.
        place : float
            Of the divider, from 0 to 1.
        by_itself : bool
            Whether maps blink in time.

        Returns
        -------
        str
            Why it cannot be, or empty.
        """
        if mode in ("swipe", "blink"):
            self._show_alike(comparison, numbers, layers)
            self.cut(cut, None)
            if mode == "swipe":
                self.pair.swipe(layers, place)
            else:
                self.pair.start_blinking(layers, by_itself=by_itself)
            return ""
        return self._show_difference(comparison, numbers, mode)

    def cut(self, cut: MapCut | None, given_by: Overlay | None) -> None:
        """Show of both maps what lies at or above a cut, None all; the map that gives it shows it already."""
        for overlay, _ in self.legends:
            if overlay is given_by:
                continue
            if cut is None or cut.by == "share":
                overlay.settings.threshold = overlay.view.lowest
            else:
                overlay.cut(cut.by, cut.amount)
        self._renew_legends()

    def clear(self, layers: list[Layer]) -> None:
        """Show maps as they were.

        Parameters
        ----------
        layers : list of Layer
            Those of the maps that may be compared.
        """
        for overlay, legend in self.legends:
            overlay.layer.events.visible.disconnect(self._renew_legends)
            legend.hide()
            legend.deleteLater()
        self.legends = []
        self.pair.clear()
        before, self._before = self._before, []
        for overlay, record in before:
            overlay.hold_limits(None)
            overlay.restore(record)
            overlay.history.held = False
        self._drop_own(layers)
        self.legends_changed.emit()

    def mark(self, comparison: MapComparison, places: Places, chosen: NDArray[np.int64]) -> None:
        """Mark places on the slide, in the stead of those marked before."""
        old = [layer for layer in self._own if layer.name.startswith(_CHOSEN)]
        self._own = [layer for layer in self._own if layer not in old]
        for layer in old:
            self._remove(layer)
        if len(chosen):
            self._add_own(chosen_layer(places.grid, places.tiles[chosen], comparison.maps[0].slide, _CHOSEN))

    def release(self) -> None:
        """Show maps as they were, for good."""
        self.clear([])
        if self.card is not None:
            self.card.deleteLater()
            self.card = None

    def _show_alike(self, comparison: MapComparison, numbers: tuple[int, int], layers: tuple[Layer, Layer]) -> None:
        """Give both maps one scale with the same limits, and each a legend; `clear` gives back their own."""
        for layer, number, left in zip(layers, numbers, (True, False), strict=True):
            overlay, view = overlay_of(layer), comparison.views[number]
            if overlay is None:
                continue
            self._before.append((overlay, overlay.settings.to_record()))
            overlay.history.held = True
            overlay.settings.inverted = False
            overlay.choose(score=view.score, class_index=view.class_index, scale=view.scale.name)
            overlay.hold_limits(view)
            legend = CanvasLegend(self._canvas_widget(), left=left)
            self.legends.append((overlay, legend))
            layer.events.visible.connect(self._renew_legends)
        self.legends_changed.emit()

    def _renew_legends(self, *_: Any) -> None:
        for overlay, legend in self.legends:
            legend.show_overlay(overlay)

    def _show_difference(self, comparison: MapComparison, numbers: tuple[int, int], mode: str) -> str:
        a, b = numbers
        maps, views = comparison.maps, comparison.views
        names = (comparison.facts[a].name, comparison.facts[b].name)
        try:
            found = difference((maps[a], maps[b]), (views[a], views[b]), names, by="raw" if mode == "raw" else "rank")
        except NapariMilError as err:
            return str(err)
        self._hidden = [layer for layer in self._viewer.layers if overlay_of(layer) is not None and layer.visible]
        for layer in self._hidden:
            layer.visible = False
        self._add_own(difference_layer(found, maps[a].slide))
        if self.card is None:
            self.card = DifferenceCard(self._canvas_widget())
        self.card.show_difference(found)
        return ""

    def _add_own(self, layer: Layer) -> None:
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = active
        self._own.append(layer)

    def _drop_own(self, layers: list[Layer]) -> None:
        if self.card is not None:
            self.card.show_difference(None)
        own, self._own = self._own, []
        for layer in own:
            self._remove(layer)
        hidden, self._hidden = self._hidden, []
        if not any(layer.visible for layer in layers):
            for layer in hidden:
                layer.visible = True

    def _remove(self, layer: Layer) -> None:
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _canvas_widget(self) -> QWidget:
        window = getattr(self._viewer, "__wrapped__", self._viewer).window._qt_window
        return window.centralWidget()
