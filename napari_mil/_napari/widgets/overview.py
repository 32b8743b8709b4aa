"""The overview: the whole slide in small, what part of it is seen, how far in, and which slide of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from ..keys import FIT_KEY, NEXT_KEY, PREVIOUS_KEY, ZOOM_KEYS
from ..layers import mpp_of, slide_of
from ..magnification import PRESETS
from ..streaming import coarsest_level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer
    from numpy.typing import NDArray

_POLL_MS = 150
# with napari's own docks above it, all of the column is seen on a screen of 768 lines; a layer to paint in, such as a
# tissue mask, has taller controls
_HEIGHT_PX, _LEAST_PX = 108, 76
_ACCENT = QColor(0, 122, 204)


class Thumbnail(QWidget):
    """The whole slide in small with a frame around what the canvas shows; click or drag to go somewhere.

    Attributes
    ----------
    asked_for : Signal(float, float)
        (row, col) that the mouse asks the view to go to, as parts of the slide's height and width.
    """

    asked_for = Signal(float, float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumHeight(_LEAST_PX)
        self.setMaximumHeight(_HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip("Click or drag to move the view.")
        self._image: QImage | None = None
        self._view = QRectF()

    def sizeHint(self) -> QSize:
        """Return the preferred size."""
        return QSize(220, _HEIGHT_PX)

    def show_picture(self, rgb: NDArray[np.uint8] | None) -> None:
        """Show a slide's picture, (h, w, 3) uint8; None clears."""
        if rgb is None:
            self._image = None
        else:
            pixels = np.ascontiguousarray(rgb)
            height, width = pixels.shape[:2]
            self._image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        self.update()

    def show_view(self, top: float, left: float, height: float, width: float) -> None:
        """Frame what is seen, as parts of the slide's height and width."""
        self._view = QRectF(left, top, width, height)
        self.update()

    @property
    def frame(self) -> QRectF:
        """What is framed, in this widget's pixels."""
        area = self._area()
        return QRectF(
            area.left() + self._view.left() * area.width(),
            area.top() + self._view.top() * area.height(),
            self._view.width() * area.width(),
            self._view.height() * area.height(),
        )

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the picture and the frame."""
        if self._image is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        area = self._area()
        painter.drawImage(area, self._image)
        painter.setClipRect(area)
        frame = self.frame
        if frame.width() < 8 or frame.height() < 8:  # far in, a frame alone could not be found
            frame = QRectF(frame.center() - QPointF(4, 4), frame.center() + QPointF(4, 4))
        painter.setPen(QPen(_ACCENT, 2))
        painter.drawRect(frame)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go where the mouse is."""
        self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Follow a drag."""
        self._go(event)

    def _go(self, event: QMouseEvent) -> None:
        area = self._area()
        if self._image is None or not area.width() or not event.buttons() & Qt.MouseButton.LeftButton:
            return
        at = event.position()
        row, col = (at.y() - area.top()) / area.height(), (at.x() - area.left()) / area.width()
        self.asked_for.emit(min(1.0, max(0.0, row)), min(1.0, max(0.0, col)))

    def _area(self) -> QRectF:
        """Return where the picture lies: as large as fits, in the middle."""
        if self._image is None:
            return QRectF()
        size = self._image.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        return QRectF(
            (self.width() - size.width()) / 2, (self.height() - size.height()) / 2, size.width(), size.height()
        )


class Overview(QWidget):
    """The dock beside the canvas.

    Attributes
    ----------
    moved_to : Signal(float, float)
        Where the view is to go, (row, col) as parts of the slide.
    magnified : Signal(float)
        Which magnification was asked for; 0 for the whole slide.
    chosen : Signal(object)
        The layer of the slide that is to be shown.
    stepped : Signal(int)
        1 for the next slide in the folder, -1 for the one before.
    details : Signal()
        The slide's details were asked for.
    """

    moved_to = Signal(float, float)
    magnified = Signal(float)
    chosen = Signal(object)
    stepped = Signal(int)
    details = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers: list[Layer] = []
        self._layer: Layer | None = None
        self.slides = QComboBox(self)
        self.slides.setToolTip("The slides that are open; each is shown with its own maps and outlines.")
        self.slides.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.slides.setMinimumContentsLength(8)
        self.slides.activated.connect(lambda index: self.chosen.emit(self._layers[index]))
        self.previous = _button("<", f"{PREVIOUS_KEY.does} ({_shown(PREVIOUS_KEY.combination)})", self)
        self.next = _button(">", f"{NEXT_KEY.does} ({_shown(NEXT_KEY.combination)})", self)
        self.previous.clicked.connect(lambda: self.stepped.emit(-1))
        self.next.clicked.connect(lambda: self.stepped.emit(1))
        self.thumbnail = Thumbnail(self)
        self.thumbnail.asked_for.connect(self.moved_to)
        self.fit = _button("Fit", f"{FIT_KEY.does} ({_shown(FIT_KEY.combination)})", self)
        self.fit.clicked.connect(lambda: self.magnified.emit(0.0))
        self.zooms = [_button(f"{preset:g}x", "", self) for preset in PRESETS]
        for button, preset in zip(self.zooms, PRESETS, strict=True):
            button.clicked.connect(lambda _=False, preset=preset: self.magnified.emit(preset))
        self.about = _button(
            "Details", "Size, scale, scanner and all that the file says of itself; its label on request.", self
        )
        self.about.clicked.connect(self.details)
        self._lay_out()
        self._poll = QTimer(self)
        self._poll.setSingleShot(True)
        self._poll.setInterval(_POLL_MS)
        self._poll.timeout.connect(self._picture)
        self.show_slides([], None)

    def _lay_out(self) -> None:
        top, zooms, whole = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        for part in (self.previous, self.slides, self.next, self.about):
            top.addWidget(part, 1 if part is self.slides else 0)
        zooms.setSpacing(2)
        for button in (self.fit, *self.zooms):
            zooms.addWidget(button, 1)
        whole.setContentsMargins(6, 4, 6, 4)
        whole.setSpacing(4)
        whole.addLayout(top)
        whole.addWidget(self.thumbnail)
        whole.addLayout(zooms)

    def show_slides(self, layers: Sequence[Layer], front: Layer | None) -> None:
        """List the open slides, and show the one in front."""
        self._layers = list(layers)
        self.slides.clear()
        self.slides.addItems([layer.name for layer in layers])
        self.slides.setCurrentIndex(self._layers.index(front) if front in self._layers else -1)
        for widget in (self.slides, self.previous, self.next, self.fit, self.about):
            widget.setEnabled(front is not None)
        scaled = front is not None and mpp_of(front) is not None
        for button, key in zip(self.zooms, ZOOM_KEYS, strict=True):
            button.setEnabled(scaled)
            why = "" if scaled else " — needs the slide's scale: set it in the Run tab" if front is not None else ""
            button.setToolTip(f"{key.does} ({_shown(key.combination)}){why}")
        if front is not self._layer:
            self._layer = front
            self._picture()

    def show_view(self, top: float, left: float, height: float, width: float) -> None:
        """Frame what is seen, as parts of the slide's height and width."""
        self.thumbnail.show_view(top, left, height, width)

    def renew(self, layer: Layer) -> None:
        """Draw a slide anew, should it be the one in front: its layer shows other colours now."""
        if layer is self._layer:
            self._picture()

    def leave(self, layer: Layer) -> None:
        """Let go of a slide that is removed or put aside, before its file is released: not to be read any more."""
        if layer is self._layer:
            self._poll.stop()
            self._layer = None
            self.thumbnail.show_picture(None)

    def _picture(self) -> None:
        """Show what there is of the slide's coarsest level, and look again while it is being made."""
        slide = slide_of(self._layer)
        level = coarsest_level(self._layer)
        if slide is None or slide.closed or level is None:
            self.thumbnail.show_picture(None)
            return
        rgb, pending = level.glimpse(0, 0, *level.shape[:2], wait_s=0.0, group="thumbnail")
        self.thumbnail.show_picture(rgb)
        if pending:
            self._poll.start()


def _button(text: str, tip: str, parent: QWidget) -> QPushButton:
    button = QPushButton(text, parent)
    button.setToolTip(tip)
    button.setMinimumWidth(10)
    button.setStyleSheet("padding: 2px 3px;")
    return button


def _shown(combination: str) -> str:
    return combination.replace("-", "+", 1)
