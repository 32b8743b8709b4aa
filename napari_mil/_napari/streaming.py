"""Showing a slide while it is being read: what is at hand at once, the rest as it comes, never a window that waits.

napari slices a layer in the thread of the window. A slide's levels therefore answer napari within `WAIT_S`: with the
very pixels where these are decoded in time, as they mostly are, else with coarser ones, and the layer is sliced again
when the others have come. Whoever else slices ``layer.data`` (the console, other plugins, saving) gets the very pixels,
and waits for them.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, QTimer, Signal

from ..slides import PyramidLevel, spans

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray

    from ..slides import Faults, Slide

WAIT_S = 0.03
"""The window waits so long for tiles. Decoding a fresh screen of JPEG tiles on four cores takes 10 ms; drawing twice,
which waiting too little brings, costs more than that."""

_FIRST_WAIT_S = 0.3
"""Once per slide, for the level that stands in for all others."""

_EXPECT_MS = 2000
"""A layer made from the levels is in a window after so long, or never."""

_REFRESH_MS = 60
_MOST_REFRESHES = 100
"""Of one view: a cache too small for it would have tiles come and go for ever."""


class Stream(QObject):
    """What the levels of one layer share: whether they may answer at once, and what is still to come.

    Parameters
    ----------
    slide : Slide
        Whose levels.
    faults : Faults
        What could not be read of them.
    """

    _arrived = Signal()

    def __init__(self, slide: Slide, faults: Faults) -> None:
        super().__init__()
        self.slide = slide
        self._faults = faults
        self._layer: Image | None = None
        self._expected = True
        self._futures: set[Future[object]] = set()
        self._box: tuple[int, ...] = ()
        self._refreshes = 0
        self._middle: tuple[float, float] | None = None
        self._overview_pending: list[Future[object]] = []
        self._overview_wait_s = _FIRST_WAIT_S
        self._told = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REFRESH_MS)
        self._timer.timeout.connect(self._refresh)
        self._arrived.connect(self._schedule)
        QTimer.singleShot(_EXPECT_MS, self._stop_expecting)

    def __deepcopy__(self, memo: dict[int, Any]) -> Stream:
        """Return one for another layer of the same slide, which is open once."""
        return Stream(self.slide, self._faults)

    @property
    def live(self) -> bool:
        """Whether a layer in a window shows the levels, or is about to."""
        return self._expected or self._layer is not None

    @property
    def waiting(self) -> bool:
        """Whether what is shown is still to be replaced by finer pixels."""
        return self._timer.isActive() or not all(future.cancelled() for future in tuple(self._futures))

    def start(self, layer: Image) -> None:
        """Answer at once from now on, and slice the layer again when more has come."""
        self._layer = layer
        if self._futures or len(self._faults):
            self._schedule()

    def stop(self, *, rest: bool = True) -> None:
        """Answer exactly from now on; release the slide's file and tiles until it is read again.

        Parameters
        ----------
        rest : bool
            False keeps file and tiles, for a slide that another layer goes on showing.
        """
        self._layer, self._expected = None, False  # a timer still running finds nothing to do
        if rest:
            self.slide.rest()

    def show(self, level: PyramidLevel, row: int, col: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return a window of a level as it can be shown now, and see to it that the rest follows."""
        box = (id(level), row, col, height, width)
        if box != self._box:
            self._box, self._refreshes = box, 0
        rgb, pending = level.glimpse(row, col, height, width, wait_s=WAIT_S)
        self._follow(pending)
        l0_per_px = self.slide.shape[0] / level.shape[0]
        middle = (row + height / 2) * l0_per_px, (col + width / 2) * l0_per_px
        heading = (0.0, 0.0) if self._middle is None else (middle[0] - self._middle[0], middle[1] - self._middle[1])
        self._middle = middle
        level.prefetch(row, col, height, width, heading)
        return rgb

    def overview(self, level: PyramidLevel) -> NDArray[np.uint8]:
        """Return a whole level, which napari keeps for its thumbnail; where it is not ready, as far as it is."""
        wait_s, self._overview_wait_s = self._overview_wait_s, WAIT_S
        rgb, pending = level.glimpse(0, 0, *level.shape[:2], wait_s=wait_s, group="overview")
        self._overview_pending = pending
        self._follow(pending)
        return rgb

    def _follow(self, pending: list[Future[object]]) -> None:
        self._futures.difference_update([future for future in tuple(self._futures) if future.cancelled()])
        self._futures.update(pending)
        for future in pending:
            future.add_done_callback(self._done)
        if len(self._faults) and not self._told:
            self._arrived.emit()  # napari may slice in a thread of its own, where no timer can be started

    def _done(self, future: Future[object]) -> None:
        if future.cancelled():
            return
        try:
            self._arrived.emit()  # from the thread that decoded; Qt hands it to the window's
        except RuntimeError:
            return  # the window has gone

    def _schedule(self) -> None:
        if self._layer is None:
            return
        # only here, in the window's thread: of a tile that is done the window may not have heard yet
        self._futures.difference_update([future for future in tuple(self._futures) if future.done()])
        if not self._timer.isActive():
            self._timer.start()

    def _refresh(self) -> None:
        layer = self._layer
        if layer is None or self._refreshes >= _MOST_REFRESHES:
            return
        self._refreshes += 1
        if any(future.done() for future in self._overview_pending):
            # napari keeps the overview it was given first, until the data are set anew
            layer.data = list(layer.data)
        else:
            layer.refresh(extent=False, thumbnail=False, highlight=False)
        self._tell()

    def _stop_expecting(self) -> None:
        self._expected = False

    def _tell(self) -> None:
        """Say once that some of the slide cannot be read."""
        count = len(self._faults)
        if count and not self._told:
            self._told = True
            show_warning(
                f"Some places of {self.slide.name} cannot be read ({count} so far); they are drawn as grey stripes. "
                "The file may be damaged: copy it again from the scanner, or check that its drive is connected."
            )


class ScreenLevel:
    """A level for napari: exact to all, and at once to napari's own slicing while a window shows it.

    Parameters
    ----------
    level : PyramidLevel
        The level.
    stream : Stream
        Shared by all levels of the layer.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(self, level: PyramidLevel, stream: Stream) -> None:
        self._level, self.stream = level, stream
        self.shape, self.chunks, self.size = level.shape, level.chunks, level.size

    def __repr__(self) -> str:
        return repr(self._level)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return the same level for another layer: napari copies what it is to duplicate."""
        return type(self)(self._level, deepcopy(self.stream, memo))

    @property
    def level(self) -> PyramidLevel:
        """The level that this shows."""
        return self._level

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self.stream.live and _asked_by_napari():
            return np.asarray(self.stream.overview(self._level), dtype=dtype)
        return np.asarray(self._level, dtype=dtype)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        if not (self.stream.live and _asked_by_napari()):
            return self._level[key]
        (top, height, rows), (left, width, cols), channel = spans(key, self.shape)
        result: NDArray[np.uint8] = self.stream.show(self._level, top, left, height, width)[rows, cols, channel]
        return result


def screen_levels(slide: Slide, *, srgb: bool) -> list[ScreenLevel]:
    """Return a slide's levels for a layer.

    Parameters
    ----------
    slide : Slide
        An open slide.
    srgb : bool
        Whether to show the colours that the file's profile gives.

    Returns
    -------
    list of ScreenLevel
        Finest first.
    """
    levels = slide.levels(srgb=srgb)
    stream = Stream(slide, levels[0].faults)
    return [ScreenLevel(level, stream) for level in levels]


def stream_of(layer: Any) -> Stream | None:
    """Return what feeds a layer, or None for one that shows no slide.

    Parameters
    ----------
    layer : napari layer
        Any layer.

    Returns
    -------
    Stream or None
        Its levels' stream.
    """
    data: Any = getattr(layer, "data", None)
    first = data[0] if getattr(layer, "multiscale", False) and len(data) else None
    return first.stream if isinstance(first, ScreenLevel) else None


def coarsest_level(layer: Any) -> PyramidLevel | None:
    """Return a slide's overview in the colours that its layer shows, or None for a layer that shows no slide.

    Parameters
    ----------
    layer : napari layer
        Any layer.

    Returns
    -------
    PyramidLevel or None
        The coarsest level: the very one that napari draws, so that it is made once.
    """
    last = layer.data[-1] if getattr(layer, "multiscale", False) and len(layer.data) else None
    if isinstance(last, ScreenLevel):
        return last.level
    return last if isinstance(last, PyramidLevel) else None


def _asked_by_napari() -> bool:
    """Tell whether the caller's caller is napari's slicing.

    By the module of the calling frame: slicing runs in the window's thread or, when asynchronous, in one of napari's
    own, so that neither thread nor any state we could set tells it from other callers in all cases.
    """
    return str(sys._getframe(2).f_globals.get("__name__", "")).startswith("napari.layers.")
