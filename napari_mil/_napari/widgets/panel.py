"""The MIL panel: one dock with the tabs Run, Heatmap and Annotate, and the background job behind them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QMainWindow, QTabWidget, QToolButton, QVBoxLayout

from ...describe import left_out
from ...export import ExportOptions
from ...maps import DISCLAIMER, PatchTags
from ...preferences import read_preferences
from ...progress import Progress
from ...samples import SAMPLE_SLIDES
from ...slides import slide_name
from ..export_job import Wanted, export_steps, options_as_shown
from ..layers import KEY, made_from, slide_of, tissue_layer_data
from ..live import LiveOverlay
from ..overlay import Overlay
from ..overlay_data import overlay_layer_data
from ..session import attach
from ..viewers import show_scale_bar
from ..worker import Job, JobSlot
from .annotate_tab import AnnotateTab
from .canvas_note import NO_SCALE, CanvasNote
from .compare_tab import CompareTab
from .dock_panel import DockPanel, notify
from .heatmap_tab import HeatmapTab
from .legend import CanvasLegend, main_window_of
from .run_request import RunRequest, progress_line
from .run_tab import RunTab
from .tour import Tour

if TYPE_CHECKING:
    import napari

    from ...maps import LiveMap
    from ...progress import Steps
    from ...results import RunResult
    from ..reader import LayerData


class MILPanel(DockPanel):
    """Run a model on the open slide and look at where it looked.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer; napari passes it in by this name.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._jobs = JobSlot()
        self._job_layer: Layer | None = None
        self.live: LiveOverlay | None = None
        self.run_tab = RunTab(napari_viewer, self)
        self.heatmap_tab = HeatmapTab(napari_viewer, self)
        self.tabs = QTabWidget(self)
        self.tabs.addTab(self.run_tab, "Run")
        self.tabs.addTab(self.heatmap_tab, "Heatmap")
        self.compare_tab = CompareTab(napari_viewer, self)
        self.tabs.addTab(self.compare_tab, "Compare")
        self.compare_tab.legends_changed.connect(self._renew_legend)
        self.annotate_tab = AnnotateTab(napari_viewer, self)
        self.tabs.addTab(self.annotate_tab, "Annotate")
        self.help = QToolButton(self)
        self.help.setText("?")
        self.help.setToolTip("Help on this tab (F1)")
        self.help.setShortcut("F1")
        self.help.clicked.connect(self._show_help)
        self.tabs.setCornerWidget(self.help, Qt.Corner.TopRightCorner)
        self.tour: Tour | None = None
        quiet = QLabel(f"A map shows {DISCLAIMER}.", self)
        quiet.setStyleSheet("font-size: 11px;")
        quiet.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.addWidget(self.tabs)
        layout.addWidget(quiet)
        self.setMinimumWidth(320)
        self.run_tab.run_clicked.connect(self.start_run)
        self.run_tab.cancel_clicked.connect(self.cancel)
        self.heatmap_tab.export_clicked.connect(self.start_export)
        self.heatmap_tab.cancel_clicked.connect(self.cancel)
        self.heatmap_tab.shown_changed.connect(self._show_legend)
        self.heatmap_tab.shown_changed.connect(self.annotate_tab.follow_overlay)
        self.heatmap_tab.shown_changed.connect(self.compare_tab.follow_overlay)
        self.annotate_tab.best_wanted.connect(self._use_threshold)
        self.annotate_tab.follow_overlay(self.heatmap_tab.overlay)
        self.compare_tab.follow_overlay(self.heatmap_tab.overlay)
        napari_viewer.layers.events.removed.connect(self._layer_removed)
        self.legend: CanvasLegend | None = None
        self.no_scale: CanvasNote | None = None
        self.run_tab.scale_missing.connect(self._show_no_scale)
        # Qt may delete the panel without closing it; its job must not outlive it.
        self.destroyed.connect(self._jobs.abandon)
        show_scale_bar(napari_viewer)
        session = attach(napari_viewer)
        if session is not None:
            session.bags.follow(self.run_tab)

    @property
    def running(self) -> bool:
        """Whether a run or an export is going."""
        return self._jobs.job is not None

    def start_run(self, request: RunRequest) -> None:
        """Run a model over a slide in the background.

        Parameters
        ----------
        request : RunRequest
            What was chosen in the Run tab.
        """
        if self._jobs.job is not None:
            return
        self._job_layer = request.layer
        self.run_tab.show_running()
        self.heatmap_tab.set_busy(True)
        self.live = LiveOverlay(self._viewer, request.layer, self._canvas_px, self._show_live, self)
        self._jobs.job = Job(
            _run_steps(request, self.live.live),
            slide_name(request.slide_path),
            on_progress=self.run_tab.show_progress,
            on_done=self._run_done,
            on_failed=self._run_failed,
            on_cancelled=self._run_cancelled,
        )

    def start_export(
        self, overlay: Overlay, wanted: Wanted, k: int, path: Path, max_px: int = ExportOptions().max_px
    ) -> None:
        """Write files of a map, as shown now, in the background.

        Parameters
        ----------
        overlay : Overlay
            The map and how it is shown.
        wanted : str
            What, see `export_steps`.
        k : int
            How many top patches.
        path : Path
            The file, or the folder in which a subfolder is made.
        max_px : int
            Long edge of the picture of the map.
        """
        if self._jobs.job is not None:
            show_info("Wait until the present run has ended, or cancel it.")
            return
        session = attach(self._viewer)
        tags = PatchTags() if session is None else session.tags.of(overlay.map.slide.quickhash)
        self.heatmap_tab.set_busy(True, can_cancel=True)
        self.run_tab.set_waiting(True)
        self._jobs.job = Job(
            export_steps(overlay.map, wanted, path, options_as_shown(overlay, k, tags, max_px)),
            "Saving",
            on_progress=lambda step: self.heatmap_tab.say(progress_line(step)),
            on_done=self._export_done,
            on_failed=self._export_failed,
            on_cancelled=self._export_cancelled,
        )

    def cancel(self) -> None:
        """Ask the background work to stop; it answers within a second."""
        if self._jobs.job is not None:
            self.run_tab.say("Stopping")
            self._jobs.job.cancel()

    def release(self) -> None:
        """Stop everything and let go of the viewer; the window is closing."""
        self._jobs.abandon()
        if self._viewer is not None:
            self._end_live()
            session = attach(self._viewer)
            if session is not None:
                session.bags.follow(None)
            self.run_tab.disconnect_viewer()
            self.heatmap_tab.disconnect_viewer()
            self.compare_tab.disconnect_viewer()
            self.annotate_tab.disconnect_viewer()
            if self.tour is not None:
                self.tour.deleteLater()
                self.tour = None
            if self.legend is not None:
                self.legend.deleteLater()
                self.legend = None
            if self.no_scale is not None:
                self.no_scale.deleteLater()
                self.no_scale = None
            self._viewer.layers.events.removed.disconnect(self._layer_removed)
            self._viewer = None

    def placed(self, window: QMainWindow) -> None:
        """Lay the legend over the canvas."""
        self.legend = CanvasLegend(window.centralWidget())
        self._show_legend(self.heatmap_tab.overlay)
        self.no_scale = CanvasNote(window.centralWidget(), NO_SCALE)
        self.run_tab.refresh_slides()
        self.tour = Tour(window.centralWidget(), self)
        if not read_preferences().tour_seen and any(_is_sample(layer) for layer in self._viewer.layers):
            self.tour.start()

    def start_tour(self) -> None:
        """Show the way through the panel, in three cards."""
        self.come_forward()
        if self.tour is not None:
            self.tour.start()

    def _show_help(self) -> None:
        session = attach(self._viewer)
        if session is not None:
            session.show_help(self.tabs.tabText(self.tabs.currentIndex()))

    def _run_done(self, done: tuple[RunResult, LayerData]) -> None:
        result, outline = done
        try:
            layer = self._add_result(result, outline)
        finally:
            self._ended()
        seconds = sum(result.seconds.values())
        self.run_tab.show_stopped(f"{len(result.features):,} patches in {seconds:,.0f} s{left_out(result.features)}")
        self.heatmap_tab.choose_map(layer)
        self.tabs.setCurrentWidget(self.heatmap_tab)
        if self.tour is not None:
            self.tour.map_came()

    def _add_result(self, result: RunResult, outline: LayerData) -> Layer:
        """Add outline and overlay just above the slide, so that what people drew stays on top."""
        layers = self._viewer.layers
        # the slide may have been removed in the very moment in which the run ended
        above = layers.index(self._job_layer) + 1 if self._job_layer in layers else len(layers)
        made = (result.slide.quickhash, result.slide.mpp)
        old = [one for one in layers if "tissue_of" in one.metadata.get(KEY, {}) and made_from(one) == made]
        key = outline[1]["metadata"][KEY]["tissue_key"]
        for layer in old:
            if layer.metadata[KEY].get("tissue_key") != key:  # of another mask
                layers.remove(layer)
        if not any(layer in layers for layer in old):
            layers.insert(above, Layer.create(*outline))
        shown: Layer = Layer.create(*overlay_layer_data(result.map))
        layers.insert(above, shown)
        return shown

    def _export_done(self, path: Path) -> None:
        self._ended()
        self.heatmap_tab.say(f"Saved: {path}")
        show_info(f"Saved: {path}")

    def _export_failed(self, error: Exception) -> None:
        self._ended()
        self.heatmap_tab.say(notify(error))

    def _export_cancelled(self) -> None:
        self._ended()
        self.heatmap_tab.say("Cancelled: nothing was saved.")

    def _run_failed(self, error: Exception) -> None:
        self._ended()
        self.run_tab.show_stopped(notify(error), error=True)

    def _run_cancelled(self) -> None:
        self._ended()
        self.run_tab.show_stopped("Cancelled. What was read is kept: Run goes on from there.")

    def _ended(self) -> None:
        self._jobs.job = None
        self._job_layer = None
        self._end_live()
        self.heatmap_tab.set_busy(False)
        self.run_tab.set_waiting(False)

    def _layer_removed(self, event: Any) -> None:
        if event.value is self._job_layer and self._jobs.job is not None:
            self.cancel()

    def _use_threshold(self, threshold: float) -> None:
        if self.heatmap_tab.overlay is not None:
            self.heatmap_tab.overlay.cut("value", threshold)

    def _end_live(self) -> None:
        live, self.live = self.live, None
        if live is not None:
            live.stop()

    def _show_legend(self, overlay: Overlay | None) -> None:
        """Say what is seen: while a run's own map grows and is not hidden, that."""
        if self.legend is not None:
            live = self.live if self.live is not None and self.live.seen else None
            self.legend.show_overlay(None if self.compare_tab.holds_legends else (live or overlay))

    def _show_live(self) -> None:
        self._show_legend(self.heatmap_tab.overlay)

    def _canvas_px(self) -> tuple[int, int]:
        window = main_window_of(self)
        size = (self if window is None else window.centralWidget()).size()
        return size.height(), size.width()

    def _renew_legend(self) -> None:
        self._show_legend(self.heatmap_tab.overlay)

    def _show_no_scale(self, missing: bool) -> None:
        if self.no_scale is not None:
            self.no_scale.setVisible(missing)


def _run_steps(request: RunRequest, live: LiveMap) -> Steps[tuple[RunResult, LayerData]]:
    """Run, and prepare the tissue outline, all in the worker's thread."""
    yield Progress("Starting")
    # PyTorch comes with the pipeline and takes seconds to load
    from ...pipeline import iter_run

    result = yield from iter_run(
        request.slide_path,
        model=request.model,
        encoder=request.encoder,
        device=request.device,
        slide_mpp=request.slide_mpp,
        tissue=request.tissue,
        within=request.within,
        isolated=request.isolated,
        also=request.also,
        mc_dropout=request.mc_dropout,
        live=live,
    )
    return result, tissue_layer_data(result.mask, result.slide)


def _is_sample(layer: Layer) -> bool:
    slide = slide_of(layer)
    return slide is not None and slide.path.name in SAMPLE_SLIDES
