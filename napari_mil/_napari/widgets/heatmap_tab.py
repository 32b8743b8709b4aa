"""The Heatmap tab: what of a map is shown, what lies above the threshold, and files to take away."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ...maps import KIND_LABELS, KIND_TITLES, SCALES, SCALES_FOR_KIND, format_area, format_probability
from ..overlay import Overlay, axis_place, overlay_of
from .choice_box import Choice, ChoiceBox
from .colour_bar import ColourBar

if TYPE_CHECKING:
    import napari

    from ...maps import AttentionMap

_STEPS = 1000


class HeatmapTab(QWidget):
    """Show, threshold, export.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose overlays it controls.
    parent : QWidget or None
        Qt parent.
    """

    export_clicked = Signal(object, int, object)
    cancel_clicked = Signal()
    shown_changed = Signal(object)

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._overlay: Overlay | None = None
        self._busy = False
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

    def refresh_maps(self, *_: Any) -> None:
        """Offer the maps that are open now."""
        layers = [layer for layer in self._viewer.layers if overlay_of(layer) is not None]
        self.map.set_choices(
            (Choice(layer.name, layer) for layer in layers), prefer=self._viewer.layers.selection.active
        )
        self._map_changed()

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
        self.threshold, self.opacity = _slider("Threshold", self), _slider("Opacity", self)
        self.threshold.setToolTip("Patches below it are hidden. Moving it computes nothing again.")
        self.colours = ColourBar(self)
        self.prediction, self.above = QLabel(self), QLabel(self)
        for label in (self.prediction, self.above):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.RichText)
        self.visible_box = QCheckBox("S&how the map", self)
        self.visible_box.setChecked(True)
        self._form = QFormLayout()
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for label, field in (
            ("&Map", self.map),
            ("&Score", self.score),
            ("&Class", self.klass),
            ("Sca&le", self.scale),
            ("", self.scale_help),
            ("", self.colours),
            ("&Threshold", self.threshold),
            (None, self.above),
            ("&Opacity", self.opacity),
            ("", self.visible_box),
        ):
            self._form.addRow(field) if label is None else self._form.addRow(label, field)
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
        self.threshold.valueChanged.connect(self._threshold_moved)
        self.opacity.valueChanged.connect(self._opacity_moved)
        self.visible_box.toggled.connect(self._visible_toggled)

    def _export_group(self) -> QGroupBox:
        group = QGroupBox("Top patches", self)
        self.k = QSpinBox(group)
        self.k.setRange(1, 500)
        self.k.setValue(50)
        self.k.setPrefix("top ")
        self.k.setToolTip("How many patches, highest score first")
        self.k.setAccessibleName("Number of patches")
        self.export = QPushButton("&Export top patches…", group)
        self.export.setToolTip("Save the highest patches as pictures with a table of places and scores")
        row = QHBoxLayout(group)
        row.addWidget(self.k)
        row.addWidget(self.export, 1)
        self.cancel = QPushButton("Cancel", group)
        self.cancel.setVisible(False)
        row.addWidget(self.cancel)
        self.cancel.clicked.connect(self.cancel_clicked)
        self.export.clicked.connect(self._pick_export)
        return group

    def _map_changed(self, *_: Any) -> None:
        chosen = self.map.current
        overlay = overlay_of(chosen.value) if chosen else None
        if overlay is self._overlay and overlay is not None:
            return
        self._let_go()
        self._overlay = overlay
        for widget in (self.score, self.klass, self.scale, self.threshold, self.opacity, self.export, self.visible_box):
            widget.setEnabled(overlay is not None and not (self._busy and widget is self.export))
        if overlay is None:
            for box in (self.score, self.klass, self.scale):
                box.set_choices([])
            self.scale_help.setText("")
            self.prediction.setText("")
            self.colours.show_view(None)
            self.above.setText("No map yet: choose a model in the Run tab and press Run.")
            self.shown_changed.emit(None)
            return
        overlay.settings.events.connect(self._follow_settings)
        overlay.layer.events.visible.connect(self._follow_visible)
        self._show_alone(overlay)
        self._fill()
        self._follow_visible()

    def _show_alone(self, overlay: Overlay) -> None:
        """Show the chosen map and hide the slide's others: one through another, neither's colours would be true."""
        for layer in self._viewer.layers:
            other = overlay_of(layer)
            if other is not None and other.map.slide.quickhash == overlay.map.slide.quickhash:
                layer.visible = other is overlay

    def _let_go(self) -> None:
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
        boxes = (self.score, self.klass, self.scale, self.threshold, self.opacity)
        for box in boxes:
            box.blockSignals(True)
        self.score.set_choices(
            Choice(KIND_LABELS[s.kind], name, KIND_TITLES[s.kind]) for name, s in amap.scores.items()
        )
        self.score.choose(settings.score)
        self.klass.set_choices(Choice(name, i) for i, name in enumerate(amap.prediction.class_names))
        self.klass.choose(settings.class_index)
        self.scale.set_choices(
            Choice(SCALES[name].label, name, f"{SCALES[name].title}. {SCALES[name].help}")
            for name in SCALES_FOR_KIND[kind]
        )
        self.scale.choose(settings.scale)
        self.threshold.setValue(self._slider_place(settings.threshold))
        self.opacity.setValue(round(settings.opacity * _STEPS))
        for box in boxes:
            box.blockSignals(False)
        self._form.setRowVisible(self.klass, amap.scores[settings.score].per_class and self.klass.count() > 1)
        self.scale_help.setText(SCALES[settings.scale].help)
        self.prediction.setText(_prediction_html(amap))
        self._show_summary()

    def _show_summary(self) -> None:
        overlay = self._overlay
        if overlay is None:
            return
        got = overlay.summary()
        low, _ = overlay.limits
        threshold = overlay.settings.threshold
        cut = "All shown" if threshold <= low else f"At or above {threshold:.3g}"
        area = format_area(got.area_mm2).replace(" ", "&nbsp;")
        self.above.setText(
            f"{cut}: <b>{got.count:,}</b> of {got.n:,} patches, <b>{area}</b>, "
            f"{got.fraction_of_tissue:.0%} of the tissue"
        )
        self.colours.show_view(overlay.view, threshold)
        self.shown_changed.emit(overlay)

    def _slider_place(self, threshold: float) -> int:
        """Return the slider's place of a threshold; it runs along the colour axis, log where the scale is."""
        view = self._overlay.view  # type: ignore[union-attr]
        low, high = (axis_place(view, x) for x in view.limits)
        return round((axis_place(view, threshold) - low) / (high - low) * _STEPS)

    def _threshold_moved(self, place: int) -> None:
        if self._overlay is None:
            return
        view = self._overlay.view
        if place == 0:
            self._overlay.settings.threshold = view.limits[0]
            return
        low, high = (axis_place(view, x) for x in view.limits)
        self._overlay.settings.threshold = view.scale.from_axis(low + place / _STEPS * (high - low))

    def _opacity_moved(self, place: int) -> None:
        if self._overlay is not None:
            self._overlay.settings.opacity = place / _STEPS

    def _score_chosen(self, *_: Any) -> None:
        if self._overlay is not None and self.score.current is not None:
            self._overlay.choose(score=self.score.current.value)

    def _class_chosen(self, *_: Any) -> None:
        if self._overlay is not None and self.klass.current is not None:
            self._overlay.choose(class_index=self.klass.current.value)

    def _scale_chosen(self, *_: Any) -> None:
        if self._overlay is not None and self.scale.current is not None:
            self._overlay.choose(scale=self.scale.current.value)

    def _visible_toggled(self, shown: bool) -> None:
        if self._overlay is not None:
            self._overlay.layer.visible = shown

    def _follow_settings(self, info: Any) -> None:
        if info.signal.name == "threshold":
            self.threshold.blockSignals(True)
            self.threshold.setValue(self._slider_place(self._overlay.settings.threshold))  # type: ignore[union-attr]
            self.threshold.blockSignals(False)
            self._show_summary()
        elif info.signal.name == "opacity":
            self.opacity.blockSignals(True)
            self.opacity.setValue(round(self._overlay.settings.opacity * _STEPS))  # type: ignore[union-attr]
            self.opacity.blockSignals(False)
        else:
            self._fill()

    def _follow_visible(self, *_: Any) -> None:
        if self._overlay is not None:
            self.visible_box.blockSignals(True)
            self.visible_box.setChecked(self._overlay.layer.visible)
            self.visible_box.blockSignals(False)
            self.shown_changed.emit(self._overlay)

    def _follow_active(self, *_: Any) -> None:
        active = self._viewer.layers.selection.active
        if overlay_of(active) is not None:
            self.map.choose(active)

    def _pick_export(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder for the top patches")
        if folder and self._overlay is not None:
            self.export_clicked.emit(self._overlay, self.k.value(), Path(folder))


def _prediction_html(amap: AttentionMap) -> str:
    """Say what the model makes of the whole slide, every class with its probability."""
    names = amap.prediction.class_names
    chances = zip(names, amap.prediction.probabilities, strict=True)
    rows = " &nbsp; ".join(
        f"{escape(name)} <b>{escape(format_probability(p))}</b>" for name, p in sorted(chances, key=lambda c: -c[1])
    )
    return f"Prediction: {rows}"


def _slider(name: str, parent: QWidget) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal, parent)
    slider.setRange(0, _STEPS)
    slider.setPageStep(_STEPS // 20)
    slider.setSingleStep(_STEPS // 100)
    slider.setAccessibleName(name)
    return slider


def _note(parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setWordWrap(True)
    label.setStyleSheet("font-size: 11px;")
    return label
