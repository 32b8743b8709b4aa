"""The Run tab: choose slide, model, encoder and device, then Run. Defaults need no touching."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import create_worker

from ...errors import NapariMilError
from ...preferences import keep_scale, keep_true_colours, read_preferences
from ..layers import mpp_of, show_true_colours, slide_of
from ..rescale import change_scale
from .also_field import AlsoField
from .choice_box import Choice, ChoiceBox
from .choices import encoder_choices, encoder_wanted, find_devices
from .model_field import ModelField
from .recent_slides import RecentSlides
from .run_request import RunRequest, progress_line
from .slide_fields import ColourField, ScaleField
from .tissue_fields import TissueFields

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from ...models import ModelEntry
    from ...progress import Progress


class RunTab(QWidget):
    """Choose and run.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose slides can be run.
    parent : QWidget or None
        Qt parent.
    """

    run_clicked = Signal(object)
    cancel_clicked = Signal()
    scale_missing = Signal(bool)
    """Whether a slide is shown in pixels, because nobody knows its scale."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._running = self._waiting = False
        self._said_missing = False
        self._build()
        for event in _list_events(viewer):
            event.connect(self.refresh_slides)
        viewer.layers.selection.events.active.connect(self._follow_active)
        self.refresh_slides()
        self._model_changed()
        self.device.set_choices([Choice("Automatic", "auto", "Looking for a GPU…"), Choice("CPU", "cpu")])
        # PyTorch takes seconds to load: look for GPUs in the background, so that the panel opens at once.
        self._looking = create_worker(find_devices, _start_thread=True, _connect={"returned": self._devices_found})

    def disconnect_viewer(self) -> None:
        """Stop following the viewer; the widget is going away."""
        for event in _list_events(self._viewer):
            event.disconnect(self.refresh_slides)
        self._viewer.layers.selection.events.active.disconnect(self._follow_active)
        self.tissue.release()
        self.models.release()

    def request(self) -> RunRequest | None:
        """Return what is chosen, or None while something is missing."""
        slide, model, encoder, device = (b.current for b in (self.slide, self.model, self.encoder, self.device))
        if slide is None or model is None or encoder is None or device is None or self._missing():
            return None
        layer: Layer = slide.value
        opened = slide_of(layer)
        if opened is None:
            return None
        own = layer.metadata["napari_mil"].get("mpp")
        tissue, within = self.tissue.wanted()
        apart = self.isolated.isChecked()
        return RunRequest(
            layer,
            opened.path,
            own,
            model.value,
            encoder.value,
            device.value,
            tissue,
            within,
            apart,
            self.also.scores,
            self.also.passes,
        )

    def add_model(self, name: str | Path) -> None:
        """Offer a model and choose it.

        Parameters
        ----------
        name : str or Path
            A model file, or ``hf:owner/name`` on the hub.
        """
        self.models.add(name)

    def models_at_hand(self) -> tuple[list[ModelEntry], Path | None]:
        """Return the model files at hand, and the one that is chosen."""
        return self.models.entries, self.models.path

    def show_running(self) -> None:
        """Show that a run is going."""
        self._running = True
        self.bar.setRange(0, 0)
        self.bar.setVisible(True)
        self.say("Starting")
        self._refresh_buttons()

    def show_progress(self, step: Progress) -> None:
        """Show where a run stands: stage, patches per second, time left."""
        self.bar.setRange(0, step.total)
        self.bar.setValue(step.done)
        self.say(progress_line(step))

    def show_stopped(self, line: str, *, error: bool = False) -> None:
        """Show that no run is going, and why."""
        self._running = False
        self.bar.setVisible(False)
        self.say(line, error=error)
        self._refresh_buttons()

    def set_waiting(self, waiting: bool) -> None:
        """Allow no run while patches are being saved."""
        self._waiting = waiting
        self._refresh_buttons()

    def say(self, line: str, *, error: bool = False) -> None:
        """Write one line below the buttons."""
        self._said_missing = False
        self.status.setText(line)
        self.status.setProperty("error", error)
        self.status.setStyleSheet("color: #d9534f;" if error else "")

    def refresh_slides(self, *_: Any) -> None:
        """Offer the slides that are open now."""
        layers = [layer for layer in self._viewer.layers if slide_of(layer) is not None]
        known = [choice.value for choice in self.slide.choices]
        self.slide.set_choices(
            (Choice(layer.name, layer, str(slide_of(layer).path)) for layer in layers),  # type: ignore[union-attr]
            prefer=self._viewer.layers.selection.active,
        )
        if self._viewer.layers.selection.active not in known:  # opened just now
            self._follow_active()
        self._slide_changed()
        self.recent.refresh(slide_open=bool(layers))

    def _build(self) -> None:
        self.slide, self.models = ChoiceBox("Slide", self), ModelField(self)
        self.model, self.card = self.models.box, self.models.card_line
        self.encoder, self.device = ChoiceBox("Encoder", self), ChoiceBox("Device", self)
        self.scale, self.colours = ScaleField(self), ColourField(self)
        self.tissue = TissueFields(self._viewer, self)
        self.also, self.device_note = AlsoField(self), _quiet_label(self)
        self.isolated = QCheckBox("in a process of its own", self)
        self.isolated.setToolTip(
            "Takes some seconds longer to start. A graphics driver that fails ends that process and not napari, and "
            "Cancel gives the GPU's memory back."
        )
        self.run, self.cancel = QPushButton("&Run", self), QPushButton("&Cancel", self)
        self.run.setDefault(True)
        self.bar = QProgressBar(self)
        self.bar.setVisible(False)
        self.status = _quiet_label(self)

        self._form = QFormLayout()
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for label, field in (
            ("&Slide", self.slide),
            ("Sc&ale", self.scale),
            ("C&olours", self.colours),
            ("&Tissue", self.tissue),
            ("&Model", self.models),
            ("&Encoder", self.encoder),
            ("A&lso", self.also),
            ("&Device", self.device),
            ("", self.isolated),
            ("", self.device_note),
        ):
            self._form.addRow(label, field)
        self._form.labelForField(self.models).setBuddy(self.model)
        self._form.labelForField(self.also).setBuddy(self.also.gradients)
        self._form.labelForField(self.scale).setBuddy(self.scale.change)
        self._form.labelForField(self.tissue).setBuddy(self.tissue.choice)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run, 2)
        buttons.addWidget(self.cancel, 1)
        self.recent = RecentSlides(self._viewer, self)
        layout = QVBoxLayout(self)
        layout.addWidget(self.recent)
        layout.addLayout(self._form)
        layout.addLayout(buttons)
        for widget in (self.bar, self.status):
            layout.addWidget(widget)
        layout.addStretch(1)

        self.slide.currentIndexChanged.connect(self._slide_changed)
        self.scale.changed.connect(self._scale_entered)
        self.colours.toggled.connect(self._colours_switched)
        self.tissue.said.connect(lambda line, error: self.say(line, error=error))
        self.models.changed.connect(self._model_changed)
        self.models.said.connect(lambda line, error: self.say(line, error=error))
        self.encoder.currentIndexChanged.connect(self._refresh_buttons)
        self.device.currentIndexChanged.connect(self._device_changed)
        self.run.clicked.connect(self._run)
        self.cancel.clicked.connect(self.cancel_clicked)

    def _run(self) -> None:
        request = self.request()
        if request is not None:
            self.run_clicked.emit(request)

    def _devices_found(self, choices: list[Choice]) -> None:
        self.device.set_choices(choices)
        self.models.look_for_foreign()

    def _model_changed(self, *_: Any) -> None:
        self.encoder.set_choices(encoder_choices(self.models.card))
        self.also.show_model(self.models.card)
        self._refresh_buttons()

    def _device_changed(self, *_: Any) -> None:
        chosen = self.device.current
        self.device_note.setText(chosen.help if chosen else "")
        self._refresh_buttons()

    def _slide_changed(self, *_: Any) -> None:
        chosen = self.slide.current
        layer = chosen.value if chosen is not None else None
        self.scale.show_layer(layer)
        self.colours.show_layer(layer, corrected=read_preferences().true_colours)
        self.tissue.show_layer(layer)
        self.scale_missing.emit(layer is not None and mpp_of(layer) is None)
        self._refresh_buttons()

    def _scale_entered(self, mpp: tuple[float, float] | None) -> None:
        """Show the slide at another scale and remember it."""
        chosen = self.slide.current
        slide = slide_of(chosen.value) if chosen is not None else None
        if chosen is None or slide is None:
            return
        after = change_scale(self._viewer, chosen.value, mpp)
        self.refresh_slides()
        self._keep(lambda: keep_scale(slide.quickhash, after if after != slide.stated_mpp else None))

    def _colours_switched(self, corrected: bool) -> None:
        for layer in self._viewer.layers:
            show_true_colours(layer, corrected)
        self._keep(lambda: keep_true_colours(corrected))

    def _keep(self, keep: Callable[[], None]) -> None:
        """Remember what was set; where the disk refuses, it holds until the window is closed."""
        try:
            keep()
        except NapariMilError as err:
            self.say(str(err), error=True)

    def _follow_active(self, *_: Any) -> None:
        active = self._viewer.layers.selection.active
        if not self._running and slide_of(active) is not None:
            self.slide.choose(active)

    def _missing(self) -> str:
        """Return what is still missing for a run, in words, or nothing."""
        if self.slide.current is None:
            return "Open a slide: drop a file on the window, or File > Open Sample."
        if mpp_of(self.slide.current.value) is None:
            return "This slide does not state its scale. Enter it above."
        card = self.models.card
        if card is None:
            return "No model can be used. Open a model file with the … button."
        if self.encoder.current is None:
            return encoder_wanted(card)
        return ""

    def _refresh_buttons(self, *_: Any) -> None:
        missing = self._missing()
        self.run.setEnabled(not missing and not self._running and not self._waiting)
        self.run.setToolTip(missing)
        self.cancel.setEnabled(self._running)
        if self._running:
            return
        if missing:
            self.say(missing)
            self._said_missing = True
        elif self._said_missing:
            self.say("")


def _list_events(viewer: napari.Viewer) -> tuple[Any, ...]:
    events = viewer.layers.events
    return events.inserted, events.removed, events.renamed


def _quiet_label(parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setWordWrap(True)
    label.setStyleSheet("font-size: 11px;")
    return label
