"""The overlay: one raster Image layer that follows the settings of its map.

Every change of score, class, scale or threshold writes into the pixels that the layer has. Giving napari a new array,
or a colour map that begins at the threshold, costs several redraws; a fresh texture costs hardly more than one. What
was shown before is kept, so that going back computes nothing.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer

from ..maps import SCALES_FOR_KIND, PatchFinder, patch_words, scale_after, view_legend
from .layers import KEY, placement
from .overlay_data import kept_settings, raster_place
from .overlay_shown import Shown, ShownViews
from .settings import HeatmapSettings
from .settings_history import History

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import napari
    from numpy.typing import NDArray

    from ..maps import AttentionMap, CutBy, Cuts, MapView, ThresholdSummary
    from .overlay_shown import Ahead


class Overlay:
    """A map, what is chosen to be seen of it, and the layer that shows it.

    Parameters
    ----------
    layer : napari.layers.Image
        Made from `overlay_layer_data`.
    """

    provisional = False
    """Whether what it says may change yet."""

    def __init__(self, layer: Image) -> None:
        self.layer = layer
        self.map: AttentionMap = layer.metadata[KEY]["map"]
        self.settings: HeatmapSettings = layer.metadata[KEY]["settings"]
        self._views = ShownViews(self.map)
        self._finder: PatchFinder | None = None
        self._shown = self._views.of(self.settings)
        self._drawn: tuple[Shown, float, bool] | None = None
        self._drawn_cells: NDArray[np.bool_] | None = None
        self._summary: ThresholdSummary | None = None
        self._asked: tuple[CutBy, float, float] = ("value", math.nan, math.nan)
        events = self.settings.events
        for name in ("score", "class_index", "scale", "look", "colours"):
            getattr(events, name).connect(self._show_values)
        for name in ("threshold", "inverted"):
            getattr(events, name).connect(self._show_threshold)
        events.opacity.connect(self._show_opacity)
        layer.events.opacity.connect(self._take_opacity)
        before = layer.metadata[KEY].pop("shown", None)
        if before:
            self.restore(before)
        self.history = History(self.settings)

    def choose(self, *, score: str | None = None, class_index: int | None = None, scale: str | None = None) -> None:
        """Show another score, class or scale; what is not honest for the score falls back to its default scale.

        With another score the scale follows as `scale_after` has it.

        A threshold chosen as a share, number or area of patches stays that; one chosen as a value, which means
        nothing on another scale, goes back to the lowest.

        Parameters
        ----------
        score, scale : str or None
            None keeps the present one.
        class_index : int or None
            None keeps the present one.
        """
        chosen = self.settings
        name = chosen.score if score is None else score
        before, after_kind = (self.map.scores[one].kind for one in (chosen.score, name))
        honest = SCALES_FOR_KIND[after_kind]
        if scale is None:
            scale = scale_after(before, chosen.scale, after_kind)
        index = chosen.class_index if class_index is None else class_index
        was = (chosen.score, chosen.scale, chosen.class_index)
        now = (name, scale if scale in honest else honest[0], index)
        if now == was:
            return
        by, amount, all_shown = chosen.cut_by, self.amount, self._cut == -math.inf
        # One redraw for all three
        with chosen.events.blocked():
            chosen.score, chosen.scale, chosen.class_index = now
            after = self._views.of(chosen)
            if by != "value" and not all_shown:
                chosen.threshold = after.cuts.threshold(by, amount)
                self._asked = by, amount, chosen.threshold
            elif now[:2] != was[:2] or after.view.scale.diverging:
                chosen.threshold = after.view.lowest
            if chosen.colours not in after.view.scale.colourmaps:
                chosen.colours = ""
        chosen.events.score.emit(chosen.score, was[0])

    def cut(self, by: CutBy, amount: float) -> None:
        """Choose the threshold by a value, a percentile, or the number or area of the patches above it.

        Parameters
        ----------
        by : str
            As in `Cuts.threshold`.
        amount : float
            How much.
        """
        chosen, threshold = self.settings, self._shown.cuts.threshold(by, amount)
        self._asked = by, amount, threshold
        was = chosen.cut_by, chosen.threshold
        with chosen.events.blocked():  # one change for who undoes it
            chosen.cut_by, chosen.threshold = by, threshold
        if threshold != was[1]:
            chosen.events.threshold.emit(threshold, was[1])
        elif by != was[0]:
            chosen.events.cut_by.emit(by, was[0])

    def hold_limits(self, view: MapView | None) -> None:
        """Colour as far as a view does, while its score and scale are shown, so that maps share their colours.

        Parameters
        ----------
        view : MapView or None
            None colours by the map's own values again.
        """
        self._views.hold_limits(view)
        self._show_values()

    def restore(self, record: Mapping[str, Any]) -> None:
        """Show what was kept by `HeatmapSettings.to_record`, as far as this map has it."""
        kept = kept_settings(self.map, record)
        with self.settings.events.blocked():
            for name, value in kept.to_record().items():
                setattr(self.settings, name, value)
        self.settings.events.score.emit(kept.score, kept.score)
        self._show_opacity()
        self.settings.events.outlined.emit(kept.outlined, kept.outlined)

    @property
    def view(self) -> MapView:
        """What is shown of the map."""
        return self._shown.view

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value of the colour bar, on the displayed scale."""
        return self.view.limits

    @property
    def cuts(self) -> Cuts:
        """What lies above any threshold."""
        return self._shown.cuts

    @property
    def amount(self) -> float:
        """The threshold in what it was chosen by: a value, percent hidden, patches or square millimetres.

        As it was asked for, although patches of one value stay together: else it would creep from score to score.
        """
        by, amount, threshold = self._asked
        if (by, threshold) == (self.settings.cut_by, self.settings.threshold):
            return amount
        return self._shown.cuts.amount(self.settings.cut_by, self._cut)

    @property
    def colours(self) -> str:
        """Name of the colour map in use."""
        return self.settings.colours or self.view.scale.colourmap

    @property
    def shows_all(self) -> bool:
        """Whether nothing is hidden by the threshold."""
        return self.hides_none and not self.settings.inverted

    @property
    def hides_none(self) -> bool:
        """Whether the threshold stands at its lower end: nothing lies below, also not what the colours do not reach."""
        return self.settings.threshold <= self.view.lowest

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many patches lie in even steps from one end of the colours to the other."""
        return self._shown.counts

    @property
    def even(self) -> float | None:
        """Where a patch with an even share of the attention, 1/N, is shown; None where that means nothing."""
        return self._shown.even

    def shown_cells(self) -> tuple[NDArray[np.bool_], int]:
        """Return which cells of the raster are seen (rows, cols), and how many pixels a cell's edge has."""
        return self._shown.seen(self._cut, below=self.settings.inverted), self._shown.factor

    def summary(self) -> ThresholdSummary:
        """Return what is shown: what lies at or above the threshold, or below it where that is chosen."""
        if self._summary is None:
            self._summary = self._shown.cuts.at(self._cut, below=self.settings.inverted)
        return self._summary

    def legend(self) -> str:
        """Return the words beside the map: model, score, class, scale, threshold, number of patches."""
        chosen = self.settings
        threshold = None if self.shows_all else chosen.threshold
        return view_legend(
            self.map,
            self.view,
            threshold,
            self.summary(),
            inverted=chosen.inverted,
            smooth=chosen.look == "smooth",
        )

    def patch_at(self, world: NDArray[np.float64]) -> int | None:
        """Return the patch at a place in napari's world, (row, col), or None beside all patches."""
        if self._finder is None:
            self._finder = PatchFinder(self.map.grid)
        scale = placement(self.map.slide.mpp)["scale"]
        return self._finder.at((float(world[0]) / scale[0], float(world[1]) / scale[1]))

    def words_at(self, world: NDArray[np.float64]) -> str:
        """Say what is known of the patch at a place in napari's world; empty beside all patches."""
        patch = self.patch_at(world)
        return "" if patch is None else patch_words(self.map, self.view, self.cuts, patch)

    def ahead(self) -> Callable[[], Ahead] | None:
        """Return what makes, in a thread, all that one choice from here would show; None where it is at hand."""
        return self._views.ahead(self.settings)

    def keep_ahead(self, ahead: Ahead) -> None:
        """Keep what `ahead` has made, so that the choice itself computes nothing."""
        self._views.keep(ahead)

    def undo(self) -> None:
        """Go back to what was shown before the last change."""
        self.history.back(self.restore)

    def redo(self) -> None:
        """Go forward again to what was undone."""
        self.history.forward(self.restore)

    @property
    def _cut(self) -> float:
        return -math.inf if self.hides_none else self.settings.threshold

    def _show_values(self, *_: Any) -> None:
        self._shown = self._views.of(self.settings)
        if self.layer.data.shape != self._shown.pixels.shape:
            self._resize()
        self._show_threshold()
        # either of these draws the layer's small picture anew
        limits = self._shown.axis_limits
        if tuple(self.layer.contrast_limits) != limits:
            self.layer.contrast_limits = limits  # napari widens their range where it must
        if self.layer.colormap.name != self.colours:
            self.layer.colormap = self.colours

    def _resize(self) -> None:
        """Give the layer as many pixels as are shown, in the same place; `_show_threshold` has them drawn."""
        place = raster_place(self.map, self._views.raster(self._shown), self._shown.factor)
        self._drawn = None
        events = self.layer.events
        with ExitStack() as quiet:
            # at each the viewer would work out its extent and draw, though the map lies where it lay
            for event in (events.data, events.scale, events.translate, events.set_data):
                quiet.enter_context(event.blocker())
            self.layer.data = self._shown.pixels.copy()
            self.layer.scale, self.layer.translate = place["scale"], place["translate"]

    def _show_threshold(self, *_: Any) -> None:
        """Write what is to be seen into the layer's pixels, unless that is there already."""
        wanted = (self._shown, self._cut, self.settings.inverted)
        if wanted == self._drawn:
            return
        before = self._drawn_cells if self._drawn is not None and self._drawn[0] is self._shown else None
        self._drawn, self._drawn_cells, self._summary = wanted, self.shown_cells()[0], None
        self._shown.draw(self._drawn_cells, self.layer.data, before)
        if self.layer.visible:
            # as its refresh does, which would first cut out anew what it draws: these very pixels
            self.layer.events.set_data()

    def _show_opacity(self, *_: Any) -> None:
        self.layer.opacity = self.settings.opacity

    def _take_opacity(self, *_: Any) -> None:
        # napari's own slider moves it too
        if self.settings.opacity != self.layer.opacity:
            self.settings.opacity = self.layer.opacity


def overlay_of(layer: Layer | None) -> Overlay | None:
    """Return the overlay that a layer shows, or None for any other layer.

    Parameters
    ----------
    layer : napari layer or None
        Any layer.

    Returns
    -------
    Overlay or None
        One and the same object at every call.
    """
    if not isinstance(layer, Image) or "map" not in layer.metadata.get(KEY, {}):
        return None
    layer = getattr(layer, "__wrapped__", layer)  # napari hands its layers to widgets behind a proxy
    known = layer.metadata[KEY]
    overlay: Overlay | None = known.get("overlay")
    if overlay is not None and overlay.layer is layer:
        return overlay
    if overlay is not None:  # a duplicated layer shares its original's metadata and pixels, and must not drive it
        known = layer.metadata[KEY] = {**known, "settings": replace(overlay.settings)}
        layer.data = layer.data.copy()
    known["overlay"] = Overlay(layer)
    made: Overlay = known["overlay"]
    return made


def front_overlay(viewer: napari.Viewer) -> Overlay | None:
    """Return the map that is selected, else the topmost that is seen, or None where none is seen.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Returns
    -------
    Overlay or None
        The one that keys and the mouse mean.
    """
    for layer in (viewer.layers.selection.active, *reversed(viewer.layers)):
        overlay = overlay_of(layer)
        if overlay is not None and overlay.layer.visible:
            return overlay
    return None
