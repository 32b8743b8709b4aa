"""The gallery: the patches that a map puts on top, at the bottom and in hot spots, to look through, tick and tag."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.settings import get_settings
from napari.utils.notifications import show_info
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMainWindow, QVBoxLayout

from ...maps import spaced_patches
from ..canvas_frame import CanvasFrame, box_ring, fly_to
from ..latest import Latest
from ..layers import placement, slide_of
from ..navigation import front_slide, slide_layers
from ..overlay import Overlay, front_overlay, overlay_of
from ..session import attach
from ..streaming import coarsest_level
from ..tags import TagBook
from ..thumbnails import Thumbnails
from ..worker import Job, JobSlot
from .dock_panel import DockPanel, dock_of, notify
from .gallery_bar import GalleryBar, tag_menu
from .gallery_message import GalleryMessage
from .gallery_model import PatchModel
from .gallery_save import save_steps
from .gallery_spots import find_spots, spot_order, spot_rings
from .gallery_table import HotSpotTable
from .gallery_view import PatchList
from .run_request import progress_line

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer
    from numpy.typing import NDArray
    from qtpy.QtGui import QHideEvent, QShowEvent

    from ...maps import HotSpot

_SOON_MS = 120
_HEIGHT_PX = 150
_DOCK = "Gallery of patches (napari-mil)"
_OTHER_ORDER = ("score", "class_index", "scale")
_OTHER_SPOTS = ("threshold", "inverted")
_SAVED_TO = "Folder for the ticked patches"


class Gallery(DockPanel):
    """Look through the patches of the map in front.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer; napari passes it in by this name.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer: napari.Viewer | None = napari_viewer
        self._overlay: Overlay | None = None
        self._slide_layer: Layer | None = None
        self._jobs = JobSlot()
        self._frame: CanvasFrame | None = None
        session = attach(napari_viewer)
        self.book = TagBook() if session is None else session.tags
        self.pictures, self._latest = Thumbnails(self), Latest(self)
        self.model = PatchModel(self.pictures, self.book, self)
        self._build()
        # layers and settings change many times in a row
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._soon.timeout.connect(self._follow_window)
        self._recount = QTimer(self)
        self._recount.setSingleShot(True)
        self._recount.setInterval(_SOON_MS)
        self._recount.timeout.connect(self._ask)
        self._connect(napari_viewer)
        _prefer_bottom(napari_viewer)
        # threads, not the panel: by then it is gone
        self.destroyed.connect(self._jobs.abandon)
        self._follow_window()

    @property
    def overlay(self) -> Overlay | None:
        """The map whose patches are shown."""
        return self._overlay

    @property
    def waiting(self) -> bool:
        """Whether patches or pictures are still to come."""
        return self._soon.isActive() or self._recount.isActive() or self._latest.waiting or self.pictures.waiting

    def placed(self, window: QMainWindow) -> None:
        """Lie low along the bottom edge."""
        self._frame = CanvasFrame(self._viewer)
        dock = dock_of(self)
        if dock is not None and window.dockWidgetArea(dock) == Qt.DockWidgetArea.BottomDockWidgetArea:
            window.resizeDocks([dock], [_HEIGHT_PX], Qt.Orientation.Vertical)

    def release(self) -> None:
        """Stop reading, and let go of the viewer."""
        self._jobs.abandon()
        if self._viewer is None:
            return
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.disconnect(self._layers_changed)
        self._viewer.layers.selection.events.active.disconnect(self._later)
        for layer in self._viewer.layers:
            self._watch(layer, False)
        self.book.changed.disconnect(self._marks_changed)
        self._soon.stop()
        self._recount.stop()
        self._let_go()
        self._unframe()
        self._viewer = None
        self._latest.close()
        self.pictures.close()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with the window."""
        super().showEvent(event)
        self._later()

    def hideEvent(self, event: QHideEvent) -> None:
        """Read and draw nothing that nobody sees."""
        super().hideEvent(event)
        self.pictures.cancel()
        self._unframe()

    def step(self, by: int) -> None:
        """Go to the next patch or hot spot (1), or to the one before (-1)."""
        if self.bar.tab == "spots" and not self.list.hasFocus():
            self.table.step(by)
            self._fly_to_spot()
            return
        count, row = self.model.rowCount(), self.list.currentIndex().row()
        if count:
            wanted = min(max(row + by, 0), count - 1) if row >= 0 else 0
            self.list.setCurrentIndex(self.model.index(wanted))
            self._fly()

    def save_to(self, folder: Path) -> None:
        """Save the ticked patches of the map in front in a new folder, in the background.

        Parameters
        ----------
        folder : Path
            A subfolder named after slide and time is made in it.
        """
        overlay, slide = self._overlay, slide_of(self._slide_layer)
        if overlay is None or slide is None or self._jobs.job is not None:
            return
        self._jobs.job = Job(
            save_steps(overlay, self.book.of(overlay.map.slide.quickhash), slide.path, folder),
            "Ticked patches",
            on_progress=lambda step: self.bar.note.setText(progress_line(step)),
            on_done=self._saved,
            on_failed=lambda error: self._save_ended(notify(error)),
            on_cancelled=lambda: self._save_ended("Cancelled: nothing was saved."),
        )
        self._count()

    def _build(self) -> None:
        self.bar = GalleryBar(self)
        self.list, self.table, self.message = PatchList(self), HotSpotTable(self), GalleryMessage(self)
        self.list.setModel(self.model)
        body = QHBoxLayout()
        body.addWidget(self.table, 1)
        body.addWidget(self.list, 1)
        body.addWidget(self.message, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        layout.addWidget(self.bar)
        layout.addLayout(body, 1)
        self.bar.changed.connect(self._recount_soon)
        self.bar.field_changed.connect(self.model.set_field)
        self.bar.stepped.connect(self.step)
        self.bar.tag_wanted.connect(self._offer_tags)
        self.bar.save_clicked.connect(self._save_clicked)
        self.list.flown.connect(self._fly)
        self.list.stepped.connect(self.step)
        self.list.toggled.connect(self._toggle)
        self.list.tag_wanted.connect(self._offer_tags)
        self.list.selectionModel().currentChanged.connect(self._show_frame)
        self.table.flown.connect(self._fly_to_spot)
        self.table.stepped.connect(self.step)
        self.table.chosen.connect(self._show_spot)
        self.message.opened.connect(self._open_slide)
        self.message.cut.connect(self._cut_top)

    def _connect(self, viewer: napari.Viewer) -> None:
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._layers_changed)
        viewer.layers.selection.events.active.connect(self._later)
        for layer in viewer.layers:
            self._watch(layer, True)
        self.book.changed.connect(self._marks_changed)

    def _watch(self, layer: Layer, on: bool) -> None:
        if slide_of(layer) is None and overlay_of(layer) is None:
            return
        for event in (layer.events.visible, layer.events.data):
            (event.connect if on else event.disconnect)(self._later)

    def _layers_changed(self, event: Any) -> None:
        if event.type in ("inserted", "removed"):
            self._watch(event.value, event.type == "inserted")
        if event.type == "removed" and event.value is self._slide_layer:
            self.pictures.follow(None, srgb=False)  # at once: its file may be wanted elsewhere
        self._later()

    def _later(self, _: Any = None) -> None:
        if self._viewer is not None and not self._soon.isActive():
            self._soon.start()

    def _recount_soon(self) -> None:
        self.bar.show_overlay(self._overlay)
        if self._viewer is not None:
            self._recount.start()

    def _follow_window(self) -> None:
        """Show the patches of the map that is in front now."""
        if self._viewer is None:
            return
        overlay = self._front()
        slide = None if overlay is None else self._slide_of(overlay)
        changed = overlay is not self._overlay
        if changed:
            self._let_go()
            self._overlay = overlay
            if overlay is not None:
                overlay.settings.events.connect(self._settings_changed)
        self._slide_layer = slide
        opened = slide_of(slide)
        srgb = opened is not None and opened.corrects_colours and coarsest_level(slide) is opened.levels()[-1]
        fresh = self.pictures.follow(opened, srgb=srgb)
        self.bar.show_overlay(overlay)
        if changed or fresh or not self.message.isHidden():
            self._ask()

    def _front(self) -> Overlay | None:
        """Return the map in front; the one before while it is only hidden, as with the key held that hides it."""
        viewer = self._viewer
        if viewer is None:
            return None
        front = front_overlay(viewer)
        if front is not None or self._overlay is None or self._overlay.layer not in viewer.layers:
            return front
        slide = slide_of(front_slide(viewer))
        same = slide is None or slide.quickhash == self._overlay.map.slide.quickhash
        return self._overlay if same else None

    def _slide_of(self, overlay: Overlay) -> Layer | None:
        """Return the layer of a map's slide."""
        if self._viewer is None:
            return None
        wanted = overlay.map.slide.quickhash
        layers = [layer for layer in slide_layers(self._viewer) if slide_of(layer).quickhash == wanted]  # type: ignore[union-attr]
        front = front_slide(self._viewer)
        return front if front in layers else next(iter(layers), None)

    def _let_go(self) -> None:
        if self._overlay is not None:
            self._overlay.settings.events.disconnect(self._settings_changed)
            self._overlay = None

    def _settings_changed(self, info: Any) -> None:
        name = info.signal.name
        if name == "colours":
            self.model.rescore()
        elif name in _OTHER_ORDER or (name in _OTHER_SPOTS and self.bar.tab == "spots"):
            self._recount_soon()

    def _ask(self) -> None:
        """Find the patches that are asked for, beside the window."""
        self._recount.stop()
        self._latest.drop()
        overlay, tab = self._overlay, self.bar.tab
        self._count()
        if overlay is None or self._slide_layer is None:
            self._show(np.empty(0, np.int64))
        elif tab == "ticked":
            self._show(np.array(list(self._marks()), np.int64))
        elif tab == "spots":
            least, settings = self.bar.least.value(), overlay.settings
            if overlay.shows_all:
                self._show_spots([])
                return
            find = partial(
                find_spots, overlay.view, overlay.map.grid, settings.threshold, settings.inverted, overlay.limits, least
            )
            self._latest.ask(find, self._show_spots)
        else:
            grid, view = overlay.map.grid, overlay.view
            spacing = self.bar.apart.value() * grid.tile_l0
            rank = partial(
                spaced_patches, view.raw, grid, self.bar.k.value(), spacing_l0=spacing, lowest=tab == "bottom"
            )
            self._latest.ask(rank, self._show)

    def _show(self, patches: NDArray[np.int64]) -> None:
        """Show patches; the one that was chosen stays so if it is among them."""
        row = self.list.currentIndex().row()
        same_map = row >= 0 and self.model.overlay is self._overlay
        chosen = int(self.model.patches[row]) if same_map else -1
        self.model.show(self._overlay, patches)
        spots = self.bar.tab == "spots"
        count = len(self.table.spots.spots) if spots else len(patches)
        said = self.message.say(self._overlay, self._slide_layer, self.bar.tab, count)
        self.table.setVisible(spots and not said)
        self.list.setVisible(not said)
        self._count()
        again = self.model.row_of(chosen)
        if again >= 0:
            self.list.setCurrentIndex(self.model.index(again))
        else:
            self._show_frame()

    def _show_spots(self, spots: list[HotSpot]) -> None:
        self.table.show_spots(spots)
        self._show_spot()

    def _show_spot(self) -> None:
        """Show the patches of the chosen hot spot, the highest first."""
        spot, overlay = self.table.current, self._overlay
        self._show(np.empty(0, np.int64) if spot is None or overlay is None else spot_order(spot, overlay))

    def _marks(self) -> dict[int, Any]:
        if self._overlay is None:
            return {}
        return self.book.of(self._overlay.map.slide.quickhash).on_grid(self._overlay.map.grid)

    def _count(self) -> None:
        """Say how many patches are shown, and how many ticked."""
        ticked = sum(mark.ticked for mark in self._marks().values())
        saving = self._jobs.job is not None
        self.bar.show_counts(ticked, saving=saving, can_save=ticked > 0 and self._slide_layer is not None)
        if not saving:
            spots = len(self.table.spots.spots)
            self.bar.note.setText(f"{spots:,} found" if self.bar.tab == "spots" else self._few())

    def _few(self) -> str:
        """Say why there are fewer patches than were asked for."""
        shown, overlay = self.model.rowCount(), self._overlay
        if overlay is None or self.bar.tab == "ticked" or self._latest.waiting or shown == 0:
            return ""
        if shown == self.bar.k.value():
            return f"of {len(overlay.map):,}"
        return f"only {shown:,} so far apart" if self.bar.apart.value() else f"all {shown:,}"

    def _marks_changed(self, quickhash: str) -> None:
        if self._overlay is None or quickhash != self._overlay.map.slide.quickhash:
            return
        self._count()
        if self.bar.tab == "ticked":
            self._recount_soon()
        self.model.remark()

    def _chosen_rows(self) -> list[int]:
        return sorted(index.row() for index in self.list.selectionModel().selectedIndexes())

    def _toggle(self) -> None:
        rows = self._chosen_rows()
        self.model.tick(rows, not all(self.model.mark(row).ticked for row in rows))

    def _offer_tags(self) -> None:
        rows, overlay = self._chosen_rows(), self._overlay
        if not rows or overlay is None:
            show_info("Choose a patch first: click it, or step to it with N.")
            return
        places = [self.model.place(row) for row in rows]
        slide = overlay.map.slide.quickhash

        def tag(name: str, on: bool) -> None:
            self.book.keep(slide, self.book.of(slide).tagged(places, name, on))

        tags = self.book.of(slide)
        self.tags_menu = tag_menu(self, tags.names(), lambda name: all(name in tags.at(p).tags for p in places), tag)
        self.tags_menu.popup(self.bar.tag.mapToGlobal(self.bar.tag.rect().topLeft()))

    def _patch_box(self, patch: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a patch's top left and bottom right corner, world (row, col)."""
        amap = self._overlay.map  # type: ignore[union-attr]
        scale = np.asarray(placement(amap.slide.mpp)["scale"], float)
        first = amap.grid.l0_rc[patch] - 0.5
        return first * scale, (first + amap.grid.tile_l0) * scale

    def _fly(self) -> None:
        """Go to the chosen patch, at the magnification at which the encoder saw it."""
        row = self.list.currentIndex().row()
        if row < 0 or self._viewer is None or self._overlay is None:
            return
        low, high = self._patch_box(int(self.model.patches[row]))
        zoom = self._overlay.map.grid.tile_px / float((high - low).max())
        fly_to(self._viewer, low, high, zoom=zoom)
        self._show_frame()

    def _fly_to_spot(self) -> None:
        spot = self.table.current
        if spot is None or self._viewer is None or self._overlay is None:
            return
        corners = np.concatenate(spot_rings(spot, self._overlay.map.slide.mpp))
        low, high = corners.min(axis=0), corners.max(axis=0)
        # one of few patches is not to be larger than the encoder saw it
        zoom = self._overlay.map.grid.tile_px / float(np.ptp(self._patch_box(spot.peak_patch), axis=0).max())
        fly_to(self._viewer, low, high, zoom=zoom)
        self._show_frame()

    def _show_frame(self, *_: Any) -> None:
        """Frame the chosen patch on the slide, else the chosen hot spot."""
        row, overlay = self.list.currentIndex().row(), self._overlay
        spot = self.table.current if self.bar.tab == "spots" else None
        if self._frame is None or overlay is None or not self.isVisible():
            self._unframe()
        elif 0 <= row < self.model.rowCount():
            self._frame.show([box_ring(*self._patch_box(int(self.model.patches[row])))])
        elif spot is not None:
            self._frame.show(spot_rings(spot, overlay.map.slide.mpp))
        else:
            self._unframe()

    def _unframe(self) -> None:
        if self._frame is not None:
            self._frame.remove()

    def _open_slide(self) -> None:
        if self._overlay is not None and self._viewer is not None:
            self._viewer.open(self._overlay.map.slide.path, plugin="napari-mil")

    def _cut_top(self) -> None:
        if self._overlay is not None:
            self._overlay.cut("percentile", 95.0)

    def _save_clicked(self) -> None:
        if self._jobs.job is not None:
            self._jobs.job.cancel()
            return
        folder = QFileDialog.getExistingDirectory(self, _SAVED_TO)
        if folder:
            self.save_to(Path(folder))

    def _saved(self, folder: Path) -> None:
        self._save_ended(f"Saved in {folder}")
        show_info(f"Ticked patches saved in {folder}")

    def _save_ended(self, line: str) -> None:
        self._jobs.job = None
        self._count()
        self.bar.note.setText(line)


def _prefer_bottom(viewer: napari.Viewer) -> None:
    """Have napari dock the gallery below the canvas unless a person has moved it, and only there.

    Panels and layer list, left and right, need the whole height of a small screen.
    """
    window = getattr(viewer, "__wrapped__", viewer).window._qt_window
    window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
    window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
    get_settings().application.plugin_widget_positions.setdefault(_DOCK, "bottom")
