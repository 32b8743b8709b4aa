"""The patches of the gallery as a list: which they are, their scores, pictures, ticks and tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractListModel, QModelIndex, QObject, Qt
from qtpy.QtGui import QColor

from ...maps import PatchMark, PatchPlace, patch_words
from ..overlay_data import axis_limits, axis_place
from ..thumbnails import Square, Thumbnails

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..overlay import Overlay
    from ..tags import TagBook

PICTURE_PX = 112
"""Edge of a picture on a screen of usual density."""

PICTURE = Qt.ItemDataRole.UserRole + 1
COLOUR = Qt.ItemDataRole.UserRole + 2
TAGS = Qt.ItemDataRole.UserRole + 3
FIELD = Qt.ItemDataRole.UserRole + 4


class PatchModel(QAbstractListModel):
    """Patches of one map in a given order; a picture is asked for when its place comes into sight.

    Parameters
    ----------
    pictures : Thumbnails
        Where they come from.
    book : TagBook
        Where ticks and tags are kept.
    parent : QObject
        Qt parent.
    """

    def __init__(self, pictures: Thumbnails, book: TagBook, parent: QObject) -> None:
        super().__init__(parent)
        self._pictures, self._book = pictures, book
        self._overlay: Overlay | None = None
        self._patches: NDArray[np.int64] = np.empty(0, np.int64)
        self._colours: list[QColor] = []
        self.field = 1
        self.density = 1.0
        pictures.arrived.connect(self._picture_came)

    @property
    def overlay(self) -> Overlay | None:
        """The map whose patches they are."""
        return self._overlay

    @property
    def patches(self) -> NDArray[np.int64]:
        """Positions in the map's grid, in order."""
        return self._patches

    def show(self, overlay: Overlay | None, patches: NDArray[np.int64]) -> None:
        """Show other patches.

        Parameters
        ----------
        overlay : Overlay or None
            The map and how it is shown.
        patches : (K,) int64
            Positions in its grid.
        """
        self._pictures.cancel()
        self.beginResetModel()
        self._overlay, self._patches = overlay, patches
        self._colours = [] if overlay is None else _colours(overlay, patches)
        self.endResetModel()

    def rescore(self) -> None:
        """Show the same patches with scores and colours as the map shows them now."""
        if self._overlay is not None:
            self._colours = _colours(self._overlay, self._patches)
            self._all_changed()

    def set_field(self, field: int) -> None:
        """Show so many times the patch's edge around its middle."""
        if field != self.field:
            self._pictures.cancel()
            self.field = field
            self._all_changed()

    def remark(self) -> None:
        """Show ticks and tags as they are now."""
        self._all_changed()

    def place(self, row: int) -> PatchPlace:
        """Return where a row's patch lies."""
        if self._overlay is None:
            raise IndexError("there are no patches")
        return PatchPlace.of(self._overlay.map.grid, int(self._patches[row]))

    def row_of(self, patch: int) -> int:
        """Return the row of a patch; -1 where it is not among them."""
        found = np.flatnonzero(self._patches == patch)
        return int(found[0]) if len(found) else -1

    def mark(self, row: int) -> PatchMark:
        """Return what was said of a row's patch."""
        if self._overlay is None:
            return PatchMark()
        return self._book.of(self._overlay.map.slide.quickhash).at(self.place(row))

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return how many patches there are."""
        return 0 if parent is not None and parent.isValid() else len(self._patches)

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Return that every patch can be chosen and ticked."""
        return super().flags(index) | Qt.ItemFlag.ItemIsUserCheckable

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what Qt asks for of a patch."""
        overlay, row = self._overlay, index.row()
        if overlay is None or not 0 <= row < len(self._patches):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return _score(overlay, int(self._patches[row]))
        if role == PICTURE:
            return self._pictures.get(self._square(overlay, int(self._patches[row])))
        if role == Qt.ItemDataRole.CheckStateRole:
            return Qt.CheckState.Checked if self.mark(row).ticked else Qt.CheckState.Unchecked
        if role == TAGS:
            return self.mark(row).tags
        if role == COLOUR:
            return self._colours[row]
        if role == FIELD:
            return self.field
        if role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole):
            return self._words(overlay, row)
        return None

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Tick a patch, or not."""
        if role != Qt.ItemDataRole.CheckStateRole or not index.isValid():
            return False
        self.tick([index.row()], Qt.CheckState(value) == Qt.CheckState.Checked)
        return True

    def tick(self, rows: Sequence[int], on: bool) -> None:
        """Tick patches, or not."""
        if self._overlay is not None:
            slide = self._overlay.map.slide.quickhash
            self._book.keep(slide, self._book.of(slide).ticked([self.place(row) for row in rows], on))

    def tag(self, rows: Sequence[int], tag: str, on: bool) -> None:
        """Put a tag on patches, or take it from them."""
        if self._overlay is not None:
            slide = self._overlay.map.slide.quickhash
            self._book.keep(slide, self._book.of(slide).tagged([self.place(row) for row in rows], tag, on))

    def _square(self, overlay: Overlay, patch: int) -> Square:
        """Return what is to be seen of a patch: itself in the middle of its field."""
        grid = overlay.map.grid
        margin = (self.field - 1) / 2 * grid.tile_l0
        row, col = (float(value) - margin for value in grid.l0_rc[patch])
        return Square(row, col, self.field * grid.tile_l0, round(PICTURE_PX * self.density))

    def _words(self, overlay: Overlay, row: int) -> str:
        patch, amap = int(self._patches[row]), overlay.map
        lines = [patch_words(amap, overlay.view, overlay.cuts, patch), _where(overlay, patch)]
        mark = self.mark(row)
        said = [*(["ticked"] if mark.ticked else []), *mark.tags]
        if said:
            lines.append(", ".join(said))
        picture = self._pictures.get(self._square(overlay, patch))
        if isinstance(picture, str):
            lines.append(picture)
        return "\n".join(lines)

    def _picture_came(self) -> None:
        # whoever shows them draws what is in sight anew; no row has changed its size
        self._all_changed()

    def _all_changed(self) -> None:
        if len(self._patches):
            self.dataChanged.emit(self.index(0), self.index(len(self._patches) - 1))


def _score(overlay: Overlay, patch: int) -> str:
    value = float(overlay.view.values[patch])
    return "none" if np.isnan(value) else format(value, score_form(overlay))


def score_form(overlay: Overlay) -> str:
    """Return how scores are written: ranks with the decimals that tell neighbours apart."""
    return f".{len(str(len(overlay.map)))}f" if overlay.view.scale.name == "rank" else ".3g"


def _where(overlay: Overlay, patch: int) -> str:
    amap = overlay.map
    row, col = (float(v) for v in amap.grid.l0_rc[patch])
    if amap.slide.mpp is None:
        return f"x {col:,.0f}  y {row:,.0f} px"
    mpp_y, mpp_x = amap.slide.mpp
    return f"x {col * mpp_x / 1000:.2f}  y {row * mpp_y / 1000:.2f} mm, {amap.grid.tile_um:,.0f} µm wide"


def _colours(overlay: Overlay, patches: NDArray[np.int64]) -> list[QColor]:
    """Return the colours that the map gives to patches."""
    from napari.utils.colormaps import ensure_colormap

    if not len(patches):
        return []
    low, high = axis_limits(overlay.view)
    places = np.array([axis_place(overlay.view, float(value)) for value in overlay.view.values[patches]])
    shares = np.clip((places - low) / max(high - low, 1e-12), 0, 1)
    rgba = ensure_colormap(overlay.colours).map(np.nan_to_num(shares))
    return [
        QColor.fromRgbF(*(float(x) for x in row[:3])) if np.isfinite(share) else QColor(0, 0, 0, 0)
        for row, share in zip(rgba, shares, strict=True)
    ]
