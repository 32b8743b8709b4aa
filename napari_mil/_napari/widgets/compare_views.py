"""Maps of one slide side by side: each over the slide, cameras locked, one legend each, the same limits."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.qt import QtViewer
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSpinBox, QVBoxLayout, QWidget

from ...maps import MapCut
from ..layers import mpp_of, placement
from ..overlay import Overlay, overlay_of
from ..overlay_data import overlay_layer_data
from ..streaming import stream_of
from ..viewers import camera, show_scale_bar
from .legend import CanvasLegend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...maps import MapComparison

MOST_VIEWS = 4


def make_current(canvas: Any) -> None:
    """Have OpenGL mean a canvas, before layers are taken from it.

    napari then deletes their textures and buffers at once, by number, in whichever canvas was drawn last: of several,
    another one would lose its own of the same numbers, and fail at its next drawing.

    Parameters
    ----------
    canvas : VispyCanvas
        napari's.
    """
    canvas._scene_canvas.set_current()


class MapPane(QWidget):
    """One map over its slide, in a canvas of its own that reads through the same tiles.

    Parameters
    ----------
    slide : napari layer
        The slide's layer in the main window.
    comparison : MapComparison
        The maps.
    number : int
        Which of them.
    """

    def __init__(self, slide: Layer, comparison: MapComparison, number: int) -> None:
        super().__init__()
        view = comparison.views[number]
        self.model = ViewerModel()
        self.qt_viewer = QtViewer(self.model)
        self.qt_viewer.setAcceptDrops(False)
        show_scale_bar(self.model)
        # a copy of the levels streams by itself, from the one open slide and its one cache
        self._slide = Image(
            deepcopy(slide.data),
            multiscale=True,
            rgb=True,
            scale=slide.scale,
            translate=slide.translate,
            units=placement(mpp_of(slide))["units"],
            name=slide.name,
        )
        self.model.add_layer(self._slide)
        layer = self.model.add_layer(Layer.create(*overlay_layer_data(comparison.maps[number])))
        overlay = overlay_of(layer)
        if overlay is None:
            raise RuntimeError("a map's layer has no overlay")
        self.overlay: Overlay = overlay
        overlay.choose(score=view.score, class_index=view.class_index, scale=view.scale.name)
        overlay.hold_limits(view)
        self.stream = stream_of(self._slide)
        if self.stream is not None:
            self.stream.start(self._slide)
        name = QLabel(comparison.facts[number].name, self)
        name.setToolTip(name.text())
        name.setMinimumWidth(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(name)
        layout.addWidget(self.qt_viewer, 1)
        self.legend = CanvasLegend(self.qt_viewer.canvas.native)
        self.legend.show_overlay(overlay)

    def show_cut(self, cut: MapCut) -> None:
        """Show only what lies at or above a cut of each map by itself."""
        if cut.by != "share":
            self.overlay.cut(cut.by, cut.amount)
        self.legend.show_overlay(self.overlay)

    def release(self) -> None:
        """Let go of slide and canvas; the slide itself goes on in the main window."""
        if self.stream is not None:
            self.stream.stop(rest=False)
        make_current(self.qt_viewer.canvas)
        self.model.layers.clear()
        self.qt_viewer.close()
        self.qt_viewer.deleteLater()


class CompareWindow(QWidget):
    """Up to four maps beside each other, in a window of their own.

    Parameters
    ----------
    slide : napari layer
        The slide's layer in the main window.
    comparison : MapComparison
        Its maps; beyond four the first four are shown.
    parent : QWidget
        The main window's widget.
    cut : MapCut or None
        What of each map is shown at first, as in `MapComparison.at`; None shows all.
    """

    closed = Signal()

    def __init__(self, slide: Layer, comparison: MapComparison, parent: QWidget, cut: MapCut | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.slide_layer = slide
        self._given = cut
        self.setWindowTitle(f"Compare maps of {slide.name}")
        count = min(len(comparison.maps), MOST_VIEWS)
        self.panes = [MapPane(slide, comparison, number) for number in range(count)]
        self._moving = False
        self.top = QSpinBox(self)
        self.top.setRange(1 if cut is None else 0, 100)
        self.top.setValue(100)
        if cut is not None:
            self.top.setSpecialValueText(f"As in the Heatmap tab: {cut.title(comparison.views[0])}")
        self.top.setPrefix("Show the top ")
        self.top.setSuffix(" % of the patches of each")
        self.top.setToolTip("The same share of each map's patches, highest first")
        self.top.valueChanged.connect(self._cut)
        left_out = len(comparison.maps) - count
        words = f"All on one scale: {comparison.views[0].scale.title}."
        if left_out:
            words += f" {left_out} more do not fit: tick up to {MOST_VIEWS}."
        self.note = QLabel(words, self)
        row = QHBoxLayout()
        row.addWidget(self.top)
        row.addWidget(self.note, 1)
        grid = QGridLayout()
        grid.setSpacing(4)
        for number, pane in enumerate(self.panes):
            grid.addWidget(pane, number // 2, number % 2)
            view = camera(pane.model)
            view.events.center.connect(self._follow)
            view.events.zoom.connect(self._follow)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addLayout(row)
        layout.addLayout(grid, 1)
        self.resize(1280, 700)
        if cut is not None:
            self.top.setValue(0)

    def show_field(self, centre: Sequence[float], size: tuple[float, float]) -> None:
        """Show a field whole in every view, as large as they allow.

        Parameters
        ----------
        centre : sequence of float
            Its middle, as a camera has it.
        size : (float, float)
            Height and width, world units.
        """
        for box in (self.layout(), *(pane.layout() for pane in self.panes)):
            box.activate()
        canvases = [pane.qt_viewer.canvas.native for pane in self.panes]
        self.look_at(centre, min(min(c.height() / size[0], c.width() / size[1]) for c in canvases))

    def look_at(self, centre: Sequence[float], zoom: float) -> None:
        """Show the same place in every view."""
        self._moving = True
        for pane in self.panes:
            view = camera(pane.model)
            view.center, view.zoom = tuple(centre), zoom
        self._moving = False

    def closeEvent(self, event: QCloseEvent) -> None:
        """Let go of the canvases."""
        panes, self.panes = self.panes, []
        for pane in panes:
            view = camera(pane.model)
            view.events.center.disconnect(self._follow)
            view.events.zoom.disconnect(self._follow)
            pane.release()
        super().closeEvent(event)
        self.closed.emit()

    def _follow(self, event: Any) -> None:
        if not self._moving:
            self.look_at(event.source.center, event.source.zoom)

    def _cut(self, percent: int) -> None:
        cut = self._given if percent == 0 and self._given is not None else MapCut("percentile", 100 - percent)
        for pane in self.panes:
            pane.show_cut(cut)
