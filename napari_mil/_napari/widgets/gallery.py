"""The gallery: the patches that a map puts on top, at the bottom and in hot spots, to look through, tick and tag."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMainWindow, QVBoxLayout

from ..front_map import FrontMap
from ..latest import Latest
from ..overlay import Overlay
from ..session import attach
from ..tags import TagBook
from ..thumbnails import Thumbnails
from .dock_panel import DockPanel, dock_of, prefer_bottom
from .gallery_bar import GalleryBar
from .gallery_flight import Flight
from .gallery_marks import Marking
from .gallery_message import GalleryMessage
from .gallery_model import PatchModel, score_form
from .gallery_save import TickedSaver
from .gallery_source import marked, of_spot, ranked, spots
from .gallery_table import HotSpotTable
from .gallery_view import PatchList

if TYPE_CHECKING:
    import napari
    from numpy.typing import NDArray
    from qtpy.QtGui import QHideEvent, QShowEvent

    from ...maps import HotSpot, PatchTags

_SOON_MS = 120
_HEIGHT_PX = 150
_DOCK = "Gallery of patches (napari-mil)"
_OTHER_ORDER = ("score", "class_index", "scale")
_OTHER_SPOTS = ("threshold", "inverted")


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
        self._behind = True
        session = attach(napari_viewer)
        self.book = TagBook() if session is None else session.tags
        self.front = FrontMap(napari_viewer, self)
        self.pictures, self._latest = Thumbnails(self), Latest(self)
        self.model = PatchModel(self.pictures, self.book, self)
        self.flight = Flight(napari_viewer)
        self._build()
        # a slider moves many times a second
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_SOON_MS)
        self._soon.timeout.connect(self._ask)
        self._connect()
        prefer_bottom(napari_viewer, _DOCK)
        self.front.refresh()
        self._follow_map()

    @property
    def overlay(self) -> Overlay | None:
        """The map whose patches are shown."""
        return self.front.overlay

    @property
    def saving(self) -> bool:
        """Whether ticked patches are being saved."""
        return self.saver.busy

    @property
    def waiting(self) -> bool:
        """Whether patches or pictures are still to come."""
        return self.front.waiting or self._soon.isActive() or self._latest.waiting or self.pictures.waiting

    def placed(self, window: QMainWindow) -> None:
        """Lie low along the bottom edge."""
        dock = dock_of(self)
        if dock is not None and window.dockWidgetArea(dock) == Qt.DockWidgetArea.BottomDockWidgetArea:
            window.resizeDocks([dock], [_HEIGHT_PX], Qt.Orientation.Vertical)

    def release(self) -> None:
        """Stop reading and saving, and let go of the viewer."""
        self.saver.release()
        if self._viewer is None:
            return
        self._viewer = None
        self.front.release()
        self.book.changed.disconnect(self._marks_changed)
        self._soon.stop()
        self.flight.release()
        self._latest.close()
        self.pictures.close()

    def showEvent(self, event: QShowEvent) -> None:
        """Draw pictures as sharp as the screen is; catch up, and frame what is chosen again."""
        super().showEvent(event)
        self.model.density = self.devicePixelRatioF()
        self._show_frame()
        if self._behind:
            self._ask_soon()

    def hideEvent(self, event: QHideEvent) -> None:
        """Read and draw nothing that nobody sees."""
        super().hideEvent(event)
        self.pictures.cancel()
        self.flight.frame.remove()

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
        overlay, slide = self.overlay, self.front.slide
        if overlay is None or slide is None or self.saving:
            return
        self.saver.start(overlay, self._tags(), slide.path, folder)
        self._count()

    def _build(self) -> None:
        self.bar = GalleryBar(self)
        self.list, self.table, self.message = PatchList(self), HotSpotTable(self), GalleryMessage(self)
        self.list.setModel(self.model)
        self.marking, self.saver = Marking(self.list, self.model, self.book), TickedSaver(self)
        body = QHBoxLayout()
        body.addWidget(self.table, 1)
        body.addWidget(self.list, 1)
        body.addWidget(self.message, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.setSpacing(2)
        layout.addWidget(self.bar)
        layout.addLayout(body, 1)

    def _connect(self) -> None:
        self.front.changed.connect(self._follow_map)
        self.front.setting.connect(self._setting_changed)
        # at once: its file may be wanted elsewhere
        self.front.slide_gone.connect(self.pictures.stop)
        self.book.changed.connect(self._marks_changed)
        self.bar.changed.connect(self._ask_soon)
        self.bar.field_changed.connect(self.model.set_field)
        self.bar.stepped.connect(self.step)
        self.bar.tag_wanted.connect(self._offer_tags)
        self.bar.save_clicked.connect(self._save_clicked)
        self.saver.said.connect(self.bar.note.setText)
        self.saver.ended.connect(self._save_ended)
        self.list.flown.connect(self._fly)
        self.list.stepped.connect(self.step)
        self.list.toggled.connect(self.marking.toggle)
        self.list.tag_wanted.connect(self._offer_tags)
        self.list.selectionModel().currentChanged.connect(self._show_frame)
        self.table.flown.connect(self._fly_to_spot)
        self.table.stepped.connect(self.step)
        self.table.chosen.connect(self._show_spot)
        self.message.opened.connect(self._open_slide)
        self.message.cut.connect(self._cut_top)

    def _follow_map(self) -> None:
        self.pictures.follow(self.front.slide, srgb=self.front.srgb)
        self._ask()

    def _setting_changed(self, name: str) -> None:
        if name == "colours":
            self.model.rescore()
        elif name in _OTHER_ORDER or (name in _OTHER_SPOTS and self.bar.tab == "spots"):
            self._ask_soon()

    def _ask_soon(self) -> None:
        self.bar.show_overlay(self.overlay)
        if self._viewer is not None:
            self._soon.start()

    def _ask(self) -> None:
        """Find the patches that are asked for, beside the window."""
        self._soon.stop()
        self._latest.drop()
        self._behind = not self.isVisible()
        if self._behind:
            return
        overlay, bar = self.overlay, self.bar
        bar.show_overlay(overlay)
        if overlay is None or self.front.slide is None:
            self._show(np.empty(0, np.int64))
        elif bar.tab == "ticked":
            self._show(marked(self._tags(), overlay))
        elif bar.tab != "spots":
            self._latest.ask(ranked(overlay, bar.k.value(), bar.apart.value(), lowest=bar.tab == "bottom"), self._show)
        elif overlay.shows_all:
            self._show_spots([])
        else:
            self.table.form = score_form(overlay)
            self._latest.ask(spots(overlay, bar.least.value()), self._show_spots)

    def _show(self, patches: NDArray[np.int64]) -> None:
        """Show patches; the one that was chosen stays so if it is among them."""
        row, before = self.list.currentIndex().row(), self.model.overlay
        chosen = int(self.model.patches[row]) if row >= 0 and before is self.overlay else -1
        self.model.show(self.overlay, patches)
        in_spots = self.bar.tab == "spots"
        count = self.table.spots.rowCount() if in_spots else len(patches)
        said = self.message.say(self.overlay, self.front.slide is None, self.bar.tab, count)
        self.table.setVisible(in_spots and not said)
        self.list.setVisible(not said)
        self._count()
        again = self.model.row_of(chosen)
        if again >= 0:
            self.list.setCurrentIndex(self.model.index(again))
        else:
            self._show_frame()

    def _show_spots(self, found: list[HotSpot]) -> None:
        self.table.show_spots(found)
        self._show_spot()

    def _show_spot(self) -> None:
        """Show the patches of the chosen hot spot, the highest first."""
        spot, overlay = self.table.current, self.overlay
        self._show(np.empty(0, np.int64) if spot is None or overlay is None else of_spot(spot, overlay))

    def _tags(self) -> PatchTags:
        """Return what was said of the slide's patches."""
        return self.book.of("" if self.overlay is None else self.overlay.map.slide.quickhash)

    def _count(self) -> None:
        """Say how many patches are ticked, and why there are fewer than were asked for."""
        overlay, bar = self.overlay, self.bar
        marks = {} if overlay is None else self._tags().on_grid(overlay.map.grid)
        ticked = sum(mark.ticked for mark in marks.values())
        bar.show_counts(ticked, saving=self.saving, can_save=ticked > 0 and self.front.slide is not None)
        if self.saving:
            return
        shown, words = self.model.rowCount(), ""
        if bar.tab == "spots":
            words = f"{self.table.spots.rowCount():,} found"
        elif bar.tab != "ticked" and 0 < shown < bar.k.value():
            words = f"{shown:,} so far apart" if bar.apart.value() else f"all {shown:,}"
        bar.note.setText(words)

    def _marks_changed(self, quickhash: str) -> None:
        if self.overlay is None or quickhash != self.overlay.map.slide.quickhash:
            return
        self._count()
        self.model.remark()
        if self.bar.tab == "ticked":
            self._ask_soon()

    def _offer_tags(self) -> None:
        self.marking.offer_tags(self.bar.tag)

    def _fly(self) -> None:
        row = self.list.currentIndex().row()
        if row >= 0 and self.overlay is not None:
            self.flight.to_patch(self.overlay.map, int(self.model.patches[row]))

    def _fly_to_spot(self) -> None:
        spot = self.table.current
        if spot is not None and self.overlay is not None:
            self.flight.to_spot(self.overlay.map, spot)

    def _show_frame(self, *_: Any) -> None:
        """Frame the chosen patch on the slide, else the chosen hot spot."""
        row, overlay = self.list.currentIndex().row(), self.overlay
        spot = self.table.current if self.bar.tab == "spots" else None
        if overlay is None or not self.isVisible():
            self.flight.frame.remove()
        elif 0 <= row < self.model.rowCount():
            self.flight.show_patch(overlay.map, int(self.model.patches[row]))
        elif spot is not None:
            self.flight.show_spot(overlay.map, spot)
        else:
            self.flight.frame.remove()

    def _open_slide(self) -> None:
        if self.overlay is not None and self._viewer is not None:
            self._viewer.open(self.overlay.map.slide.path, plugin="napari-mil")

    def _cut_top(self) -> None:
        if self.overlay is not None:
            self.overlay.cut("percentile", 95.0)

    def _save_clicked(self) -> None:
        if self.saving:
            self.saver.cancel()
            return
        folder = QFileDialog.getExistingDirectory(self, "Folder for the ticked patches")
        if folder:
            self.save_to(Path(folder))

    def _save_ended(self, line: str) -> None:
        self._count()
        self.bar.note.setText(line)
