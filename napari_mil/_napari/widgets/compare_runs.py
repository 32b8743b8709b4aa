"""Every other pooling on the features of a map, in the background; its maps join the layers as they finish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Layer
from qtpy.QtCore import QObject, Qt, Signal

from ..compare_poolings import Outcome, compatible, pooling_steps
from ..overlay import overlay_of
from ..overlay_data import overlay_layer_data
from ..worker import Job, JobSlot
from .choices import model_entries
from .dock_panel import notify

if TYPE_CHECKING:
    import napari

    from ...maps import AttentionMap


class PoolingRuns(QObject):
    """Runs the models that take a map's features.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the maps are added.
    parent : QObject
        With which the work ends.
    """

    said = Signal(str)
    """What to write below."""
    changed = Signal()
    """The work has begun or ended."""
    _outcome = Signal(object)

    def __init__(self, viewer: napari.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._jobs = JobSlot()
        self._failed: list[str] = []
        self._above: list[Layer] = []
        self._outcome.connect(self._add, Qt.ConnectionType.QueuedConnection)
        self.destroyed.connect(self._jobs.abandon)

    @property
    def going(self) -> bool:
        """Whether models are running."""
        return self._jobs.job is not None

    def start(self, amap: AttentionMap, layers: Sequence[Layer]) -> None:
        """Run every model that takes a map's features and made none of the maps at hand.

        Parameters
        ----------
        amap : AttentionMap
            The map.
        layers : sequence of Layer
            Those of the slide's maps.
        """
        if self.going:
            return
        known = [one.map.model for one in map(overlay_of, layers) if one is not None]
        entries = []
        for entry in compatible(amap, model_entries()):
            if entry.card is not None and entry.card not in known:  # a model may be there as two files
                known.append(entry.card)
                entries.append(entry)
        if not entries:
            self.said.emit("No other model takes these features. Add models to the models folder.")
            return
        self._failed, self._above = [], list(layers)
        self._jobs.job = Job(
            pooling_steps(amap, entries, self._outcome.emit),
            "Compare poolings",
            on_progress=lambda step: self.said.emit(f"{step.done} of {step.total} models: {step.message}"),
            on_done=lambda made: self._ended(f"{made} {'map' if made == 1 else 'maps'} added."),
            on_failed=lambda error: self._ended(notify(error)),
            on_cancelled=lambda: self._ended("Cancelled; the maps that were finished stay."),
        )
        self.changed.emit()

    def cancel(self) -> None:
        """Ask the work to stop."""
        if self._jobs.job is not None:
            self._jobs.job.cancel()

    def release(self) -> None:
        """Let go of the work; nobody is told of it any more."""
        self._jobs.abandon()

    def _ended(self, words: str) -> None:
        self._jobs.job = None
        self.changed.emit()
        self.said.emit(" ".join([words, *self._failed]))

    def _add(self, outcome: Outcome) -> None:
        if outcome.map is None:
            self._failed.append(f"{outcome.name}: {outcome.error}")
            return
        layers = self._viewer.layers
        layer = Layer.create(*overlay_layer_data(outcome.map))
        layer.visible = False
        above = max((layers.index(one) for one in self._above if one in layers), default=len(layers) - 1)
        active = layers.selection.active
        layers.insert(above + 1, layer)
        layers.selection.active = active
        self._above.append(layer)
