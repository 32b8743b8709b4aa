"""Going to the next slide of a folder, or the one before."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info, show_warning

from .layers import slide_layer_data, slide_of
from .navigation import Neighbour, belongings, find_neighbour, front_slide, slide_layers
from .worker import Job, JobSlot

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.layers import Layer


class Stepping(JobSlot):
    """Steps from slide to slide in one viewer; the one in front says in which folder.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    bring_forward : callable
        Takes the layer of a slide that is open already, and shows it.
    """

    def __init__(self, viewer: napari.Viewer, bring_forward: Callable[[Layer], None]) -> None:
        super().__init__()
        self._viewer_ref = weakref.ref(viewer)
        self._bring_forward = weakref.WeakMethod(bring_forward)

    def step(self, step: int) -> None:
        """Open the next slide in the folder (1) or the one before (-1), found and opened in a thread.

        The present one goes once the other is open; with maps or outlines made from it, it stays in the list. Asked
        again meanwhile, what was asked before is forgotten.
        """
        viewer = self._viewer_ref()
        old = None if viewer is None else front_slide(viewer)
        slide = slide_of(old)
        if old is None or slide is None:
            return
        self.abandon()
        self.job = Job(
            find_neighbour(slide, step),
            "Next slide" if step > 0 else "Previous slide",
            on_progress=lambda _: None,
            on_done=partial(self._replace, old, step),
            on_failed=lambda error: show_error(str(error)),
            on_cancelled=lambda: None,
        )

    def _replace(self, old: Layer, step: int, beside: Neighbour) -> None:
        """Show the slide that was found in place of the one before."""
        if beside.passed_over:
            names = ", ".join(name for name, _ in beside.passed_over)
            show_warning(f"Passed over, since it cannot be opened: {names}. {beside.passed_over[0][1]}")
        viewer, found = self._viewer_ref(), beside.slide
        if viewer is None:
            if found is not None:
                found.close()
            return
        if found is None:
            name = slide_of(old).name  # type: ignore[union-attr]
            show_info(f"There is no slide {'after' if step > 0 else 'before'} {name} in its folder.")
            return
        known = [layer for layer in slide_layers(viewer) if slide_of(layer).path == found.path]  # type: ignore[union-attr]
        bring_forward = self._bring_forward()
        if known and bring_forward is not None:
            found.close()
            bring_forward(known[0])
        else:
            from napari.layers import Layer

            viewer.add_layer(Layer.create(*slide_layer_data(found)))
        if old in viewer.layers and not belongings(viewer, old):
            viewer.layers.remove(old)
