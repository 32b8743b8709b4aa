"""Where the tissue is: found, painted in a layer, read from a file, or only what lies within outlines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Labels, Layer, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from ...errors import NapariMilError
from ...progress import Progress
from ...tiling import SEGMENTERS, why_no_segmenter
from ..layers import KEY, mpp_of, slide_of
from ..tissue import mask_layer_data, mask_of, prepare_painting, read_mask, read_outlines, why_no_mask
from ..worker import Job, JobSlot
from .choice_box import Choice, ChoiceBox
from .save_dialog import GEOJSON, GEOJSON_GZ, ask_where

if TYPE_CHECKING:
    import napari

    from ...annotations import Annotation
    from ...progress import Steps
    from ...tiling import TissueMask
    from ..reader import LayerData

FOUND = "colour"
_FILES = "Outlines (*.geojson *.json *.geojson.gz *.xml)"


class TissueFields(QWidget):
    """Choose where the tissue is; show it as a layer to paint in; read it from a file and write it.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers can be masks.
    parent : QWidget or None
        Qt parent.
    """

    said = Signal(str, bool)
    """A line for the panel, and whether it is an error."""

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Layer | None = None
        self._jobs = JobSlot()
        self.choice = ChoiceBox("Tissue", self)
        self.show_tissue = QPushButton("S&how tissue", self)
        self.show_tissue.setToolTip("Adds a layer with the tissue, to paint and erase in with napari's own tools.")
        self.open = QPushButton("Open…", self)
        self.open.setToolTip("Read the tissue from outlines: QuPath GeoJSON or ASAP XML")
        self.save = QPushButton("Save…", self)
        buttons = QHBoxLayout()
        for button, share in ((self.show_tissue, 2), (self.open, 1), (self.save, 1)):
            buttons.addWidget(button, share)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.choice)
        layout.addLayout(buttons)
        self.show_tissue.clicked.connect(self._show)
        self.open.clicked.connect(self._pick_file)
        self.save.clicked.connect(self._pick_target)
        self.choice.currentIndexChanged.connect(self._refresh_buttons)
        # Qt may delete the panel without closing it
        self.destroyed.connect(self._jobs.abandon)
        self.show_layer(None)

    def show_layer(self, layer: Layer | None) -> None:
        """Offer what there is for a slide.

        Parameters
        ----------
        layer : napari layer or None
            A slide's layer.
        """
        self._layer = layer
        self.choice.set_choices(
            [Choice("Found automatically", FOUND, "By colour against the glass"), *self._drawn(), *_learned()]
        )
        self._refresh_buttons()

    def wanted(self) -> tuple[TissueMask | str | None, tuple[Annotation, ...] | None]:
        """Return the mask, or how to find it, and the outlines that a run is to keep to, as they are at this moment."""
        chosen = self.choice.current
        if chosen is None or self._layer is None or chosen.value == FOUND:
            return None, None
        if isinstance(chosen.value, Labels):
            return read_mask(chosen.value, self._layer), None
        if isinstance(chosen.value, str):
            return chosen.value, None
        return None, tuple(read_outlines(chosen.value, self._layer))

    def read_file(self, path: Path) -> None:
        """Show the tissue that a file outlines, and choose it.

        Parameters
        ----------
        path : Path
            GeoJSON or ASAP XML.
        """
        self._start(path)

    def write_file(self, path: Path) -> None:
        """Write the chosen layer's tissue as GeoJSON.

        Parameters
        ----------
        path : Path
            Where to.
        """
        from ...annotations import write_tissue

        mask, _ = self.wanted()
        slide = slide_of(self._layer)
        if mask is None or isinstance(mask, str) or slide is None:
            return
        try:
            write_tissue(path, mask, offset_xy=slide.bounds_origin_xy)
        except NapariMilError as error:
            self.said.emit(str(error), True)
        else:
            self.said.emit(f"Saved in {path}", False)

    def release(self) -> None:
        """Stop looking for tissue; the window is closing."""
        self._jobs.abandon()

    def _drawn(self) -> list[Choice]:
        """Return the layers that can be the tissue, those that cannot with the reason."""
        if self._layer is None:
            return []
        layers = self._viewer.layers
        masks = [
            Choice(f"Layer: {one.name}", one, "What is painted in it is the tissue.", why_no_mask(one, self._layer))
            for one in layers
            if isinstance(one, Labels)
        ]
        outlines = [
            Choice(f"Inside: {one.name}", one, "Tissue found automatically, within these outlines.")
            for one in layers
            if isinstance(one, Shapes) and "tissue_of" not in one.metadata.get(KEY, {})
        ]
        return masks + (outlines or [Choice("Inside annotations", None, reason="Draw or load outlines first.")])

    def _refresh_buttons(self, *_: Any) -> None:
        idle = self._layer is not None and self._jobs.job is None
        self.show_tissue.setEnabled(idle)
        self.open.setEnabled(idle)
        chosen = self.choice.current
        painted = chosen is not None and isinstance(chosen.value, Labels)
        self.save.setEnabled(idle and painted)
        self.save.setToolTip("Write it as GeoJSON, for QuPath and for later" if painted else "Choose a layer first")

    def _show(self) -> None:
        slide = slide_of(self._layer)
        if slide is None:
            return
        chosen = self.choice.current
        method = chosen.value if chosen is not None and chosen.value in SEGMENTERS else FOUND
        known = [layer for layer in self._viewer.layers if mask_of(layer) == slide.quickhash]
        if known and method == FOUND:
            self._choose(known[-1], "This is the mask at hand. Remove its layer to find the tissue anew.")
        else:
            self._start(method)

    def _start(self, tissue: Path | str) -> None:
        slide, layer = slide_of(self._layer), self._layer
        if slide is None or layer is None or self._jobs.job is not None:
            return
        self._jobs.job = Job(
            _mask_steps(slide.path, mpp_of(layer), tissue),
            "Tissue",
            on_progress=lambda step: self.said.emit(step.stage, False),
            on_done=lambda data: self._done(data, layer),
            on_failed=lambda error: self._ended(str(error), error=True),
            on_cancelled=lambda: self._ended(""),
        )
        self._refresh_buttons()

    def _done(self, data: LayerData, slide_layer: Layer) -> None:
        self._ended("")
        layers = self._viewer.layers
        if slide_layer not in layers:  # removed meanwhile
            return
        mask: Layer = Layer.create(*data)
        layers.insert(layers.index(slide_layer) + 1, mask)
        prepare_painting(mask)
        if not mask.data.any():
            self._choose(mask, "No tissue was found. Paint it: brush (2), eraser (1), pan (6).")
        else:
            self._choose(mask, "Correct it with napari's brush (2) and eraser (1); 6 pans again.")

    def _ended(self, line: str, *, error: bool = False) -> None:
        self._jobs.job = None
        self._refresh_buttons()
        self.said.emit(line, error)

    def _choose(self, mask: Layer, line: str) -> None:
        mask.visible = True
        self._viewer.layers.selection.active = mask
        self.choice.choose(mask)
        self.said.emit(line, False)

    def _pick_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open outlines of the tissue", "", _FILES)
        if path:
            self.read_file(Path(path))

    def _pick_target(self) -> None:
        slide = slide_of(self._layer)
        name = f"{slide.name}.geojson" if slide is not None else ""
        path = ask_where(self, "Save the tissue", name, (GEOJSON, GEOJSON_GZ))
        if path is not None:
            self.write_file(path)


def _learned() -> list[Choice]:
    """Return the networks that find tissue, greyed where their package is missing."""
    return [
        Choice(
            f"Found by {one.title}",
            name,
            f"A network, at {one.mpp:g} µm per pixel; weights under {one.licence}",
            why_no_segmenter(name),
        )
        for name, one in SEGMENTERS.items()
    ]


def _mask_steps(path: Path, mpp: tuple[float, float] | None, tissue: Path | str) -> Steps[LayerData]:
    """Find or read the tissue of a slide, opened anew so that a layer removed meanwhile does no harm."""
    yield Progress("Reading outlines" if isinstance(tissue, Path) else "Finding tissue")
    from ...annotations import resolve_tissue
    from ...slides import open_slide

    with open_slide(path, mpp=mpp) as slide:
        return mask_layer_data(resolve_tissue(slide, tissue), slide.ref)
