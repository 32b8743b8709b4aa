"""The map of a run that is still going: what the patches so far say, and of which patches more is wanted.

A run tells of its patches (`LiveMap.take`) and asks which it should read next (`LiveMap.priority`); a thread of its own
computes the map of the bag of these patches; whoever shows it takes the `latest`. None of them waits for another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import NapariMilError
from ._coarse import fill_between
from ._legend import DISCLAIMER
from ._limits import limits_words
from ._raster import Painter, Raster

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..features import EncoderInfo
    from ..models import MILModel
    from ..slides import SlideRef
    from ..tiling import TileGrid
    from ._live_bag import LiveBag
    from ._map import AttentionMap, MapView

_PAUSE_S = 0.2
"""Least time from one map to the next: about five a second are drawn."""
_REST = 3.0
"""Of its time the thread rests at least three quarters: cores are there for the encoder."""


@dataclass(frozen=True, slots=True, eq=False)
class ProvisionalMap:
    """What a run has found so far, ready to be drawn.

    Parameters
    ----------
    map : AttentionMap
        Of the bag of the patches read so far: its grid holds these alone.
    total : int
        Patches of the slide.
    view : MapView
        What is shown of it: the model's own score on its usual scale, for the class predicted so far.
    raster : Raster
        The values as shown, where they will lie in the end; between patches that of the nearest one, NaN far from all.
    strength : (rows, cols) float32
        1 where a patch was read, less the farther the nearest one is, 0 where nothing is shown.
    settled : bool
        Whether this is the last before the end, because the next would take too long.
    """

    map: AttentionMap
    total: int
    view: MapView
    raster: Raster
    strength: NDArray[np.float32]
    settled: bool

    @property
    def sentence(self) -> str:
        """How much of the slide it is of."""
        return f"Provisional: {len(self.map):,} of {self.total:,} patches"

    def legend(self) -> str:
        """Return the words beside it, the last of which say what it is not.

        Returns
        -------
        str
            Lines of text.
        """
        model = self.map.model.title or self.map.model.pooling
        waits = ["The whole map comes at the end."] if self.settled else []
        return "\n".join(
            [
                self.sentence,
                f"So far: {self.map.prediction.sentence}",
                *waits,
                model,
                self.view.title,
                f"Scale: {self.view.scale.title}",
                *([words] if (words := limits_words(self.view)) else []),
                "Pale cells are not read yet: they show the nearest patch",
                DISCLAIMER,
            ]
        )


class LiveMap:
    """The map of one run while it is going. All methods may be called from any thread and answer at once.

    Give it to `iter_run`, or let a run of one's own follow: ``with live.following(...)``.
    """

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._ended = False
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        self._wanted: NDArray[np.generic] | None = None
        self._grid: TileGrid | None = None
        self._latest: ProvisionalMap | None = None

    @property
    def grid(self) -> TileGrid | None:
        """The tiles of the run; None before they are laid and after the end."""
        return self._grid

    @property
    def latest(self) -> ProvisionalMap | None:
        """What was found so far; None before there is anything and after the end."""
        return self._latest

    def want(self, wanted: NDArray[np.generic] | None) -> None:
        """Ask for some patches first.

        Parameters
        ----------
        wanted : (N,) array or None
            How much each tile of `grid` is wanted; None where none more than others. It must not be changed later.

        Raises
        ------
        ValueError
            If there is not one number a tile.
        """
        grid = self._grid
        if wanted is not None and grid is not None and wanted.shape != (len(grid),):
            raise ValueError(f"wanted must be ({len(grid)},), not {wanted.shape}")
        self._wanted = wanted

    def priority(self) -> NDArray[np.generic] | None:
        """Return how much each tile is wanted, as `iter_extract` asks."""
        return self._wanted

    def take(self, tiles: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Take the features of patches that were read, as `iter_extract` tells.

        Parameters
        ----------
        tiles : (n,) int64
            Their places in the grid.
        values : (n, D) float32
            Their features; they must not be changed later.
        """
        with self._news:
            self._parts.append((tiles, values))
            self._news.notify()

    @contextmanager
    def following(
        self, models: Sequence[MILModel], grid: TileGrid, slide: SlideRef, encoder: EncoderInfo
    ) -> Iterator[None]:
        """Compute maps while the run goes on inside; afterwards nothing of them is left, and the models are free.

        What a model cannot say of few patches, or of these, is no fault of the run: maps stop coming, and the run's own
        end tells.

        Parameters
        ----------
        models : sequence of MILModel
            One, or several to take together; used where they are, in evaluation mode, and by nobody else meanwhile.
        grid : TileGrid
            The tiles.
        slide : SlideRef
            Which slide.
        encoder : EncoderInfo
            What makes the features.
        """
        from ._live_bag import live_bag

        bag = live_bag(models, grid, slide, encoder)
        self._parts, self._ended, self._latest, self._wanted = [], False, None, None
        self._grid = grid
        thread = threading.Thread(target=self._keep_up, args=(bag, grid), name="napari-mil-live", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with self._news:
                self._ended = True
                self._news.notify()
            thread.join()
            self._grid = self._latest = self._wanted = None
            self._parts = []

    def _keep_up(self, bag: LiveBag, grid: TileGrid) -> None:
        painter, pause = Painter(grid), 0.0
        while self._wait(pause):
            with self._news:
                parts, self._parts = self._parts, []
            began = time.perf_counter()
            try:
                found = bag.add(parts)
            except (NapariMilError, RuntimeError, MemoryError):  # PyTorch raises RuntimeError for everything
                bag.settled = True
                found = None
            if found is not None:
                self._latest = _drawn(*found, painter, len(grid))
            if bag.settled:
                if self._latest is not None:
                    self._latest = replace(self._latest, settled=True)
                return
            pause = max(_PAUSE_S, _REST * (time.perf_counter() - began))

    def _wait(self, pause: float) -> bool:
        """Wait so long and until there are new patches; tell whether the run goes on."""
        with self._news:
            self._news.wait_for(lambda: self._ended, timeout=pause)
            self._news.wait_for(lambda: self._ended or bool(self._parts))
            return not self._ended


def interest(
    grid: TileGrid,
    view_l0: tuple[float, float, float, float] | None = None,
    areas_l0_xy: Sequence[object] = (),
) -> NDArray[np.uint8] | None:
    """Return how much each tile is wanted: most where somebody drew, then where they look, then the rest.

    Parameters
    ----------
    grid : TileGrid
        The tiles.
    view_l0 : (float, float, float, float) or None
        Top, left, bottom and right of what is looked at, level-0 pixels.
    areas_l0_xy : sequence of shapely geometry
        What was drawn, (x, y) level-0 pixels.

    Returns
    -------
    (N,) uint8 or None
        2 for what was drawn and 1 more for what is looked at; None where all are wanted alike.
    """
    wanted = np.zeros(len(grid), np.uint8)
    if view_l0 is not None:
        low, high = np.array(view_l0[:2]), np.array(view_l0[2:])
        wanted[((grid.l0_rc + grid.tile_l0 > low) & (grid.l0_rc < high)).all(axis=1)] = 1
    if len(areas_l0_xy):
        import shapely

        # a tile that is only touched is part of what was drawn
        drawn = shapely.union_all(list(areas_l0_xy)).buffer(grid.tile_l0 / 2, quad_segs=2)
        shapely.prepare(drawn)
        middle = grid.l0_rc + grid.tile_l0 / 2
        wanted[shapely.contains_xy(drawn, middle[:, 1], middle[:, 0])] += 2
    return wanted if len(wanted) and wanted.min() < wanted.max() else None


def _drawn(amap: AttentionMap, tiles: NDArray[np.int64], painter: Painter, total: int) -> ProvisionalMap:
    view = amap.view()
    values = np.full(total, np.nan, np.float32)
    values[tiles] = view.values
    found, whole = painter.paint(values), painter.paint(np.zeros(total, np.float32))
    filled, strength = fill_between(found.values, np.isfinite(whole.values))
    return ProvisionalMap(amap, total, view, replace(found, values=filled), strength, settled=False)
