"""The thumbnails: a list that draws and reads only what is in sight, for the mouse and for the keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QModelIndex, QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPalette, QPen
from qtpy.QtWidgets import (
    QAbstractItemView,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from .gallery_model import COLOUR, FIELD, PICTURE, PICTURE_PX, TAGS

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent, QMouseEvent, QResizeEvent

    from .gallery_model import PatchModel

_ACCENT = QColor(0, 122, 204)
_PAD_PX = 4
_STRIP_PX = 3
_TICK_PX = 18
_LEAST_PX = 48
_KEYS = (Qt.Key.Key_N, Qt.Key.Key_P, Qt.Key.Key_Space, Qt.Key.Key_T)


class TileDelegate(QStyledItemDelegate):
    """Draws a patch: picture, the patch framed in a larger field, colour and score, tick, tags."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.edge_px = PICTURE_PX

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        """Return the same size for all."""
        height = self.edge_px + _STRIP_PX + option.fontMetrics.height() + 2 * _PAD_PX
        return QSize(self.edge_px + 2 * _PAD_PX, height)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Draw one patch."""
        painter.save()
        palette = option.palette
        box = self._picture_box(option.rect)
        self._draw_picture(painter, box, index, palette)
        strip = QRect(box.left(), box.bottom() + 1, box.width(), _STRIP_PX)
        painter.fillRect(strip, index.data(COLOUR))
        words = QRect(box.left(), strip.bottom() + 1, box.width(), option.fontMetrics.height())
        painter.setPen(palette.color(QPalette.ColorRole.Text))
        painter.drawText(words, Qt.AlignmentFlag.AlignCenter, index.data())
        self._draw_tags(painter, box, index.data(TAGS))
        self._draw_tick(painter, box, index.data(Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Checked)
        if option.state & QStyle.StateFlag.State_Selected:
            # a theme's own highlight is hardly seen around a picture
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(_ACCENT, 3))
            painter.drawRect(option.rect.adjusted(1, 1, -2, -2))
        painter.restore()

    def editorEvent(self, event: QEvent, model: PatchModel, option: QStyleOptionViewItem, index: QModelIndex) -> bool:
        """Tick on a click into the box; the click does nothing else."""
        kinds = (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease, QEvent.Type.MouseButtonDblClick)
        if event.type() not in kinds or not self.tick_box(option.rect).contains(event.pos()):
            return False
        if event.type() == QEvent.Type.MouseButtonRelease:
            on = index.data(Qt.ItemDataRole.CheckStateRole) != Qt.CheckState.Checked
            model.tick([index.row()], on)
        return True

    def tick_box(self, rect: QRect) -> QRect:
        """Return where in a patch's rectangle its tick is."""
        return QRect(self._picture_box(rect).topLeft(), QSize(_TICK_PX, _TICK_PX))

    def _picture_box(self, rect: QRect) -> QRect:
        return QRect(rect.left() + _PAD_PX, rect.top() + _PAD_PX, self.edge_px, self.edge_px)

    def _draw_picture(self, painter: QPainter, box: QRect, index: QModelIndex, palette: QPalette) -> None:
        picture = index.data(PICTURE)
        if isinstance(picture, QImage):
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(box, picture)
            field = index.data(FIELD)
            if field > 1:
                inner = QRect(0, 0, round(box.width() / field), round(box.height() / field))
                inner.moveCenter(box.center())
                for colour, width in ((QColor(255, 255, 255), 3), (QColor(13, 13, 13), 1)):
                    painter.setPen(QPen(colour, width))
                    painter.drawRect(inner)
            return
        painter.fillRect(box, QColor(128, 128, 128, 60))  # on light and dark alike
        painter.setPen(palette.color(QPalette.ColorRole.Text))
        words = "cannot\nbe read" if isinstance(picture, str) else "…"
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, words)

    def _draw_tags(self, painter: QPainter, box: QRect, tags: tuple[str, ...]) -> None:
        if not tags:
            return
        metrics = painter.fontMetrics()
        band = QRect(box.left(), box.bottom() + 1 - metrics.height(), box.width(), metrics.height())
        painter.fillRect(band, QColor(20, 20, 20, 200))
        painter.setPen(QColor(255, 255, 255))
        text = metrics.elidedText(", ".join(tags), Qt.TextElideMode.ElideRight, band.width() - 4)
        painter.drawText(band.adjusted(2, 0, -2, 0), Qt.AlignmentFlag.AlignVCenter, text)

    def _draw_tick(self, painter: QPainter, box: QRect, ticked: bool) -> None:
        # drawn over pictures, so in colours of its own whatever the theme
        tick = QRect(box.left() + 2, box.top() + 2, _TICK_PX - 4, _TICK_PX - 4)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(30, 30, 30), 1))
        painter.setBrush(_ACCENT if ticked else QColor(255, 255, 255, 150))
        painter.drawRoundedRect(tick, 2, 2)
        if ticked:
            painter.setPen(QPen(QColor(255, 255, 255), 2))
            x, y, w = tick.left(), tick.top(), tick.width()
            painter.drawPolyline(
                [
                    QPoint(x + w // 5, y + w // 2),
                    QPoint(x + 2 * w // 5, y + 3 * w // 4),
                    QPoint(x + 4 * w // 5, y + w // 4),
                ]
            )


class PatchList(QListView):
    """The thumbnails.

    Signals: ``flown`` (a patch is to be gone to), ``stepped`` (1 or -1), ``toggled`` (tick what is selected),
    ``tag_wanted``.
    """

    flown = Signal()
    stepped = Signal(int)
    toggled = Signal()
    tag_wanted = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAccessibleName("Patches")
        self.setFlow(QListView.Flow.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerItem)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setMinimumHeight(_LEAST_PX)
        self.tile = TileDelegate(self)
        self.setItemDelegate(self.tile)

    def event(self, event: QEvent) -> bool:
        """Claim the list's own keys: the window has shortcuts of single letters."""
        if event.type() == QEvent.Type.ShortcutOverride and event.key() in _KEYS and not event.modifiers():
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """N and P go to the next and the one before, Enter goes there, Space ticks, T tags; arrows choose."""
        key = event.key()
        if key in (Qt.Key.Key_N, Qt.Key.Key_P):
            self.stepped.emit(1 if key == Qt.Key.Key_N else -1)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.flown.emit()
        elif key == Qt.Key.Key_Space:
            self.toggled.emit()
        elif key == Qt.Key.Key_T and not event.modifiers():
            self.tag_wanted.emit()
        else:
            super().keyPressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Go to the patch that was clicked, but not while several are being chosen or one is ticked."""
        super().mouseReleaseEvent(event)
        at = self.indexAt(event.pos())
        plain = event.button() == Qt.MouseButton.LeftButton and not event.modifiers()
        if plain and at.isValid() and not self.tile.tick_box(self.visualRect(at)).contains(event.pos()):
            self.flown.emit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit a whole row of pictures into a low dock."""
        words = self.fontMetrics().height() + _STRIP_PX + 2 * _PAD_PX + 2
        edge = min(max(self.viewport().height() - words, _LEAST_PX), PICTURE_PX)
        if edge != self.tile.edge_px:
            self.tile.edge_px = edge
            self.scheduleDelayedItemsLayout()
        super().resizeEvent(event)
