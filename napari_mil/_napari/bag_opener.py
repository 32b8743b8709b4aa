"""A feature file dropped on the window: read beside it, asked for where something is missing, shown on its slide."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from napari.layers import Layer
from napari.utils.notifications import notification_manager, show_error, show_info

from ..errors import FeaturesError, NapariMilError, PatchSizeUnknownError
from .bags import attention_steps, grid_layer_data, read_steps
from .layers import KEY, mpp_of, slide_of
from .navigation import front_slide
from .overlay_data import overlay_layer_data
from .viewers import camera
from .widgets.choices import model_entries
from .widgets.patch_size_row import PatchSizeRow
from .worker import Job

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

    from ..maps import AttentionMap
    from ..models import ModelEntry
    from ..progress import Steps
    from .bags import Bag
    from .reader import LayerData


class Panel(Protocol):
    """What a panel tells of its models, and takes to say."""

    def models_at_hand(self) -> tuple[list[ModelEntry], Path | None]:
        """Return the model files at hand, and the one that is chosen."""
        ...

    def say(self, line: str, *, error: bool = False) -> None:
        """Write one line."""
        ...


class BagOpener:
    """Opens feature files on the slide in front of one viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    canvas : QWidget
        Where the row that asks for a patch size appears.
    """

    def __init__(self, viewer: napari.Viewer, canvas: QWidget) -> None:
        self._viewer_ref = weakref.ref(viewer)
        self._jobs: set[Job] = set()
        self._sizes: dict[Path, float] = {}
        self._asking: tuple[Path, weakref.ref[Layer]] | None = None
        self._panel_ref: Callable[[], Panel | None] = _no_panel
        self.row = PatchSizeRow(canvas)
        self.row.entered.connect(self._answered)

    def open(self, path: Path) -> None:
        """Show a feature file on the slide in front; returns at once.

        Parameters
        ----------
        path : Path
            A file or folder that `recognise` knows.

        Raises
        ------
        FeaturesError
            If no slide is open, or its scale is unknown.
        """
        viewer = self._viewer_ref()
        layer = front_slide(viewer) if viewer is not None else None
        if layer is None:
            raise no_slide(path)
        if mpp_of(layer) is None:
            raise FeaturesError(
                f"{layer.name} has no scale, without which patches have no place. Enter it in the Run tab, then drop "
                f"{path.name} again."
            )
        self._read(path, layer, None)

    def abandon(self, *_: Any) -> None:
        """Stop all work and forget it: the window is closing."""
        for job in self._jobs:
            job.abandon()
        self._jobs.clear()

    def follow(self, panel: Panel | None) -> None:
        """Go by a panel's models, and tell it what happens; None where it is gone.

        Parameters
        ----------
        panel : Panel or None
            It is not kept.
        """
        self._panel_ref = _no_panel if panel is None else weakref.ref(panel)

    def _read(self, path: Path, layer: Layer, patch_size: float | None) -> None:
        slide, mpp = slide_of(layer), mpp_of(layer)
        if slide is None or mpp is None:
            return
        panel = self._panel_ref()
        models = (model_entries(), None) if panel is None else panel.models_at_hand()
        work = read_steps(path, replace(slide.ref, mpp=mpp), patch_size, *models)
        self._start(
            work,
            path.name,
            partial(self._show, weakref.ref(layer)),
            partial(self._failed, path, weakref.ref(layer)),
        )

    def _start(
        self, steps: Steps[Any], title: str, done: Callable[[Any], None], failed: Callable[[Exception], None]
    ) -> None:
        held: list[Job] = []

        def ended(report: Callable[[Any], None], what: Any) -> None:
            self._jobs.difference_update(held)
            report(what)

        job = Job(
            steps,
            title,
            on_progress=lambda _: None,
            on_done=partial(ended, done),
            on_failed=partial(ended, failed),
            on_cancelled=lambda: self._jobs.difference_update(held),
        )
        held.append(job)
        self._jobs.add(job)

    def _show(self, layer_ref: weakref.ref[Layer], bag: Bag) -> None:
        """Lay the patches over their slide, in place of the same file's before, and begin to run the model."""
        viewer, slide_layer = self._viewer_ref(), layer_ref()
        if viewer is None or slide_layer is None or not _still(viewer, slide_layer, bag.features.slide.mpp):
            return
        for old in [one for one in viewer.layers if one.metadata.get(KEY, {}).get("source") == str(bag.path)]:
            viewer.layers.remove(old)
        _insert(viewer, slide_layer, grid_layer_data(bag, float(camera(viewer).zoom)))
        grid = bag.features.grid
        found = f"{len(grid):,} patches of {grid.tile_um:.4g} µm from {bag.tool}."
        self._tell(f"{found} {bag.note}".strip(), mistake=False)
        if bag.model is not None:
            self._start(
                attention_steps(bag, bag.model),
                bag.path.name,
                partial(self._show_map, layer_ref),
                self._say,
            )

    def _show_map(self, layer_ref: weakref.ref[Layer], amap: AttentionMap) -> None:
        viewer, slide_layer = self._viewer_ref(), layer_ref()
        if viewer is not None and slide_layer is not None and _still(viewer, slide_layer, amap.slide.mpp):
            shown = _insert(viewer, slide_layer, overlay_layer_data(amap))
            if slide_layer.visible:
                viewer.layers.selection.active = shown

    def _failed(self, path: Path, layer_ref: weakref.ref[Layer], error: Exception) -> None:
        layer = layer_ref()
        mpp = mpp_of(layer) if layer is not None else None
        if not isinstance(error, PatchSizeUnknownError) or mpp is None:
            self._say(error)
            return
        self._asking = path, layer_ref
        self.row.ask(path.name, (mpp[0] * mpp[1]) ** 0.5, self._sizes.get(path.parent, 0.0))

    def _say(self, error: Exception) -> None:
        if isinstance(error, NapariMilError):
            self._tell(str(error), mistake=True)
        else:
            notification_manager.receive_error(type(error), error, error.__traceback__)

    def _tell(self, line: str, *, mistake: bool) -> None:
        (show_error if mistake else show_info)(line)
        panel = self._panel_ref()
        if panel is not None:
            panel.say(line, error=mistake)

    def _answered(self, patch_size: float) -> None:
        viewer = self._viewer_ref()
        if self._asking is None or viewer is None:
            return
        path, layer_ref = self._asking
        self._asking = None
        self._sizes[path.parent] = patch_size
        layer = layer_ref()
        if layer is not None and layer in viewer.layers:
            self._read(path, layer, patch_size)


def no_slide(path: Path) -> FeaturesError:
    """Return what to say of a feature file where no slide is open.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    FeaturesError
        One sentence.
    """
    return FeaturesError(
        f"Open the slide first, then drop {path.name} on it: it holds features of patches, no picture."
    )


def _no_panel() -> None:
    """Stand in for the reference to a panel."""


def _still(viewer: napari.Viewer, slide_layer: Layer, mpp: tuple[float, float] | None) -> bool:
    """Tell whether a slide is still there, and at the scale at which it was when the work began."""
    return slide_layer in viewer.layers and mpp_of(slide_layer) == mpp


def _insert(viewer: napari.Viewer, slide_layer: Layer, layer_data: LayerData) -> Layer:
    """Add a layer just above its slide, so that what people drew stays on top; hidden where the slide is put aside."""
    layer = Layer.create(*layer_data)
    layer.visible = slide_layer.visible
    viewer.layers.insert(viewer.layers.index(slide_layer) + 1, layer)
    return layer
