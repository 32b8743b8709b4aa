"""The Compare tab: which maps, how far they agree, two of them on one view, all of them side by side."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSlider,
    QTabWidget,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from ...errors import NapariMilError
from ...maps import MapComparison, PatchFinder, compare_maps, difference, format_probability, match_places, ranks
from ..compare_pair import PairView, chosen_layer, difference_layer
from ..compare_poolings import Outcome, compatible, pooling_steps
from ..layers import placement, slide_of
from ..overlay import front_overlay, overlay_of
from ..overlay_data import overlay_layer_data
from ..session import attach
from ..viewers import camera
from ..worker import Job, JobSlot
from .choice_box import Choice, ChoiceBox
from .choices import model_entries
from .compare_card import DifferenceCard
from .compare_scatter import RankScatter
from .compare_views import CompareWindow
from .dock_panel import notify
from .legend import CanvasLegend

if TYPE_CHECKING:
    import napari

    from ...maps import AttentionMap, Places
    from ..overlay import Overlay

TOO_FEW = "Comparing takes two maps of one slide: run another model, press Compare poolings, or drop a map file."
_MODES = (
    ("One map", "off", "Show the map that is chosen in the Heatmap tab"),
    ("Swipe", "swipe", "The first map left of a divider, the second right of it"),
    ("Blink", "blink", "One map after the other"),
    ("Difference of ranks", "rank", "Where one map ranks a patch higher than the other"),
    ("Difference of scores", "raw", "The score of the one less that of the other; for the same kind of score"),
)


class CompareTab(QWidget):
    """Compare the maps of the slide in front.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose maps.
    parent : QWidget or None
        Qt parent.
    """

    outcome = Signal(object)
    legends_changed = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._jobs = JobSlot()
        self._failed: list[str] = []
        self._comparison: MapComparison | None = None
        self._layers: list[Layer] = []
        self._places: Places | None = None
        self._own: list[Layer] = []
        self._finder: PatchFinder | None = None
        self.pair = PairView(viewer)
        self.card: DifferenceCard | None = None
        self._legends: list[tuple[Overlay, CanvasLegend]] = []
        self._before: list[tuple[Overlay, dict[str, Any]]] = []
        self._hidden: list[Layer] = []
        self.window_of_views: CompareWindow | None = None
        self._build()
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.renamed):
            event.connect(self.refresh_maps)
        viewer.cursor.events.position.connect(self._follow_mouse)
        self.outcome.connect(self._add_outcome, Qt.ConnectionType.QueuedConnection)
        self.destroyed.connect(self._jobs.abandon)
        self._session = attach(viewer)
        if self._session is not None:
            self._session.leaving.connect(self._show_one)
        self.refresh_maps()

    def disconnect_viewer(self) -> None:
        """Stop following the viewer; the widget is going away."""
        self._jobs.abandon()
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.disconnect(self.refresh_maps)
        self._viewer.cursor.events.position.disconnect(self._follow_mouse)
        if self._session is not None:
            self._session.leaving.disconnect(self._show_one)
            self._session = None
        if self.window_of_views is not None:
            self.window_of_views.close()
        self._clear_pair()
        if self.card is not None:
            self.card.deleteLater()
            self.card = None

    @property
    def comparison(self) -> MapComparison | None:
        """What is compared now, or None with fewer than two maps."""
        return self._comparison

    @property
    def holds_legends(self) -> bool:
        """Whether two maps are shown at once, each with a legend of its own."""
        return bool(self._legends)

    def _build(self) -> None:
        self.maps = QListWidget(self)
        self.maps.setAccessibleName("Maps to compare")
        self.maps.setMaximumHeight(96)
        self.maps.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.poolings = QPushButton("Compare &poolings", self)
        self.poolings.setToolTip("Run every other model that takes this map's features; nothing is read again")
        self.cancel = QPushButton("Cancel", self)
        self.cancel.setVisible(False)
        self.beside = QPushButton("Side &by side…", self)
        self.beside.setToolTip("The ticked maps, each over the slide, in a window with locked cameras")
        row = QHBoxLayout()
        for button in (self.poolings, self.cancel, self.beside):
            row.addWidget(button)
        self.first, self.second = ChoiceBox("First map", self), ChoiceBox("Second map", self)
        self.mode = ChoiceBox("How two maps are shown", self)
        self.mode.set_choices(Choice(label, value, words) for label, value, words in _MODES)
        self.divider = QSlider(Qt.Orientation.Horizontal, self)
        self.divider.setRange(0, 1000)
        self.divider.setValue(500)
        self.divider.setAccessibleName("Divider")
        self._form = QFormLayout()
        for label, field in (("&A", self.first), ("B", self.second), ("&Show", self.mode), ("Divider", self.divider)):
            self._form.addRow(label, field)
        self._form.setRowVisible(self.divider, False)
        self.table, self.scatter = QTextBrowser(self), RankScatter(self)
        self.pages = QTabWidget(self)
        self.pages.addTab(self.table, "Agreement")
        self.pages.addTab(self.scatter, "Patches")
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.setStyleSheet("font-size: 11px;")
        layout = QVBoxLayout(self)
        layout.addWidget(self.maps)
        layout.addLayout(row)
        layout.addLayout(self._form)
        layout.addWidget(self.pages, 1)
        layout.addWidget(self.note)
        self.maps.itemChanged.connect(self._compare)
        self.poolings.clicked.connect(self.start_poolings)
        self.cancel.clicked.connect(self._cancel)
        self.beside.clicked.connect(self.show_side_by_side)
        for box in (self.first, self.second):
            box.currentIndexChanged.connect(self._pair_changed)
        self.mode.currentIndexChanged.connect(self._show_pair)
        self.divider.valueChanged.connect(lambda value: self.pair.move_divider(value / 1000))
        self.scatter.chosen.connect(self._mark_chosen)

    def refresh_maps(self, *_: Any) -> None:
        """Offer the maps of the slide whose map is in front."""
        front = front_overlay(self._viewer)
        overlays = [one for one in map(overlay_of, self._viewer.layers) if one is not None]
        slide = (front or overlays[-1]).map.slide.quickhash if overlays else ""
        layers = [one.layer for one in overlays if one.map.slide.quickhash == slide]
        self.poolings.setEnabled(bool(layers) and self._jobs.job is None)
        if layers == self._layers and [layer.name for layer in layers] == [i.toolTip() for i in self._items()]:
            return
        off = {layer for layer, item in zip(self._layers, self._items(), strict=True) if not _ticked(item)}
        self._clear_pair()
        self.mode.choose("off")
        self._layers = layers
        blocked = self.maps.blockSignals(True)
        self.maps.clear()
        for layer in layers:
            item = QListWidgetItem(layer.name.split(" on ")[0], self.maps)
            item.setToolTip(layer.name)
            item.setCheckState(Qt.CheckState.Unchecked if layer in off else Qt.CheckState.Checked)
        self.maps.blockSignals(blocked)
        self._compare()

    def start_poolings(self) -> None:
        """Run every compatible model on the features of the map in front, in the background."""
        overlay = front_overlay(self._viewer) or (overlay_of(self._layers[-1]) if self._layers else None)
        if overlay is None or self._jobs.job is not None:
            return
        known = [one.map.model for one in map(overlay_of, self._layers) if one is not None]
        entries = [entry for entry in compatible(overlay.map, model_entries()) if entry.card not in known]
        if not entries:
            self.note.setText("No other model takes these features. Add models to the models folder.")
            return
        self._failed = []
        self.cancel.setVisible(True)
        self.poolings.setEnabled(False)
        self._jobs.job = Job(
            pooling_steps(overlay.map, entries, self.outcome.emit),
            "Compare poolings",
            on_progress=lambda step: self.note.setText(f"{step.done} of {step.total} models: {step.message}"),
            on_done=lambda made: self._ended(f"{made} {'map' if made == 1 else 'maps'} added."),
            on_failed=lambda error: self._ended(notify(error)),
            on_cancelled=lambda: self._ended("Cancelled; the maps that were finished stay."),
        )

    def show_side_by_side(self) -> None:
        """Open the ticked maps beside each other."""
        if self._comparison is None:
            return
        slide = self._slide_layer()
        if slide is None:
            self.note.setText("The slide of these maps is not open. Open it to see them side by side.")
            return
        if self.window_of_views is not None:
            self.window_of_views.close()
        window = CompareWindow(slide, self._comparison, self.window())
        self.window_of_views = window
        window.destroyed.connect(self._views_closed)
        window.show()
        view = camera(self._viewer)
        window.look_at(view.center, view.zoom / 2)

    def _views_closed(self, *_: Any) -> None:
        self.window_of_views = None

    def _cancel(self) -> None:
        if self._jobs.job is not None:
            self._jobs.job.cancel()

    def _ended(self, words: str) -> None:
        self._jobs.job = None
        self.cancel.setVisible(False)
        self.poolings.setEnabled(bool(self._layers))
        self.note.setText(" ".join([words, *self._failed]))

    def _add_outcome(self, outcome: Outcome) -> None:
        if outcome.map is None:
            self._failed.append(f"{outcome.name}: {outcome.error}")
            return
        layer = Layer.create(*overlay_layer_data(outcome.map))
        layer.visible = False
        above = max((self._viewer.layers.index(one) for one in self._layers), default=len(self._viewer.layers) - 1)
        active = self._viewer.layers.selection.active
        self._viewer.layers.insert(above + 1, layer)
        self._viewer.layers.selection.active = active

    def _compare(self, *_: Any) -> None:
        chosen = [layer for layer, item in zip(self._layers, self._items(), strict=True) if _ticked(item)]
        self._comparison = None
        enough = len(chosen) > 1
        for widget in (self.beside, self.first, self.second, self.mode):
            widget.setEnabled(enough)
        if not enough:
            self._nothing_compared(TOO_FEW)
            return
        self.note.setText("")
        try:
            self._comparison = compare_maps([_map_of(layer) for layer in chosen])
        except NapariMilError as err:
            self._nothing_compared(str(err))
            return
        self.table.setHtml(_html(self._comparison))
        names = [fact.name for fact in self._comparison.facts]
        self.first.set_choices(Choice(name, k) for k, name in enumerate(names))
        self.second.set_choices((Choice(name, k) for k, name in enumerate(names)), prefer=1)
        if self.first.current is not None and self.second.current == self.first.current:
            self.second.choose(1)

    def _show_one(self) -> None:
        """Show maps as they were: two at a time, a difference or a mark say nothing of the slide that comes."""
        self.mode.choose("off")
        self._clear_pair()

    def _nothing_compared(self, words: str) -> None:
        """Say why there is nothing to compare, and show maps as they were."""
        self._show_one()
        for widget in (self.beside, self.first, self.second, self.mode):
            widget.setEnabled(False)
        self.first.set_choices([])
        self.second.set_choices([])
        self.table.setPlainText("")
        self._places = None
        self.scatter.show_points(np.empty((0, 2)), ("A", "B"))
        self.note.setText(words)

    def _pair_changed(self, *_: Any) -> None:
        numbers = self._numbers()
        if numbers is None or self._comparison is None:
            return
        first, second = (self._comparison.maps[k] for k in numbers)
        self._places = match_places(first.grid, second.grid)
        self._finder = None
        raws = self._places.values(*(self._comparison.views[k].raw for k in numbers))
        points = np.nan_to_num(np.column_stack([ranks(raw) for raw in raws]).astype(np.float64), nan=-1.0)
        self.scatter.show_points(points, ("A", "B"))
        self._show_pair()

    def _show_pair(self, *_: Any) -> None:
        self._clear_pair()
        mode = self.mode.current.value if self.mode.current else "off"
        self._form.setRowVisible(self.divider, mode == "swipe")
        numbers = self._numbers()
        if numbers is None or self._comparison is None or mode == "off":
            return
        maps = tuple(self._comparison.maps[k] for k in numbers)
        layers = tuple(next(one for one in self._layers if _map_of(one) is amap) for amap in maps)
        if layers[0] is layers[1]:
            self.note.setText("A and B are the same map: choose two.")
            return
        self.note.setText("")
        if mode in ("swipe", "blink"):
            self._show_alike(layers, numbers)
        if mode == "swipe":
            self.pair.swipe((layers[0], layers[1]), self.divider.value() / 1000)
        elif mode == "blink":
            self.pair.start_blinking((layers[0], layers[1]))
        else:
            self._show_difference(numbers, mode)

    def _show_alike(self, layers: tuple[Layer, ...], numbers: tuple[int, int]) -> None:
        """Give both maps one scale with the same limits, and each a legend; `_clear_pair` gives back their own."""
        if self._comparison is None:
            return
        for layer, number, left in zip(layers, numbers, (True, False), strict=True):
            overlay, view = overlay_of(layer), self._comparison.views[number]
            if overlay is None:
                continue
            self._before.append((overlay, overlay.settings.to_record()))
            overlay.choose(score=view.score, class_index=view.class_index, scale=view.scale.name)
            overlay.hold_limits(view)
            legend = CanvasLegend(self._canvas_widget(), left=left)
            self._legends.append((overlay, legend))
            layer.events.visible.connect(self._renew_legends)
        self._renew_legends()
        self.legends_changed.emit()

    def _renew_legends(self, *_: Any) -> None:
        for overlay, legend in self._legends:
            legend.show_overlay(overlay)

    def _clear_pair(self) -> None:
        """Show maps as they were."""
        for overlay, legend in self._legends:
            overlay.layer.events.visible.disconnect(self._renew_legends)
            legend.hide()
            legend.deleteLater()
        self._legends = []
        self.pair.clear()
        before, self._before = self._before, []
        for overlay, record in before:
            overlay.hold_limits(None)
            overlay.restore(record)
        self._drop_own()
        self.legends_changed.emit()

    def _show_difference(self, numbers: tuple[int, int], mode: str) -> None:
        if self._comparison is None:
            return
        a, b = numbers
        maps, views = self._comparison.maps, self._comparison.views
        names = (self._comparison.facts[a].name, self._comparison.facts[b].name)
        try:
            found = difference((maps[a], maps[b]), (views[a], views[b]), names, by="raw" if mode == "raw" else "rank")
        except NapariMilError as err:
            self.note.setText(str(err))
            return
        self._hidden = [layer for layer in self._layers if layer.visible]
        for layer in self._hidden:
            layer.visible = False
        self._add_own(difference_layer(found, maps[a].slide))
        if self.card is None:
            self.card = DifferenceCard(self._canvas_widget())
        self.card.show_difference(found)

    def _mark_chosen(self, places: np.ndarray) -> None:
        self._own = [layer for layer in self._own if not self._remove_marked(layer)]
        if self._places is None or self._comparison is None or not len(places):
            return
        self._add_own(chosen_layer(self._places.grid, self._places.tiles[places], self._comparison.maps[0].slide))
        self.note.setText(f"{len(places):,} patches marked on the slide.")

    def _remove_marked(self, layer: Layer) -> bool:
        if layer.name.startswith("Chosen patches"):
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
            return True
        return False

    def _add_own(self, layer: Layer) -> None:
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = active
        self._own.append(layer)

    def _drop_own(self) -> None:
        if self.card is not None:
            self.card.show_difference(None)
        own, self._own = self._own, []
        for layer in own:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        hidden, self._hidden = self._hidden, []
        if not any(layer.visible for layer in self._layers):
            for layer in hidden:
                layer.visible = True

    def _follow_mouse(self, *_: Any) -> None:
        if not self.scatter.isVisible() or self._places is None or self._comparison is None:
            return
        if self._finder is None:
            self._finder = PatchFinder(self._places.grid)
        scale = placement(self._comparison.maps[0].slide.mpp)["scale"]
        row, col = self._viewer.cursor.position[-2:]
        tile = self._finder.at((float(row) / scale[0], float(col) / scale[1]))
        at = int(np.searchsorted(self._places.tiles, tile)) if tile is not None else -1
        known = 0 <= at < len(self._places) and self._places.tiles[at] == tile
        self.scatter.mark(at if known else None)

    def _numbers(self) -> tuple[int, int] | None:
        first, second = self.first.current, self.second.current
        return (first.value, second.value) if first is not None and second is not None else None

    def _items(self) -> list[QListWidgetItem]:
        return [self.maps.item(row) for row in range(self.maps.count())]

    def _slide_layer(self) -> Layer | None:
        if self._comparison is None:
            return None
        wanted = self._comparison.maps[0].slide.quickhash
        for layer in self._viewer.layers:
            slide = slide_of(layer)
            if slide is not None and slide.quickhash == wanted:
                found: Layer = getattr(layer, "__wrapped__", layer)
                return found
        return None

    def _canvas_widget(self) -> QWidget:
        window = getattr(self._viewer, "__wrapped__", self._viewer).window._qt_window
        return window.centralWidget()


def _map_of(layer: Layer) -> AttentionMap:
    overlay = overlay_of(layer)
    if overlay is None:
        raise ValueError(f"{layer.name} shows no map")
    return overlay.map


def _ticked(item: QListWidgetItem) -> bool:
    return bool(item.checkState() == Qt.CheckState.Checked)


def _html(comparison: MapComparison) -> str:
    """Set the figures as two tables that fit the dock: maps by number, then each pair."""
    number = {fact.name: k for k, fact in enumerate(comparison.facts, start=1)}
    maps = "".join(
        f"<tr><td>{number[fact.name]}</td><td>{escape(fact.name)}<br>{escape(fact.predicted)} "
        f"{escape(format_probability(fact.probability))}"
        f"</td><td>{_figure(fact.entropy)}</td><td>{'–' if np.isnan(fact.effective) else f'{fact.effective:,.0f}'}"  # noqa: RUF001
        "</td></tr>"
        for fact in comparison.facts
    )
    pairs = "".join(
        f"<tr><td>{number[pair.first]} and {number[pair.second]}</td><td>{_figure(pair.spearman)}</td>"
        f"<td>{_figure(pair.jaccard)}</td><td>{_figure(pair.iou)}</td></tr>"
        for pair in comparison.pairs
    )
    one = comparison.pairs[0]
    notes = "".join(f"<p>{escape(note)}</p>" for note in comparison.notes)
    return (
        "<table cellpadding=3><tr><th></th><th align=left>Map, prediction</th><th>Entropy</th><th>Effective<br>patches"
        f"</th></tr>{maps}</table><table cellpadding=3><tr><th align=left>Pair</th><th>Spearman</th>"
        f"<th>Top {one.top_k}<br>Jaccard</th><th>{escape(one.cut)}<br>IoU</th></tr>{pairs}</table>{notes}"
    )


def _figure(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"  # noqa: RUF001
