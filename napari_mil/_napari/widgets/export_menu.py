"""The menu of what can be written of a map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QWidget

from ...export import LARGEST_PX, ExportOptions, as_scanned_px
from ...slides import slide_name
from .save_dialog import CSV, GEOJSON, GEOJSON_GZ, JPEG, OME_TIFF, PAGE, PDF, PNG, SVG, TIFF, FileKind, ask_where

if TYPE_CHECKING:
    from qtpy.QtGui import QAction

    from ..export_job import Wanted
    from ..overlay import Overlay

# What it is called, what it is for, the end of the file's name before its ending, and what it can be written as.
_ENTRIES: dict[Wanted, tuple[str, str, str, tuple[FileKind, ...]]] = {
    "patches": (
        "Top &patches as pictures…",
        "The highest patches as the encoder saw them, with a table of places and scores",
        "",
        (),
    ),
    "report": (
        "&Report to open anywhere…",
        "One HTML page with pictures, figures, the model's card and what it is not",
        "report",
        (PAGE,),
    ),
    "figure": (
        "&Figure for a paper…",
        "Slide, map, highest patches and legend, 183 mm wide, 300 dpi",
        "figure",
        (PDF, SVG, PNG),
    ),
    "overlay": (
        "&Picture of the map…",
        "The slide and the map over it, with legend and scale bar",
        "map",
        (PNG, PDF, TIFF),
    ),
    "contact-sheet": (
        "&Sheet of the top patches…",
        "The highest patches side by side with their scores",
        "patches",
        (PNG, JPEG),
    ),
    "hot-spots": (
        "&Hot spots for QuPath…",
        "Each region above the threshold as an annotation with area, peak and mean",
        "hot-spots",
        (GEOJSON, GEOJSON_GZ),
    ),
    "outline": (
        "&Outline for QuPath…",
        "The outline of all patches shown, as one annotation",
        "outline",
        (GEOJSON, GEOJSON_GZ),
    ),
    "tiles": (
        "&Tiles for QuPath…",
        "Each patch shown as a coloured tile with its score",
        "tiles",
        (GEOJSON, GEOJSON_GZ),
    ),
    "ome-tiff": (
        "Scores as OME-TI&FF…",
        "Every raw score as a channel, one pixel per patch, for ImageJ and Python",
        "scores",
        (OME_TIFF,),
    ),
    "table": (
        "Ta&ble of all patches…",
        "One row per patch: place, all scores, rank, tags",
        "patches",
        (CSV,),
    ),
    "everything": ("&All of these into a folder…", "Everything above, in a new folder", "", ()),
}


USUAL_PX = ExportOptions().max_px
_SIZES = (4_800, LARGEST_PX, 20_000)
"""Pixels along the longer edge of larger pictures of the map; as scanned besides."""


class ExportMenu(QMenu):
    """Choose what to write, and where.

    Parameters
    ----------
    parent : QWidget
        Qt parent.
    """

    picked = Signal(str, object, int)
    """What (see `Wanted`), the file or folder, and the long edge of the picture of the map in pixels."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__("Export", parent)
        self.setToolTipsVisible(True)
        self._overlay: Overlay | None = None
        self.entries: dict[Wanted, QAction] = {}
        for wanted, (label, tip, _, _) in _ENTRIES.items():
            if wanted == "everything":
                self.addSeparator()
            entry = self.addAction(label)
            entry.setToolTip(tip)
            entry.triggered.connect(lambda _=False, wanted=wanted: self._pick(wanted))
            self.entries[wanted] = entry
            if wanted == "overlay":
                self.larger = self.addMenu("Picture of the map, &larger")
                self.larger.setToolTipsVisible(True)
        self.aboutToShow.connect(self._offer)

    def show_overlay(self, overlay: Overlay | None) -> None:
        """Offer what can be written of this map."""
        self._overlay = overlay

    def _offer(self) -> None:
        """Hot spots need a threshold; how large a picture can be depends on the slide."""
        self._offer_sizes()
        chosen = self._overlay is not None and not self._overlay.shows_all
        self.entries["hot-spots"].setEnabled(chosen)
        tip = _ENTRIES["hot-spots"][1] if chosen else "Hot spots are regions above a threshold: choose one first"
        self.entries["hot-spots"].setToolTip(tip)

    def _offer_sizes(self) -> None:
        self.larger.clear()
        self.larger.setEnabled(self._overlay is not None)
        if self._overlay is None:
            return
        scanned = as_scanned_px(self._overlay.map)
        for px in [size for size in _SIZES if size < scanned]:
            self._offer_size(f"{px:,} pixels…", "Of its longer edge", px)
        tip = "One pixel for each of the slide's, as PNG. How large the file will be is estimated first."
        self._offer_size(f"As &scanned, {scanned:,} pixels…", tip, scanned)

    def _offer_size(self, label: str, tip: str, px: int) -> None:
        entry = self.larger.addAction(label)
        entry.setToolTip(tip)
        entry.triggered.connect(lambda _=False: self._pick("overlay", px))

    def _pick(self, wanted: Wanted, max_px: int = USUAL_PX) -> None:
        if self._overlay is None:
            return
        path = self.ask(wanted, slide_name(self._overlay.map.slide.path), max_px)
        if path is not None:
            self.picked.emit(wanted, path, max_px)

    def ask(self, wanted: Wanted, stem: str, max_px: int = USUAL_PX) -> Path | None:
        """Ask for the file, or the folder, to write to; None where the person changed their mind."""
        label, _, called, kinds = _ENTRIES[wanted]
        if wanted == "overlay" and max_px > LARGEST_PX:
            kinds = (PNG,)
        title = label.replace("&", "").rstrip("…")
        if not kinds:
            folder = QFileDialog.getExistingDirectory(self.parentWidget(), title)
            return Path(folder) if folder else None
        return ask_where(self.parentWidget(), title, f"{stem} {called}{kinds[0].endings[0]}", kinds)
