"""Open and Save of annotations, beside the window."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from ..annotating import FILES, reading, slide_wanted, write_steps
from ..layers import slide_of
from ..outline_layers import annotations_in
from ..worker import Job, JobSlot
from .dock_panel import notify
from .save_dialog import GEOJSON, GEOJSON_GZ, ask_where

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.layers import Layer

    from ..reader import LayerData


class AnnotationFiles(QWidget):
    """The buttons, and the work behind them.

    Parameters
    ----------
    viewer : napari.Viewer
        Onto whose slide in front files are read.
    parent : QWidget or None
        Qt parent.

    Attributes
    ----------
    loaded : Signal(object, object)
        The slide's layer and layer data of its annotations.
    said : Signal(str)
        A line for the panel.
    draw_clicked : Signal()
        Draw was pressed.
    """

    loaded = Signal(object, object)
    said = Signal(str)
    draw_clicked = Signal()

    def __init__(self, viewer: napari.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._jobs = JobSlot()
        self._waiting: list[Path] = []
        self._slide_layer: Layer | None = None
        self._layer: Layer | None = None
        self.open, self.draw = QPushButton("&Open…", self), QPushButton("&Draw", self)
        self.save = QPushButton("Sa&ve…", self)
        self.open.setToolTip("Read outlines onto the slide: QuPath GeoJSON or ASAP XML. Or drop the file on the slide.")
        self.draw.setToolTip("Draw around what matters, freehand; napari's other tools are at the top left.")
        self.save.setToolTip("Write these outlines as GeoJSON, which QuPath opens")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for button in (self.open, self.draw, self.save):
            row.addWidget(button)
        self.open.clicked.connect(self._pick_file)
        self.save.clicked.connect(self._pick_target)
        self.draw.clicked.connect(self.draw_clicked)
        # Qt may delete the panel without closing it
        self.destroyed.connect(self._jobs.abandon)

    @property
    def busy(self) -> bool:
        """Whether a file is being read or written."""
        return self._jobs.job is not None

    def show_layer(self, slide_layer: Layer | None, layer: Layer | None) -> None:
        """Read onto a slide, and save a layer.

        Parameters
        ----------
        slide_layer, layer : napari layer or None
            The slide's, and what holds its annotations.
        """
        self._slide_layer, self._layer = slide_layer, layer
        self._refresh()

    def read(self, path: Path) -> None:
        """Show a file's outlines on the slide in front; one after the other where several are wanted.

        Parameters
        ----------
        path : Path
            GeoJSON or ASAP XML.

        Raises
        ------
        AnnotationError
            If no slide is open.
        """
        slide_layer = slide_wanted(self._viewer, path)
        if self.busy:
            self._waiting.append(path)
            return
        self._start(reading(path, slide_layer), path.name, partial(self._read, slide_layer))

    def write(self, path: Path) -> None:
        """Save the outlines as GeoJSON.

        Parameters
        ----------
        path : Path
            Where; ``.gz`` compresses.
        """
        slide = slide_of(self._slide_layer)
        if self._layer is None or slide is None or self.busy:
            return
        make = annotations_in(self._layer, self._slide_layer)
        self._start(write_steps(make, path, slide.bounds_origin_xy), path.name, self._written)

    def release(self) -> None:
        """Stop all work; the window is closing."""
        self._waiting.clear()
        self._jobs.abandon()
        self._slide_layer = self._layer = None

    def _start(self, steps: Any, title: str, done: Callable[[Any], None]) -> None:
        self._jobs.job = Job(
            steps,
            title,
            on_progress=lambda step: self.said.emit(step.stage),
            on_done=partial(self._done, done),
            on_failed=lambda error: self._ended(notify(error)),
            on_cancelled=lambda: self._ended(""),
        )
        self._refresh()

    def _done(self, report: Callable[[Any], None], result: Any) -> None:
        self._ended("")
        report(result)

    def _ended(self, line: str) -> None:
        self._jobs.job = None
        self._refresh()
        self.said.emit(line)
        if self._waiting and self._slide_layer is not None:
            self.read(self._waiting.pop(0))

    def _read(self, slide_layer: Layer, read: tuple[LayerData, str]) -> None:
        data, note = read
        if slide_layer in self._viewer.layers:  # not removed meanwhile
            self.loaded.emit(slide_layer, data)
            self.said.emit(note)

    def _written(self, written: tuple[Path, int]) -> None:
        path, count = written
        self.said.emit(f"{count:,} outline{'s' if count != 1 else ''} saved in {path}")

    def _refresh(self) -> None:
        idle = self._slide_layer is not None and not self.busy
        for button, enabled in ((self.open, idle), (self.draw, idle), (self.save, idle and self._layer is not None)):
            button.setEnabled(enabled)

    def _pick_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open annotations", "", FILES)
        if path:
            self.read(Path(path))

    def _pick_target(self) -> None:
        slide = slide_of(self._slide_layer)
        name = f"{slide.name}.geojson" if slide is not None else ""
        path = ask_where(self, "Save annotations", name, (GEOJSON, GEOJSON_GZ))
        if path is not None:
            self.write(path)
