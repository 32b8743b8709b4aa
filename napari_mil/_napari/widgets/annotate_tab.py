"""The Annotate tab: outlines drawn, loaded and saved, and how well the map in front finds them."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Layer, Shapes
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLabel,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ..annotating import shown_ref
from ..canvas_outlines import CanvasOutlines
from ..latest import Latest
from ..layers import KEY, slide_of
from ..measuring import Answer, Measuring, Question
from ..navigation import front_slide
from ..outline_layers import annotations_in, drawn_layer_data, lines_of, set_class, why_no_annotations
from .annotate_classes import ClassTable
from .annotate_files import AnnotationFiles
from .annotate_measures import MeasureList
from .choice_box import Choice, ChoiceBox

if TYPE_CHECKING:
    import napari

    from ..overlay import Overlay
    from ..reader import LayerData

_SETTLED_MS = 250
_USUAL_CLASSES = ("Tumor", "Stroma", "Necrosis", "Normal", "Ignore*")


class AnnotateTab(QWidget):
    """Load, draw, map to target, measure, save.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose slide in front is annotated.
    parent : QWidget or None
        Qt parent.
    """

    best_wanted = Signal(float)

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._overlay: Overlay | None = None
        self._slide_layer: Layer | None = None
        self._layer: Layer | None = None
        self._answer: Answer | None = None
        self._shown_key: object = None
        self._revision = 0
        self._numbers = itertools.count(1)
        self._followed: list[Any] = []
        self._still: dict[Layer, CanvasOutlines] = {}
        self._measuring = Measuring()
        self._latest = Latest(self)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SETTLED_MS)
        self._soon.timeout.connect(self._measure)
        self._build()
        for event in self._list_events():
            event.connect(self.refresh)
        self.refresh()

    @property
    def measuring(self) -> bool:
        """Whether measures are still to come."""
        return self._soon.isActive() or self._latest.waiting

    @property
    def layer(self) -> Layer | None:
        """The layer whose outlines are measured, or None."""
        return self._layer

    def disconnect_viewer(self) -> None:
        """Stop following the viewer; the widget is going away."""
        for event in self._list_events():
            event.disconnect(self.refresh)
        self._let_go()
        for lines in self._still.values():
            lines.remove()
        self._still.clear()
        self._soon.stop()
        self._latest.close()
        self.files.release()
        self._overlay = self._slide_layer = self._shown_key = None

    def refresh(self, *_: Any) -> None:
        """Offer what holds annotations of the slide in front."""
        self._slide_layer = front_slide(self._viewer)
        self._draw_still()
        held = []
        if self._slide_layer is not None:
            reasons = ((one, why_no_annotations(one, self._slide_layer)) for one in self._viewer.layers)
            held = [(one, reason) for one, reason in reasons if reason is not None]
        active = self._viewer.layers.selection.active
        self.layers.blockSignals(True)
        self.layers.set_choices(
            (Choice(one.name, one, "Measured and saved by the buttons here", reason) for one, reason in held),
            prefer=active,
        )
        if active in [one for one, reason in held if not reason]:
            self.layers.choose(active)
        self.layers.blockSignals(False)
        self._layer_chosen()

    def follow_overlay(self, overlay: Overlay | None) -> None:
        """Measure what a map shows from now on; only the threshold having changed is answered at once."""
        self._overlay = overlay
        view = overlay.view if overlay is not None else None
        key = None if view is None else (overlay, view.score, view.scale.name, view.class_name)
        if key != self._shown_key:
            self._shown_key = key
            self._soon.start()
        elif overlay is not None:
            self.measures.follow_threshold(overlay)

    def start_drawing(self) -> None:
        """Select a layer to draw in, made where there is none, with napari's freehand tool in hand."""
        if self._slide_layer is None:
            return
        layer = self._layer
        if not isinstance(layer, Shapes):
            ref = shown_ref(self._slide_layer)
            name = f"Annotations of {slide_of(self._slide_layer).name}"  # type: ignore[union-attr]
            layer = self._add(drawn_layer_data([], ref, name))
        self._viewer.layers.selection.active = layer
        set_class(layer, self.class_name.currentText().strip())
        layer.mode = "add_polygon_lasso"
        self.say("Draw around it with the mouse held down. Key 5 selects, Delete removes, 6 pans again.")

    def say(self, line: str) -> None:
        """Write one line."""
        self.note.setText(line)
        self.note.setVisible(bool(line))

    def _build(self) -> None:
        self.layers = ChoiceBox("Outlines", self)
        self.files = AnnotationFiles(self._viewer, self)
        self.class_name = QComboBox(self)
        self.class_name.setEditable(True)
        self.class_name.addItems(_USUAL_CLASSES)
        self.class_name.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.class_name.setAccessibleName("Class of what is drawn")
        self.class_name.setToolTip("The class of what you draw next, and of the outlines that are selected")
        self.classes = ClassTable(self)
        self.least = QSpinBox(self)
        self.least.setRange(1, 100)
        self.least.setValue(50)
        self.least.setSuffix(" % of its area")
        self.least.setToolTip("A patch counts as target where at least so much of it lies in the target")
        self.least.setAccessibleName("Least share of a patch that is target")
        self.measures, self.note = MeasureList(self), QLabel(self)
        self.note.setWordWrap(True)
        self.note.setStyleSheet("font-size: 11px;")
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Out&lines", self.layers)
        form.addRow("&Class", self.class_name)
        whole = QVBoxLayout(self)
        whole.addWidget(self.files)
        whole.addLayout(form)
        whole.addWidget(self.classes)
        rule = QFormLayout()
        rule.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        rule.addRow("Ta&rget from", self.least)
        whole.addLayout(rule)
        for widget in (self.measures, self.note):
            whole.addWidget(widget)
        whole.addStretch(1)
        self.files.draw_clicked.connect(self.start_drawing)
        self.files.loaded.connect(self._loaded)
        self.files.said.connect(self.say)
        self.layers.currentIndexChanged.connect(self._layer_chosen)
        self.class_name.textActivated.connect(self._class_named)
        self.class_name.lineEdit().editingFinished.connect(self._class_named)
        self.classes.role_chosen.connect(self._role_chosen)
        self.least.valueChanged.connect(lambda _: self._soon.start())
        self.measures.best_wanted.connect(self.best_wanted)
        self.say("")

    def _list_events(self) -> tuple[Any, ...]:
        layers = self._viewer.layers
        return (layers.events.inserted, layers.events.removed, layers.events.renamed, layers.selection.events.active)

    def _draw_still(self) -> None:
        """Have the canvas draw the lines of every layer of very many outlines, and none that has gone."""
        there = [one for one in self._viewer.layers if lines_of(one) is not None]
        for gone in [one for one in self._still if one not in there]:
            self._still.pop(gone).remove()
        for layer in there:
            if layer not in self._still and isinstance(layer, Image):
                self._still[layer] = CanvasOutlines(self._viewer, layer)

    def _layer_chosen(self, *_: Any) -> None:
        chosen = self.layers.current
        layer = chosen.value if chosen is not None else None
        self.files.show_layer(self._slide_layer, layer)
        if layer is self._layer and (layer is not None or self._answer is None):
            if layer is None:
                self._say_what_is_missing()
            return
        self._let_go()
        self._layer = layer
        if isinstance(layer, Shapes):
            self._followed = [layer.events.data, layer.events.features]
        elif isinstance(layer, Labels):
            self._followed = [layer.events.paint, layer.events.data]
        for event in self._followed:
            event.connect(self._drawn)
        self._drawn()

    def _let_go(self) -> None:
        for event in self._followed:
            event.disconnect(self._drawn)
        self._followed = []
        self._layer = None

    def _drawn(self, *_: Any) -> None:
        """Measure anew, once the hand rests."""
        self._revision = next(self._numbers)
        self._soon.start()

    def _measure(self) -> None:
        slide, overlay = slide_of(self._slide_layer), self._overlay
        if self._layer is None or slide is None:
            self._latest.drop()
            self._answer = None
            self.classes.show_classes({}, _no_roles(), {})
            self._say_what_is_missing()
            return
        fits = overlay is not None and overlay.map.slide.quickhash == slide.quickhash
        self._latest.ask(
            partial(
                self._measuring.answer,
                Question(
                    annotations_in(self._layer, self._slide_layer),
                    (id(self._layer), self._revision),
                    slide.shape,
                    self._layer.name,
                    dict(self._layer.metadata.get(KEY, {}).get("roles", {})),
                    self.least.value() / 100,
                    overlay.map.grid if overlay is not None and fits else None,
                    overlay.view if overlay is not None and fits else None,
                ),
            ),
            self._show,
        )

    def _show(self, answer: Answer) -> None:
        self._answer = answer
        known = self._layer.metadata.get(KEY, {}) if self._layer is not None else {}
        self.classes.show_classes(answer.counts, answer.roles, known.get("colours", {}))
        notes = " ".join(answer.notes)
        if answer.problem:
            self.measures.show_words(answer.problem)
        elif not answer.counts:
            self.measures.show_words("Nothing is outlined in this layer yet. Press Draw.", notes)
        elif answer.found is None or self._overlay is None:
            self.measures.show_words("No map of this slide is shown: run a model, and see here what it finds.", notes)
        else:
            self.measures.show_found(answer.found, self._overlay, answer.notes)

    def _say_what_is_missing(self) -> None:
        missing = "Open a slide first." if self._slide_layer is None else "Open a file of outlines, or draw some."
        self.measures.show_words(missing)

    def _class_named(self, *_: Any) -> None:
        name = self.class_name.currentText().strip()
        if isinstance(self._layer, Shapes) and "annotation_of" in self._layer.metadata.get(KEY, {}):
            set_class(self._layer, name)
            self._drawn()

    def _role_chosen(self, class_name: str, role: str) -> None:
        if self._layer is not None:
            self._layer.metadata.setdefault(KEY, {}).setdefault("roles", {})[class_name] = role
            self._soon.start()

    def _loaded(self, slide_layer: Layer, data: LayerData) -> None:
        if slide_layer is self._slide_layer:
            self._add(data)

    def _add(self, data: LayerData) -> Layer:
        layer: Layer = Layer.create(*data)
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = layer
        self.refresh()
        self.layers.choose(layer)
        return layer


def _no_roles() -> Any:
    from ...annotations import Roles

    return Roles(frozenset())
