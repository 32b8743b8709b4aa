"""The Heatmap tab: what of a map is shown, what lies above the threshold, and files to take away."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ...maps import SCALES, SCALES_FOR_KIND, format_probability, score_label, score_title
from ..canvas_outline import CanvasOutline
from ..layers import slide_of
from ..look_ahead import LookAhead
from ..navigation import front_slide, layer_of_slide
from ..overlay import Overlay, front_overlay, overlay_of
from ..session import attach
from .choice_box import Choice, ChoiceBox
from .export_menu import ExportMenu
from .look_fields import LookFields
from .threshold_fields import ThresholdFields

if TYPE_CHECKING:
    import napari

    from ...maps import AttentionMap


class HeatmapTab(QWidget):
    """Show, threshold, export.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose overlays it controls.
    parent : QWidget or None
        Qt parent.
    """

    export_clicked = Signal(object, str, int, object, int)
    cancel_clicked = Signal()
    shown_changed = Signal(object)

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._overlay: Overlay | None = None
        self._outlines: dict[Overlay, CanvasOutline] = {}
        self._busy = self._refreshing = False
        self.look_ahead = LookAhead(self)
        self._build()
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.connect(self.refresh_maps)
        viewer.layers.selection.events.active.connect(self._follow_active)
        self.refresh_maps()

    @property
    def overlay(self) -> Overlay | None:
        """The overlay under control, or None."""
        return self._overlay

    def disconnect_viewer(self) -> None:
        """Stop following the viewer and the map; the widget is going away."""
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.disconnect(self.refresh_maps)
        self._viewer.layers.selection.events.active.disconnect(self._follow_active)
        self._let_go()
        self.look_ahead.close()
        for line in self._outlines.values():
            line.remove()
        self._outlines.clear()

    def refresh_maps(self, *_: Any) -> None:
        """Offer the maps that are open now."""
        layers = [layer for layer in self._viewer.layers if overlay_of(layer) is not None]
        self._outline_each()
        front = front_overlay(self._viewer)
        self._refreshing = True
        self.map.set_choices((Choice(layer.name, layer) for layer in layers), prefer=front and front.layer)
        self._map_changed()
        self._refreshing = False

    def _outline_each(self) -> None:
        """Have the canvas outline every map that is open, and none that has gone."""
        there = [overlay for overlay in map(overlay_of, self._viewer.layers) if overlay is not None]
        for gone in set(self._outlines) - set(there):
            self._outlines.pop(gone).remove()
        for overlay in there:
            if overlay not in self._outlines:
                self._outlines[overlay] = CanvasOutline(self._viewer, overlay)

    def choose_map(self, layer: Any) -> None:
        """Control the map that a layer shows."""
        self.map.choose(layer)

    def set_busy(self, busy: bool, *, can_cancel: bool = False) -> None:
        """Allow no export while other work is going; offer to cancel it where it is an export."""
        self._busy = busy
        self.export.setEnabled(not busy and self._overlay is not None)
        self.cancel.setVisible(busy and can_cancel)

    def say(self, line: str) -> None:
        """Write one line below the export button."""
        self.note.setText(line)

    def _build(self) -> None:
        self.map, self.score = ChoiceBox("Map", self), ChoiceBox("Score", self)
        self.klass, self.scale = ChoiceBox("Class", self), ChoiceBox("Scale", self)
        self.scale_help, self.note = _note(self), _note(self)
        self.threshold, self.look = ThresholdFields(self), LookFields(self)
        self.prediction = QLabel(self)
        self.prediction.setWordWrap(True)
        self.prediction.setTextFormat(Qt.TextFormat.RichText)
        self._form = QFormLayout()
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for label, field in (
            ("&Map", self.map),
            ("&Score", self.score),
            ("&Class", self.klass),
            ("Sca&le", self.scale),
        ):
            self._form.addRow(label, field)
        for wide in (self.scale_help, self.threshold, self.look):
            self._form.addRow(wide)
        layout = QVBoxLayout(self)
        layout.addWidget(self.prediction)
        layout.addLayout(self._form)
        layout.addWidget(self._export_group())
        layout.addWidget(self.note)
        layout.addStretch(1)
        self.map.currentIndexChanged.connect(self._map_changed)
        self.score.currentIndexChanged.connect(self._score_chosen)
        self.klass.currentIndexChanged.connect(self._class_chosen)
        self.scale.currentIndexChanged.connect(self._scale_chosen)

    def _export_group(self) -> QGroupBox:
        group = QGroupBox("Take away", self)
        self.k = QSpinBox(group)
        self.k.setRange(1, 500)
        self.k.setValue(50)
        self.k.setPrefix("top ")
        self.k.setToolTip("How many patches, highest score first")
        self.k.setAccessibleName("Number of patches")
        self.export = QPushButton("&Export", group)
        self.export.setToolTip("Save patches, report, figure, QuPath files, OME-TIFF or table, as shown now")
        self.menu = ExportMenu(self.export)
        self.export.setMenu(self.menu)
        self.menu.picked.connect(self._pick_file)
        self.gallery = QPushButton("&Gallery", group)
        self.gallery.setToolTip("Look through top and bottom patches and hot spots, tick and tag them (Alt+G)")
        self.gallery.clicked.connect(self._show_gallery)
        rows = QVBoxLayout(group)
        rows.addWidget(self.gallery)
        row = QHBoxLayout()
        rows.addLayout(row)
        row.addWidget(self.k)
        row.addWidget(self.export, 1)
        self.cancel = QPushButton("Cancel", group)
        self.cancel.setVisible(False)
        row.addWidget(self.cancel)
        self.cancel.clicked.connect(self.cancel_clicked)
        return group

    def _map_changed(self, *_: Any) -> None:
        chosen = self.map.current
        overlay = overlay_of(chosen.value) if chosen else None
        if overlay is self._overlay and overlay is not None:
            return
        self._let_go()
        self._overlay = overlay
        for widget in (self.score, self.klass, self.scale):
            widget.setEnabled(overlay is not None)
        self.export.setEnabled(overlay is not None and not self._busy)
        self.menu.show_overlay(overlay)
        self.threshold.show_overlay(overlay)
        self.look.show_overlay(overlay)
        if overlay is None:
            for box in (self.score, self.klass, self.scale):
                box.set_choices([])
            self.scale_help.setText("")
            self.prediction.setText("")
            self.shown_changed.emit(None)
            return
        overlay.settings.events.connect(self._follow_settings)
        overlay.layer.events.visible.connect(self._follow_visible)
        self._show_alone(overlay)
        self._fill()
        self._follow_visible()

    def _show_alone(self, overlay: Overlay) -> None:
        """Show the chosen map and hide the slide's others: one through another, neither's colours would be true.

        Where another slide is in front, the map's own takes its place, unless nobody asked for the map.
        """
        slide, session = layer_of_slide(self._viewer, overlay.map.slide.quickhash), attach(self._viewer)
        if self._astray(overlay):
            return
        if slide is not None and not slide.visible and session is not None:
            if self._refreshing:
                return
            active = self._viewer.layers.selection.active
            session.bring_forward(slide)
            if overlay_of(active) is overlay:
                self._viewer.layers.selection.active = active
        for layer in self._viewer.layers:
            other = overlay_of(layer)
            if other is not None and other.map.slide.quickhash == overlay.map.slide.quickhash:
                layer.visible = other is overlay

    def _astray(self, overlay: Overlay) -> bool:
        """Tell whether a map is hidden since its slide is not open: it says nothing of the one in front."""
        own = layer_of_slide(self._viewer, overlay.map.slide.quickhash)
        return own is None and not overlay.layer.visible and front_slide(self._viewer) is not None

    def _let_go(self) -> None:
        self.look_ahead.follow(None)
        if self._overlay is not None:
            self._overlay.settings.events.disconnect(self._follow_settings)
            self._overlay.layer.events.visible.disconnect(self._follow_visible)
            self._overlay = None

    def _fill(self) -> None:
        """Put the overlay's settings into the widgets, without the widgets answering."""
        overlay = self._overlay
        if overlay is None:
            return
        settings, amap = overlay.settings, overlay.map
        kind = amap.scores[settings.score].kind
        boxes = (self.score, self.klass, self.scale)
        for box in boxes:
            box.blockSignals(True)
        _offer(
            self.score,
            [Choice(score_label(s.kind, s.of), name, score_title(s.kind, s.of)) for name, s in amap.scores.items()],
        )
        self.score.choose(settings.score)
        _offer(self.klass, [Choice(name, i) for i, name in enumerate(amap.prediction.class_names)])
        self.klass.choose(settings.class_index)
        scales = [SCALES[name] for name in SCALES_FOR_KIND[kind]]
        _offer(self.scale, [Choice(one.label, one.name, f"{one.title}. {one.help}") for one in scales])
        self.scale.choose(settings.scale)
        for box in boxes:
            box.blockSignals(False)
        self._form.setRowVisible(self.klass, amap.scores[settings.score].per_class and self.klass.count() > 1)
        self.scale_help.setText(SCALES[settings.scale].help)
        self.prediction.setText(_prediction_html(amap))
        self.threshold.follow()
        self.look.follow()
        self.look_ahead.follow(overlay)
        self.shown_changed.emit(overlay)

    def _score_chosen(self, *_: Any) -> None:
        if self._overlay is not None and self.score.current is not None:
            self._overlay.choose(score=self.score.current.value)

    def _class_chosen(self, *_: Any) -> None:
        if self._overlay is not None and self.klass.current is not None:
            self._overlay.choose(class_index=self.klass.current.value)

    def _scale_chosen(self, *_: Any) -> None:
        if self._overlay is not None and self.scale.current is not None:
            self._overlay.choose(scale=self.scale.current.value)

    def _follow_settings(self, info: Any) -> None:
        if info.signal.name in ("threshold", "cut_by", "inverted"):
            self.threshold.follow()
            self.shown_changed.emit(self._overlay)
        elif info.signal.name in ("opacity", "outlined"):
            self.look.follow()
        else:
            self._fill()

    def _follow_visible(self, *_: Any) -> None:
        if self._overlay is not None:
            self.look.follow()
            self.shown_changed.emit(self._overlay)

    def _follow_active(self, *_: Any) -> None:
        active = self._viewer.layers.selection.active
        slide = slide_of(active)
        overlay = overlay_of(active)
        if overlay is not None and not self._astray(overlay):
            self.map.choose(active)
            own = layer_of_slide(self._viewer, overlay.map.slide.quickhash)
            if own is not None and not own.visible:
                self._show_alone(overlay)
        elif slide is not None and (self._overlay is None or self._overlay.map.slide.quickhash != slide.quickhash):
            front = front_overlay(self._viewer)
            if front is not None:
                self.map.choose(front.layer)

    def _show_gallery(self) -> None:
        # it belongs to the window, as this tab's panel does
        from ..launch import show_gallery

        show_gallery(self._viewer)

    def _pick_file(self, wanted: str, path: Path, max_px: int) -> None:
        if self._overlay is not None:
            self.export_clicked.emit(self._overlay, wanted, self.k.value(), path, max_px)


def _offer(box: ChoiceBox, choices: list[Choice]) -> None:
    """Put lines into a list unless they are there: Qt takes longer for that than the canvas for a map."""
    if box.choices != tuple(choices):
        box.set_choices(choices)


def _prediction_html(amap: AttentionMap) -> str:
    """Say what the model makes of the whole slide, every class with its probability."""
    names = amap.prediction.class_names
    spread = amap.prediction.spread
    apart = [""] * len(names) if spread is None else [f" ± {p:.1%}" for p in spread.probabilities]
    chances = zip(names, amap.prediction.probabilities, apart, strict=True)
    rows = " &nbsp; ".join(
        f"{escape(name)} <b>{escape(format_probability(p))}</b>{around}"
        for name, p, around in sorted(chances, key=lambda c: -c[1])
    )
    return f"Prediction: {rows}" + (f"<br>mean ± spread over {escape(spread.source)}" if spread is not None else "")


def _note(parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setWordWrap(True)
    label.setStyleSheet("font-size: 11px;")
    return label
