"""Two fields about the slide chosen: its scale, which a person may correct, and how its colours are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QHBoxLayout, QLabel, QToolButton, QWidget

from ..layers import mpp_of, slide_of

if TYPE_CHECKING:
    from napari.layers import Layer

    from ...slides import Slide


class ScaleField(QWidget):
    """Say how wide a pixel is and who says so; let it be changed.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    """

    changed = Signal(object)
    """The microns per level-0 pixel entered, (y, x), or None for what the file states."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layer: Layer | None = None
        self.text = QLabel(self)
        self.change = QToolButton(self)
        self.change.setText("Change")
        self.change.setToolTip("Enter another scale for this slide. It is remembered for this slide.")
        self.entry = QDoubleSpinBox(self)
        self.entry.setRange(0.0, 50.0)
        self.entry.setDecimals(4)
        self.entry.setSingleStep(0.05)
        self.entry.setSuffix(" µm per pixel")
        self.entry.setAccessibleName("Scale, µm per pixel")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.entry, 1)
        layout.addWidget(self.change)
        self.change.clicked.connect(self._ask)
        self.entry.editingFinished.connect(self._entered)
        self.show_layer(None)

    def show_layer(self, layer: Layer | None) -> None:
        """Show the scale of a slide.

        Parameters
        ----------
        layer : napari layer or None
            A slide's layer; None empties the field.
        """
        self._layer = layer
        slide = slide_of(layer)
        mpp = mpp_of(layer) if layer is not None else None
        stated = slide is not None and slide.mpp is not None
        self.entry.setSpecialValueText("as the file states" if stated else "unknown: please enter")
        self.entry.setToolTip(
            "0 takes the file's own scale again." if stated else "About 0.25 for a 40x scan, 0.5 for 20x."
        )
        self.entry.setValue(mpp[0] if mpp is not None else 0.0)
        if slide is not None and layer is not None and mpp is not None:
            origin = _origin(layer, slide)
            # two numbers leave no room for more
            self.text.setText(scale_words(mpp) if " x " in scale_words(mpp) else f"{scale_words(mpp)}, {origin}")
            self.text.setToolTip(f"{scale_words(mpp)}, {origin}. {_what_the_file_says(slide)}")
        self._show_entry(slide is not None and mpp is None)
        self.change.setVisible(mpp is not None)

    def _show_entry(self, shown: bool) -> None:
        self.entry.setVisible(shown)
        self.text.setVisible(not shown)

    def _ask(self) -> None:
        self._show_entry(True)
        self.change.setVisible(False)
        self.entry.setFocus()
        self.entry.selectAll()

    def _entered(self) -> None:
        layer, value = self._layer, self.entry.value()
        if layer is None or self.entry.isHidden():
            return
        mpp = mpp_of(layer)
        # four decimals are shown: an untouched value must not cut the file's further ones off
        untouched = round(mpp[0], 4) == value if mpp is not None else value == 0
        self.show_layer(layer)
        if not untouched:
            self.changed.emit((value, value) if value > 0 else None)


class ColourField(QCheckBox):
    """Whether slides are shown in the colours that their scanner's profile gives, or as stored.

    Parameters
    ----------
    parent : QWidget or None
        Qt parent.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)

    def show_layer(self, layer: Layer | None, *, corrected: bool) -> None:
        """Show how a slide's colours are shown.

        Parameters
        ----------
        layer : napari layer or None
            A slide's layer.
        corrected : bool
            Whether profiles are followed where there are any.
        """
        slide = slide_of(layer)
        can = slide is not None and slide.corrects_colours
        self.blockSignals(True)
        self.setChecked(can and corrected)
        self.blockSignals(False)
        self.setEnabled(can)
        self.setText("by the scanner's profile" if can else "as stored")
        if slide is None:
            self.setToolTip("Open a slide first.")
        elif can:
            self.setToolTip(
                f"{_sentence(slide.colours)} Ticked, colours are corrected by it, else shown as stored. "
                "Models always see them as stored."
            )
        else:
            self.setToolTip(f"Colours are shown as stored: {slide.colours}.")


def scale_words(mpp: tuple[float, float]) -> str:
    """Return a scale in words.

    Parameters
    ----------
    mpp : (float, float)
        Microns per level-0 pixel, (y, x).

    Returns
    -------
    str
        "0.25 µm/px", or across and down where pixels are not square.
    """
    y, x = mpp
    return f"{x:.4g} µm/px" if f"{x:.4g}" == f"{y:.4g}" else f"{x:.4g} x {y:.4g} µm/px"


def _origin(layer: Layer, slide: Slide) -> str:
    if mpp_of(layer) != slide.mpp:
        return "set by you"
    return "from file" if slide.mpp == slide.stated_mpp else "as given"


def _what_the_file_says(slide: Slide) -> str:
    if slide.stated_mpp is None:
        return "The file does not state its scale."
    return f"The file states {scale_words(slide.stated_mpp)}."


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."
