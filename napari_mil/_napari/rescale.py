"""Showing a slide at another scale, with what lies on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .layers import follow_scale, made_from, mpp_of, rescale_slide, slide_of
from .outline_layers import annotated_slide, follow_own_scale
from .tissue import follow_slide, mask_of

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer


def change_scale(viewer: napari.Viewer, layer: Layer, mpp: tuple[float, float] | None) -> tuple[float, float] | None:
    """Show a slide at another scale, take along what lies on it, and take away what was made at another one.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    layer : napari layer
        A slide's.
    mpp : (float, float) or None
        Microns per level-0 pixel, (y, x); None for what the slide was opened with.

    Returns
    -------
    (float, float) or None
        The scale in force from now on.
    """
    slide = slide_of(layer)
    if slide is None:
        return None
    before = mpp_of(layer)
    rescale_slide(layer, mpp if mpp != slide.mpp else None)
    after = mpp_of(layer)
    for other in viewer.layers:
        follow_slide(other, slide, after)
        if annotated_slide(other) == slide.quickhash:
            follow_own_scale(other, before, after)
    if after is not None:
        # maps and outlines would now lie in the wrong place; the next Run makes them anew
        for other in list(viewer.layers):
            made = made_from(other)
            if made is not None and made[0] == slide.quickhash and made[1] != after:
                viewer.layers.remove(other)
    if sum(slide_of(other) is not None for other in viewer.layers) == 1:
        for other in viewer.layers:
            if other is not layer and mask_of(other) is None and annotated_slide(other) is None:
                follow_scale(other, before, after)
    viewer.reset_view()
    return after
