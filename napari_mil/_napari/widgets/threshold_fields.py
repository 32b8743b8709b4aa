"""Which patches of a map are seen: the histogram, the threshold by value, share, number or area, and what is above."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from ...maps import format_area, format_share, format_threshold
from ..overlay_data import axis_place
from .choice_box import Choice, ChoiceBox
from .colour_bar import ColourBar
from .histogram import Histogram

if TYPE_CHECKING:
    from ..overlay import Overlay

_STEPS = 1000
_BY = (
    Choice("Value", "value", "A value on the scale shown"),
    Choice("Percentile", "percentile", "Hide this percentage of all patches, the lowest first"),
    Choice("Top patches", "count", "Show so many patches, the highest first; patches of one value stay together"),
    Choice("Top area", "area", "Show so many square millimetres, the highest patches first"),
)


class ThresholdFields(QWidget):
    """Histogram, colour bar, threshold and what it leaves, of one overlay.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._overlay: Overlay | None = None
        self._filling = False
        self.histogram, self.colours = Histogram(self), ColourBar(self)
        self.slider = make_slider("Threshold", self)
        self.slider.setToolTip("Patches below it are hidden. Moving it computes nothing again.")
        self.by = ChoiceBox("Threshold by", self)
        self.by.setMinimumWidth(100)  # shares its row with a number and a box
        self.by.set_choices(_BY)
        self.amount = QDoubleSpinBox(self)
        self.amount.setAccessibleName("Threshold")
        self.amount.setKeyboardTracking(False)
        self.amount.setButtonSymbols(
            QDoubleSpinBox.ButtonSymbols.NoButtons
        )  # arrow keys and wheel; numbers need the room
        self.inverted = QCheckBox("&Below", self)
        self.inverted.setToolTip("Show the patches below the threshold instead")
        self.above = QLabel(self)
        self.above.setWordWrap(True)
        self.above.setTextFormat(Qt.TextFormat.RichText)
        row = QHBoxLayout()
        row.addWidget(self.by, 3)
        row.addWidget(self.amount, 2)
        row.addWidget(self.inverted)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for widget in (self.histogram, self.colours, self.slider):
            layout.addWidget(widget)
        layout.addLayout(row)
        layout.addWidget(self.above)
        self.slider.valueChanged.connect(self._moved)
        self.by.currentIndexChanged.connect(self._by_chosen)
        self.amount.valueChanged.connect(self._amount_given)
        self.inverted.toggled.connect(self._inverted)

    def show_overlay(self, overlay: Overlay | None) -> None:
        """Control an overlay, or none; its settings are followed by `follow`, which the owner connects."""
        self._overlay = overlay
        self.setEnabled(overlay is not None)
        self._fill()

    def follow(self) -> None:
        """Bring everything up to what the overlay shows."""
        self._fill()

    def _fill(self) -> None:
        overlay = self._overlay
        self.histogram.show_overlay(overlay)
        self.colours.show_overlay(overlay)
        if overlay is None:
            self.above.setText("No map yet: choose a model in the Run tab and press Run.")
            return
        self._filling = True  # the widgets follow; they must not answer
        self.slider.setValue(_slider_place(overlay))
        self.by.choose(overlay.settings.cut_by)
        self._fit_amount(overlay)
        self.inverted.setChecked(overlay.settings.inverted)
        self._filling = False
        got = overlay.summary()
        area = format_area(got.area_mm2).replace(" ", "&nbsp;")
        side = "Below" if overlay.settings.inverted else "At or above"
        cut = "All shown" if overlay.shows_all else f"{side} {format_threshold(overlay.settings.threshold)}"
        self.above.setText(
            f"{cut}: <b>{got.count:,}</b> of {got.n:,} patches, <b>{area}</b>, "
            f"{format_share(got.fraction_of_tissue)} of the tissue"
        )

    def _fit_amount(self, overlay: Overlay) -> None:
        """Show the threshold in what it was chosen by, with its unit and within its limits."""
        by, view = overlay.settings.cut_by, overlay.view
        low, high = min(view.lowest, view.limits[0]), max(view.highest, view.limits[1])
        n, all_mm2 = len(overlay.map), len(overlay.map) * overlay.map.grid.tile_mm2
        unit, least, most, decimals = {
            "value": ("", low, high, 4 if high - low < 2 else 2),
            "percentile": (" %", 0.0, 100.0, 1),
            "count": ("", 0.0, float(n), 0),
            "area": (" mm²", 0.0, all_mm2, 3 if all_mm2 < 10 else 2),
        }[by]
        value = overlay.settings.threshold if by == "value" else overlay.amount
        box = self.amount
        if (box.suffix(), box.minimum(), box.maximum(), box.decimals()) != (unit, least, most, decimals):
            box.setDecimals(decimals)
            box.setRange(least, most)
            box.setSuffix(unit)
            box.setSingleStep((most - least) / 100 if by in ("value", "area") else 1)
        box.setValue(value)

    def _moved(self, place: int) -> None:
        if self._overlay is None or self._filling:
            return
        view = self._overlay.view
        if place == 0:
            self._overlay.settings.threshold = view.lowest
            return
        low, high = (axis_place(view, x) for x in view.limits)
        self._overlay.settings.threshold = view.scale.from_axis(low + place / _STEPS * (high - low))

    def _by_chosen(self, *_: Any) -> None:
        if self._overlay is not None and not self._filling and self.by.current is not None:
            self._overlay.settings.cut_by = self.by.current.value

    def _amount_given(self, amount: float) -> None:
        if self._overlay is not None and not self._filling:
            self._overlay.cut(self._overlay.settings.cut_by, amount)

    def _inverted(self, inverted: bool) -> None:
        if self._overlay is not None and not self._filling:
            self._overlay.settings.inverted = inverted


def make_slider(name: str, parent: QWidget) -> QSlider:
    """Return a slider of a thousand steps.

    Parameters
    ----------
    name : str
        What a screen reader calls it.
    parent : QWidget
        Qt parent.

    Returns
    -------
    QSlider
        Lying.
    """
    slider = QSlider(Qt.Orientation.Horizontal, parent)
    slider.setRange(0, _STEPS)
    slider.setPageStep(_STEPS // 20)
    slider.setSingleStep(_STEPS // 100)
    slider.setAccessibleName(name)
    return slider


def _slider_place(overlay: Overlay) -> int:
    """Return the slider's place of the threshold; it runs along the colour axis, log where the scale is."""
    if overlay.hides_none:
        return 0
    view = overlay.view
    low, high = (axis_place(view, x) for x in view.limits)
    return round((axis_place(view, overlay.settings.threshold) - low) / (high - low) * _STEPS)
