"""The Compare tab: which maps, how far they agree, two of them on one view, all of them side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QListWidgetItem, QVBoxLayout, QWidget

from ...errors import NapariMilError
from ...maps import MapComparison, PatchFinder, compare_maps, match_places, ranks
from ..compare_cut import cut_as_shown
from ..layers import placement
from ..navigation import layer_of_slide
from ..overlay import front_overlay, overlay_of
from ..session import attach
from ..viewers import camera
from .compare_fields import CompareFields
from .compare_runs import PoolingRuns
from .compare_table import agreement_html
from .compare_two import TwoMaps
from .compare_views import CompareWindow, make_current

if TYPE_CHECKING:
    import napari

    from ...maps import AttentionMap, MapCut, Places
    from ..overlay import Overlay

TOO_FEW = "Comparing takes two maps of one slide: run another model, press Compare poolings, or drop a map file."
_SLIDE_CLOSED = "The slide was closed, and the views of its maps side by side with it."
_SOON_MS = 60
"""A threshold that is dragged changes many times a second."""


class CompareTab(QWidget):
    """Compare the maps of the slide in front.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose maps.
    parent : QWidget or None
        Qt parent.
    """

    legends_changed = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._comparison: MapComparison | None = None
        self._layers: list[Layer] = []
        self._places: Places | None = None
        self._finder: PatchFinder | None = None
        self._thresholded: Overlay | None = None
        self._cut: MapCut | None = None
        self.two = TwoMaps(viewer)
        self.runs = PoolingRuns(viewer, self)
        self.window_of_views: CompareWindow | None = None
        self.fields = CompareFields(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.fields)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._connect()
        self.refresh_maps()

    def _connect(self) -> None:
        viewer, fields = self._viewer, self.fields
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.renamed):
            event.connect(self.refresh_maps)
        viewer.layers.events.removing.connect(self._layer_removing)
        viewer.cursor.events.position.connect(self._follow_mouse)
        self._soon.timeout.connect(self._cut_anew)
        self.runs.said.connect(fields.note.setText)
        self.runs.changed.connect(self._show_runs)
        self.two.legends_changed.connect(self.legends_changed)
        self.two.pair.divider_moved.connect(lambda place: fields.divider.setValue(round(1000 * place)))
        fields.maps.itemChanged.connect(self._compare)
        fields.poolings.clicked.connect(self.start_poolings)
        fields.cancel.clicked.connect(self.runs.cancel)
        fields.beside.clicked.connect(self.show_side_by_side)
        for box in (fields.first, fields.second):
            box.currentIndexChanged.connect(self._pair_changed)
        fields.mode.currentIndexChanged.connect(self._show_pair)
        fields.divider.valueChanged.connect(lambda value: self.two.pair.move_divider(value / 1000))
        fields.by_itself.toggled.connect(self.two.pair.blink_by_itself)
        fields.flip.clicked.connect(self.flip)
        fields.scatter.chosen.connect(self._mark_chosen)
        self._session = attach(viewer)
        if self._session is not None:
            self._session.settle.connect(self._show_one)
            self._session.flip_wanted.connect(self.flip)

    def disconnect_viewer(self) -> None:
        """Stop following the viewer; the widget is going away."""
        self.runs.release()
        self._soon.stop()
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.disconnect(self.refresh_maps)
        events.removing.disconnect(self._layer_removing)
        self._viewer.cursor.events.position.disconnect(self._follow_mouse)
        if self._session is not None:
            self._session.settle.disconnect(self._show_one)
            self._session.flip_wanted.disconnect(self.flip)
            self._session = None
        if self.window_of_views is not None:
            self.window_of_views.closed.disconnect(self._views_closed)  # by then there may be no canvas any more
            self._close_views()
            self.window_of_views = None
        self.two.release()

    @property
    def comparison(self) -> MapComparison | None:
        """What is compared now, or None with fewer than two maps."""
        return self._comparison

    @property
    def holds_legends(self) -> bool:
        """Whether two maps are shown at once, each with a legend of its own."""
        return bool(self.two.legends)

    def refresh_maps(self, *_: Any) -> None:
        """Offer the maps of the slide whose map is in front."""
        front = front_overlay(self._viewer)
        overlays = [one for one in map(overlay_of, self._viewer.layers) if one is not None]
        slide = (front or overlays[-1]).map.slide.quickhash if overlays else ""
        layers = [one.layer for one in overlays if one.map.slide.quickhash == slide]
        names = [item.toolTip() for item in self.fields.items()]
        if layers == self._layers and [layer.name for layer in layers] == names:
            self._show_runs()
            if self.fields.note.text() == _SLIDE_CLOSED and layer_of_slide(self._viewer, slide) is not None:
                self.fields.note.setText("")
            return
        off = {layer for layer, item in zip(self._layers, self.fields.items(), strict=True) if not _ticked(item)}
        self.two.clear(self._layers)
        self.fields.mode.choose("off")
        self._layers = layers
        self.fields.show_maps([(layer.name, layer not in off) for layer in layers])
        self._show_runs()
        self._compare()

    def follow_overlay(self, overlay: Overlay | None) -> None:
        """Cut all maps where the Heatmap tab cuts the one that it shows, a moment later.

        Parameters
        ----------
        overlay : Overlay or None
            The Heatmap tab's.
        """
        self._thresholded = overlay
        self._soon.start()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with a threshold that was moved in another tab."""
        super().showEvent(event)
        self._cut_anew()

    def start_poolings(self) -> None:
        """Run every compatible model on the features of the map in front, in the background."""
        overlay = front_overlay(self._viewer) or (overlay_of(self._layers[-1]) if self._layers else None)
        if overlay is not None:
            self.runs.start(overlay.map, self._layers)

    def flip(self) -> None:
        """Show the other of two maps by hand; where they do not blink yet, begin with it."""
        fields = self.fields
        if self._comparison is None:
            fields.note.setText(TOO_FEW)
            return
        fields.by_itself.setChecked(False)
        if fields.mode.current is None or fields.mode.current.value != "blink":
            fields.mode.choose("blink")
        self.two.pair.blink()

    def show_side_by_side(self) -> None:
        """Open the ticked maps beside each other, at the field that the main view shows."""
        if self._comparison is None:
            return
        slide = layer_of_slide(self._viewer, self._comparison.maps[0].slide.quickhash)
        if slide is None:
            self.fields.note.setText("The slide of these maps is not open. Open it to see them side by side.")
            return
        self._close_views()
        self._show_table()  # the threshold may have been moved a moment ago
        slide = getattr(slide, "__wrapped__", slide)
        window = CompareWindow(slide, self._comparison, self.window(), self._cut)
        window.closed.connect(self._views_closed)
        self.window_of_views = window
        window.show()
        view, canvas = camera(self._viewer), self._canvas().native.size()
        window.show_field(view.center, (canvas.height() / view.zoom, canvas.width() / view.zoom))

    def _close_views(self) -> None:
        if self.window_of_views is not None:
            self.window_of_views.close()

    def _views_closed(self) -> None:
        self.window_of_views = None
        make_current(self._canvas())

    def _layer_removing(self, event: Any) -> None:
        """Close the views of a slide that is about to be closed: they read through it."""
        views = self.window_of_views
        if views is None:
            return
        leaving = self._viewer.layers[event.index]
        if views.slide_layer is getattr(leaving, "__wrapped__", leaving):
            self._close_views()
            self.fields.note.setText(_SLIDE_CLOSED)
        make_current(self._canvas())

    def _show_runs(self) -> None:
        self.fields.cancel.setVisible(self.runs.going)
        self.fields.poolings.setEnabled(bool(self._layers) and not self.runs.going)

    def _compare(self, *_: Any) -> None:
        chosen = [layer for layer, item in zip(self._layers, self.fields.items(), strict=True) if _ticked(item)]
        self._comparison = None
        self.fields.number_maps()
        if len(chosen) < 2:
            self._nothing_compared(TOO_FEW)
            return
        self.fields.note.setText("")
        try:
            self._comparison = compare_maps([_map_of(layer) for layer in chosen])
        except NapariMilError as err:
            self._nothing_compared(str(err))
            return
        self.fields.allow(True)
        self._show_table()
        self.fields.show_names([fact.name for fact in self._comparison.facts])
        self._pair_changed()

    def _cut_anew(self) -> None:
        """Follow a threshold that was moved: in the table once that is seen, and in what two maps show."""
        if self._comparison is None or not (self.isVisible() or self.holds_legends):
            return
        self._show_table()
        self.two.cut(self._cut, self._thresholded)

    def _show_table(self) -> None:
        if self._comparison is None:
            return
        overlay = self._thresholded
        known = overlay is not None and overlay.layer in self._layers
        self._cut, remark = cut_as_shown(overlay if known else None, self._comparison)
        found = self._comparison if self._cut is None else self._comparison.at(self._cut)
        self.fields.show_table(agreement_html(found, remark))

    def _show_one(self) -> None:
        """Show maps as they were: two at a time, a difference or a mark say nothing of the slide that comes."""
        self.fields.mode.choose("off")
        self.two.clear(self._layers)

    def _nothing_compared(self, words: str) -> None:
        """Say why there is nothing to compare, and show maps as they were."""
        self._show_one()
        self._places = None
        self.fields.allow(False)
        self.fields.show_names([])
        self.fields.show_table("")
        self.fields.scatter.show_points(np.empty((0, 2)), ("A", "B"))
        self.fields.note.setText(words)

    def _pair_changed(self, *_: Any) -> None:
        numbers = self.fields.numbers
        if numbers is None or self._comparison is None:
            return
        first, second = (self._comparison.maps[k] for k in numbers)
        self._places = match_places(first.grid, second.grid)
        self._finder = None
        raws = self._places.values(*(self._comparison.views[k].raw for k in numbers))
        points = np.nan_to_num(np.column_stack([ranks(raw) for raw in raws]).astype(np.float64), nan=-1.0)
        self.fields.scatter.show_points(points, ("A", "B"))
        self._show_pair()

    def _show_pair(self, *_: Any) -> None:
        self.two.clear(self._layers)
        fields = self.fields
        mode = fields.mode.current.value if fields.mode.current else "off"
        fields.show_mode(mode)
        fields.note.setText("")
        numbers = fields.numbers
        if numbers is None or self._comparison is None or mode == "off":
            return
        first, second = (
            next(one for one in self._layers if _map_of(one) is self._comparison.maps[number]) for number in numbers
        )
        if first is second:
            fields.note.setText("A and B are the same map: choose two.")
            return
        fields.note.setText(
            self.two.show(
                self._comparison,
                numbers,
                (first, second),
                mode,
                cut=self._cut,
                place=fields.divider.value() / 1000,
                by_itself=fields.by_itself.isChecked(),
            )
        )

    def _mark_chosen(self, chosen: np.ndarray) -> None:
        if self._places is None or self._comparison is None:
            return
        self.two.mark(self._comparison, self._places, chosen)
        if len(chosen):
            self.fields.note.setText(f"{len(chosen):,} patches marked on the slide.")

    def _follow_mouse(self, *_: Any) -> None:
        scatter = self.fields.scatter
        if not scatter.isVisible() or self._places is None or self._comparison is None:
            return
        if self._finder is None:
            self._finder = PatchFinder(self._places.grid)
        scale = placement(self._comparison.maps[0].slide.mpp)["scale"]
        row, col = self._viewer.cursor.position[-2:]
        tile = self._finder.at((float(row) / scale[0], float(col) / scale[1]))
        at = int(np.searchsorted(self._places.tiles, tile)) if tile is not None else -1
        known = 0 <= at < len(self._places) and self._places.tiles[at] == tile
        scatter.mark(at if known else None)

    def _canvas(self) -> Any:
        return getattr(self._viewer, "__wrapped__", self._viewer).window._qt_window._qt_viewer.canvas


def _map_of(layer: Layer) -> AttentionMap:
    overlay = overlay_of(layer)
    if overlay is None:
        raise ValueError(f"{layer.name} shows no map")
    return overlay.map


def _ticked(item: QListWidgetItem) -> bool:
    return bool(item.checkState() == Qt.CheckState.Checked)
