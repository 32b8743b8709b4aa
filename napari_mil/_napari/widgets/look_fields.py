"""How a map is drawn: opacity, colours, smooth or patch by patch, outlined, hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QCheckBox, QFormLayout, QHBoxLayout, QWidget

from ..keys import HIDE_KEY
from .choice_box import Choice, ChoiceBox
from .threshold_fields import make_slider

if TYPE_CHECKING:
    from ..overlay import Overlay

_STEPS = 1000
_COLOUR_WORDS = {
    "viridis": "Purple to yellow",
    "cividis": "Blue to yellow",
    "magma": "Black to cream",
    "inferno": "Black to yellow",
    "BrBG": "Brown to green",
    "PuOr": "Orange to purple",
    "RdBu": "Red to blue",
}


class LookFields(QWidget):
    """Opacity, colours and drawing of one overlay.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._overlay: Overlay | None = None
        self._filling = False
        self.opacity = make_slider("Opacity", self)
        self.colours = ChoiceBox("Colours", self)
        self.smooth = QCheckBox("S&mooth", self)
        self.smooth.setToolTip("Draw gradually from patch to patch. No number changes, and the legend says so.")
        self.outlined = QCheckBox("O&utline", self)
        self.outlined.setToolTip("Draw a line around what is shown")
        self.visible_box = QCheckBox("S&how", self)
        self.visible_box.setToolTip(f"Show the map. Hold {HIDE_KEY.combination} to hide it for a moment.")
        row = QHBoxLayout()
        for box in (self.visible_box, self.smooth, self.outlined):
            row.addWidget(box)
        row.addStretch(1)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("&Opacity", self.opacity)
        form.addRow("C&olours", self.colours)
        form.addRow(row)
        self.opacity.valueChanged.connect(self._opacity_moved)
        self.colours.currentIndexChanged.connect(self._colours_chosen)
        self.smooth.toggled.connect(self._smooth_toggled)
        self.outlined.toggled.connect(self._outlined_toggled)
        self.visible_box.toggled.connect(self._visible_toggled)

    def show_overlay(self, overlay: Overlay | None) -> None:
        """Control an overlay, or none."""
        self._overlay = overlay
        self.setEnabled(overlay is not None)
        self.follow()

    def follow(self) -> None:
        """Bring everything up to how the overlay is drawn."""
        overlay = self._overlay
        if overlay is None:
            return
        self._filling = True  # the widgets follow; they must not answer
        settings, maps = overlay.settings, overlay.view.scale.colourmaps
        self.opacity.setValue(round(settings.opacity * _STEPS))
        if tuple(choice.value for choice in self.colours.choices) != maps:
            self.colours.set_choices(Choice(_COLOUR_WORDS[name], name, f"The colour map {name}") for name in maps)
        self.colours.choose(overlay.colours)
        self.smooth.setChecked(settings.look == "smooth")
        self.outlined.setChecked(settings.outlined)
        self.visible_box.setChecked(overlay.layer.visible)
        self._filling = False

    def _opacity_moved(self, place: int) -> None:
        if self._overlay is not None and not self._filling:
            self._overlay.settings.opacity = place / _STEPS

    def _colours_chosen(self, *_: Any) -> None:
        if self._overlay is not None and not self._filling and self.colours.current is not None:
            name = self.colours.current.value
            self._overlay.settings.colours = "" if name == self._overlay.view.scale.colourmap else name

    def _smooth_toggled(self, smooth: bool) -> None:
        if self._overlay is not None and not self._filling:
            self._overlay.settings.look = "smooth" if smooth else "patches"

    def _outlined_toggled(self, outlined: bool) -> None:
        if self._overlay is not None and not self._filling:
            self._overlay.settings.outlined = outlined

    def _visible_toggled(self, shown: bool) -> None:
        if self._overlay is not None and not self._filling:
            self._overlay.layer.visible = shown
