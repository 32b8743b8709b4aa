"""Small pictures of patches, read beside the window: what was looked at last comes first, what is not wanted never."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QImage

from ..errors import NapariMilError

if TYPE_CHECKING:
    from ..slides import Slide

_THREADS = 2
_CACHE_BYTES = 64_000_000
_MOST_WANTED = 256
"""More than any screen shows at once: who scrolls on waits for nothing that has been passed."""


@dataclass(frozen=True, slots=True)
class Square:
    """A square of a slide at a size on the screen.

    Parameters
    ----------
    l0_row, l0_col : float
        Top-left corner, level-0 pixels.
    edge_l0 : float
        Edge, level-0 pixels.
    out_px : int
        Edge of the picture.
    """

    l0_row: float
    l0_col: float
    edge_l0: float
    out_px: int


class Thumbnails(QObject):
    """Pictures of squares of one slide at a time.

    Parameters
    ----------
    parent : QObject
        Who shows them.
    """

    arrived = Signal()
    _read = Signal(object, object, object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._threads = ThreadPoolExecutor(_THREADS, "napari-mil-thumbnail")
        self._lock = threading.Lock()
        self._source: tuple[Slide, bool] | None = None
        self._wanted: OrderedDict[Square, None] = OrderedDict()
        self._reading: set[Square] = set()
        self._kept: OrderedDict[Square, QImage | str] = OrderedDict()
        self._bytes = 0
        self._read.connect(self._keep)

    @property
    def waiting(self) -> bool:
        """Whether pictures that were asked for are still to come."""
        with self._lock:
            return bool(self._wanted or self._reading)

    @property
    def kept(self) -> int:
        """How many pictures are at hand."""
        return len(self._kept)

    def follow(self, slide: Slide | None, *, srgb: bool) -> bool:
        """Read another slide from now on, or none; what was asked for of the one before is dropped.

        Parameters
        ----------
        slide : Slide or None
            An open slide.
        srgb : bool
            Whether to show the colours that its profile gives.

        Returns
        -------
        bool
            Whether it is another than before.
        """
        source = None if slide is None else (slide, srgb)
        if source == self._source:
            return False
        with self._lock:
            self._source = source
            self._wanted.clear()
            self._reading.clear()
        self._kept.clear()
        self._bytes = 0
        return True

    def stop(self) -> None:
        """Let go of the slide."""
        self.follow(None, srgb=False)

    def cancel(self) -> None:
        """Begin no more of what was asked for."""
        with self._lock:
            self._wanted.clear()

    def close(self) -> None:
        """Let go of the slide and end the threads."""
        self.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def get(self, square: Square) -> QImage | str | None:
        """Return a picture, or why there is none; None where it is still to come, which `arrived` tells.

        Parameters
        ----------
        square : Square
            Of the slide that is followed.

        Returns
        -------
        QImage or str or None
            From memory.
        """
        found = self._kept.get(square)
        if found is not None:
            self._kept.move_to_end(square)
            return found
        with self._lock:
            if self._source is None or square in self._reading:
                return None
            new = square not in self._wanted
            self._wanted[square] = None
            self._wanted.move_to_end(square)
            while len(self._wanted) > _MOST_WANTED:
                self._wanted.popitem(last=False)
        if new:
            self._threads.submit(self._read_next)
        return None

    def _read_next(self) -> None:
        """Read what was asked for last; in a thread."""
        with self._lock:
            if not self._wanted or self._source is None:
                return
            square, _ = self._wanted.popitem()
            self._reading.add(square)
            source = self._source
        result = _picture(*source, square)
        try:
            self._read.emit(source, square, result)
        except RuntimeError:
            return  # the window has gone

    def _keep(self, source: tuple[Slide, bool], square: Square, result: QImage | str) -> None:
        with self._lock:
            if source is not self._source:
                return
            self._reading.discard(square)
        self._kept[square] = result
        self._bytes += _size(square)
        while self._bytes > _CACHE_BYTES and len(self._kept) > 1:
            old, _ = self._kept.popitem(last=False)
            self._bytes -= _size(old)
        self.arrived.emit()


def _size(square: Square) -> int:
    return 4 * square.out_px**2


def _picture(slide: Slide, srgb: bool, square: Square) -> QImage | str:
    """Return a picture, or in words why there is none."""
    try:
        rgb = slide.read_patch(square.l0_row, square.l0_col, square.edge_l0, square.out_px)
    except NapariMilError as error:
        return str(error)
    except Exception as error:  # a thread's errors reach nobody else
        return f"This place cannot be read ({error})."
    rgb = np.ascontiguousarray(slide.to_srgb(rgb) if srgb else rgb)
    return QImage(rgb.data, square.out_px, square.out_px, 3 * square.out_px, QImage.Format.Format_RGB888).copy()
