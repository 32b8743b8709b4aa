"""What the settings of a map ask for, ready for the screen, and kept where it was shown before."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..maps import SCALES_FOR_KIND, Cuts, Painter, Raster, above, scale_after, smoothed, smoothing_factor
from .overlay_data import axis_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ..maps import AttentionMap, MapView
    from .settings import HeatmapSettings

HISTOGRAM_BINS = 60

_MOST_BYTES = 128_000_000
"""Kept of one map: of 100 000 patches some 40 views, or 15 drawn smoothly."""

_FEW = 0.1
"""Of the cells: when fewer have changed, as with a slider's step, writing those takes a fraction of writing all."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One score, class, scale and look.

    Parameters
    ----------
    view : MapView
        What is shown.
    values : (rows, cols) float32
        Values as shown, one per cell; NaN where there is no tile.
    pixels : (rows * factor, cols * factor) float32
        Where they lie along the colours, as drawn.
    axis_limits : (float, float)
        Where the colours begin and end, along the same axis.
    cuts : Cuts
        What lies above any threshold.
    counts : (HISTOGRAM_BINS,) int
        How many patches lie in even steps between those limits, what lies beyond in the first and last.
    even : float or None
        Where a patch with an even share of the attention, 1/N, is shown; None where that means nothing.
    """

    view: MapView
    values: NDArray[np.float32]
    pixels: NDArray[np.float32]
    axis_limits: tuple[float, float]
    cuts: Cuts
    counts: NDArray[np.int64]
    even: float | None

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        return self.values.nbytes + self.pixels.nbytes + 7 * self.view.values.nbytes  # of which 5 are the cuts

    @property
    def factor(self) -> int:
        """How many pixels a cell's edge has."""
        return self.pixels.shape[0] // self.values.shape[0]

    def seen(self, cut: float, *, below: bool) -> NDArray[np.bool_]:
        """Return which cells lie at or above a cut, or below it, (rows, cols)."""
        upper = above(self.values, cut)
        return np.isfinite(self.values) & ~upper if below else upper

    def draw(
        self, seen: NDArray[np.bool_], pixels: NDArray[np.float32], before: NDArray[np.bool_] | None = None
    ) -> None:
        """Write the cells that are seen into the pixels of a layer, NaN (transparent) elsewhere.

        Parameters
        ----------
        seen : (rows, cols) bool
            See `seen`.
        pixels : (rows * factor, cols * factor) float32
            What is written into.
        before : (rows, cols) bool or None
            The cells that they show of this already; None where they show anything else.
        """
        rows, cols = seen.shape
        changed = None if before is None else np.flatnonzero(seen != before)
        if changed is not None and len(changed) < _FEW * seen.size:
            shape, at = (rows, self.factor, cols, self.factor), np.divmod(changed, cols)
            squares = self.pixels.reshape(shape)[at[0], :, at[1]]
            squares[~seen.reshape(-1)[changed]] = np.nan
            pixels.reshape(shape)[at[0], :, at[1]] = squares
            return
        # in one pass: times 1 nothing changes, times NaN all is NaN
        weights = np.where(seen, np.float32(1), np.float32(np.nan)).repeat(self.factor, axis=1)
        wide = (rows, self.factor, cols * self.factor)
        np.multiply(self.pixels.reshape(wide), weights[:, None], out=pixels.reshape(wide))


Ahead: TypeAlias = "tuple[MapView | None, list[tuple[tuple[Any, ...], Shown]]]"
"""Views with what they are kept by, and the view as far as which their colours reach."""


class ShownViews:
    """What was shown of one map, the last of it kept, so that going back computes nothing.

    Parameters
    ----------
    amap : AttentionMap
        The map.
    """

    def __init__(self, amap: AttentionMap) -> None:
        self._map = amap
        self._painter = Painter(amap.grid)
        self._held: MapView | None = None
        self._kept: OrderedDict[tuple[Any, ...], Shown] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """About how much memory is kept."""
        return sum(shown.nbytes for shown in self._kept.values())

    def hold_limits(self, view: MapView | None) -> None:
        """Colour as far as a view does, while its score and scale are shown; None: by the map's own values."""
        self._held = view
        self._kept.clear()

    def of(self, settings: HeatmapSettings) -> Shown:
        """Return what settings ask for, one and the same object while it is kept."""
        key = self._key(settings)
        if key not in self._kept:
            self._kept[key] = self._made(settings, self._held)
            while self.nbytes > _MOST_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def ahead(self, settings: HeatmapSettings) -> Callable[[], Ahead] | None:
        """Return what makes the views that are one choice away, to be called in a thread; None where all are kept.

        Parameters
        ----------
        settings : HeatmapSettings
            What is shown now.

        Returns
        -------
        callable or None
            What it returns is for `keep`.
        """
        held, room = self._held, max(0, _MOST_BYTES - self.nbytes) // max(1, self.of(settings).nbytes)
        wanted = {self._key(one): one for one in self._one_choice_away(settings)}
        missing = [one for key, one in wanted.items() if key not in self._kept][:room]
        return (lambda: (held, [(self._key(one), self._made(one, held)) for one in missing])) if missing else None

    def keep(self, ahead: Ahead) -> None:
        """Keep views that were made ahead, unless colours are to reach elsewhere by now."""
        held, found = ahead
        for key, shown in found:
            if held is self._held and key not in self._kept:
                self._kept[key] = shown
                self._kept.move_to_end(key, last=False)  # nobody has asked for it yet
        while self.nbytes > _MOST_BYTES and len(self._kept) > 1:
            self._kept.popitem(last=False)

    def raster(self, shown: Shown) -> Raster:
        """Return the values of what is shown with their place on the slide."""
        return self._painter.paint(shown.view.values)

    def _key(self, settings: HeatmapSettings) -> tuple[Any, ...]:
        index = settings.class_index if self._map.scores[settings.score].per_class else None
        return settings.score, settings.scale, index, settings.look

    def _one_choice_away(self, settings: HeatmapSettings) -> Iterator[HeatmapSettings]:
        scores = self._map.scores
        for scale in SCALES_FOR_KIND[scores[settings.score].kind]:
            yield replace(settings, scale=scale)
        for index in range(len(self._map.prediction.class_names)):
            yield replace(settings, class_index=index)
        for name, score in scores.items():
            scale = scale_after(scores[settings.score].kind, settings.scale, score.kind)
            yield replace(settings, score=name, scale=scale)
        yield replace(settings, look="patches" if settings.look == "smooth" else "smooth")

    def _made(self, settings: HeatmapSettings, held: MapView | None) -> Shown:
        view = self._map.view(settings.score, settings.scale, settings.class_index)
        if held is not None and (view.score, view.scale.name) == (held.score, held.scale.name):
            view = replace(view, scale=replace(view.scale, fixed_limits=held.limits))
        values = self._painter.paint(view.values).values
        pixels = view.scale.to_axis(values)
        if settings.look == "smooth":
            pixels = smoothed(pixels, smoothing_factor(values.shape))
        limits, cuts, n = axis_limits(view), Cuts(view, self._map.grid), len(view.values)
        even = cuts.shown(1 / n) if view.kind == "attention" and n else None
        return Shown(view, values, pixels, limits, cuts, _counts(view, limits), even)


def _counts(view: MapView, limits: tuple[float, float]) -> NDArray[np.int64]:
    places = view.scale.to_axis(view.values[np.isfinite(view.values)])
    counts, _ = np.histogram(np.clip(places, *limits), bins=HISTOGRAM_BINS, range=limits)
    return counts
