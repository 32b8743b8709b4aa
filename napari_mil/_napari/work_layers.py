"""The work on a slide as layers: gathered from those that a window shows, and shown again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer, Shapes
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QTabWidget

from ..maps import PatchTags
from ..work_file import ShownMap, View, Work
from .annotating import shown_ref
from .layers import KEY, mpp_of, slide_layer_data, slide_of
from .measuring import ROLES
from .navigation import belongings, slide_layers
from .outline_layers import annotated_slide, annotations_in, drawn_layer_data, editable, still_layer_data
from .overlay import overlay_of
from .overlay_data import overlay_layer_data
from .tissue import mask_layer_data, mask_of, read_mask
from .viewers import camera

if TYPE_CHECKING:
    import napari

    from ..annotations import Annotation
    from ..slides import Slide
    from .session import Session


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Annotations as they are in a layer now, not yet made."""

    make: Callable[[], list[Annotation]]
    name: str
    roles: dict[str, str]
    visible: bool


def gather(viewer: napari.Viewer, slide_layer: Layer, session: Session) -> tuple[Work, list[Drawn]]:
    """Return the work on a slide as it is at this moment; its annotations are still to be made, in a thread.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    slide_layer : napari layer
        The slide's.
    session : Session
        Which holds the tags and docks.

    Returns
    -------
    (Work, list)
        Without annotations, and what makes them.
    """
    ref = shown_ref(slide_layer)
    maps, drawn, tissue = [], [], None
    for layer in viewer.layers:
        overlay = overlay_of(layer)
        if overlay is not None and overlay.map.slide.quickhash == ref.quickhash:
            maps.append(ShownMap(overlay.map, layer.name, overlay.settings.to_record(), layer.visible))
        elif mask_of(layer) == ref.quickhash:
            tissue = read_mask(layer, slide_layer)
        elif _holds_annotations(viewer, layer, slide_layer):
            roles = dict(layer.metadata.get(KEY, {}).get("roles", {}))
            drawn.append(Drawn(annotations_in(layer, slide_layer), layer.name, roles, layer.visible))
    view, scale = camera(viewer), np.asarray(slide_layer.scale[-2:], float)
    at = (np.asarray(view.center[-2:]) - np.asarray(slide_layer.translate[-2:])) / scale + 0.5
    seen = View((float(at[0]), float(at[1])), float(view.zoom * scale.min()))
    tags = session.tags.of(ref.quickhash)
    return Work(ref, maps, (), tags, tissue, seen, open_docks(session)), drawn


def _holds_annotations(viewer: napari.Viewer, layer: Layer, slide_layer: Layer) -> bool:
    """Tell whether a layer is to be saved with a slide: its own, or with one slide open any that was drawn."""
    owner = annotated_slide(layer)
    if owner is not None:
        return owner == slide_of(slide_layer).quickhash  # type: ignore[union-attr]
    alone = len(slide_layers(viewer)) == 1
    return alone and isinstance(layer, Shapes) and layer.ndim == 2 and "tissue_of" not in layer.metadata.get(KEY, {})


def show_work(session: Session, work: Work, slide: Slide) -> None:
    """Show work on its slide: the slide's layer where it is open already, maps, annotations, tissue, tags and view.

    Parameters
    ----------
    session : Session
        Where.
    work : Work
        What was kept.
    slide : Slide
        Open; closed again where the window shows it already.
    """
    viewer = session.viewer
    layer = next((one for one in slide_layers(viewer) if slide_of(one).quickhash == slide.quickhash), None)  # type: ignore[union-attr]
    if layer is not None and mpp_of(layer) != work.slide.mpp:
        slide.close()
        show_error(
            f"{layer.name} is open at another scale than the one at which this work was done. Remove its layer, then "
            "open the work again."
        )
        return
    if layer is None:
        layer = _added(viewer, slide_layer_data(slide))
    else:
        slide.close()
        session.bring_forward(layer)
        # the same work, opened again; what was changed since then stays
        for old in [one for one in viewer.layers if one.metadata.get(KEY, {}).get("work_of") == slide.quickhash]:
            viewer.layers.remove(old)
    if work.tissue is not None:
        mask: Labels = _added(viewer, mask_layer_data(work.tissue, work.slide))
        _kept(mask, mask.name, False, slide.quickhash)
    for shown in work.maps:
        data = overlay_layer_data(shown.map, shown.settings)
        _kept(_added(viewer, data), shown.name, shown.visible, slide.quickhash)
    for outlined in work.annotations:
        make = drawn_layer_data if editable(outlined.annotations) else still_layer_data
        drawn = _added(viewer, make(outlined.annotations, work.slide, outlined.name))
        roles = {name: role for name, role in outlined.roles.items() if role in ROLES}
        drawn.metadata[KEY]["roles"] = roles
        _kept(drawn, outlined.name, outlined.visible, slide.quickhash)
    said = {**work.tags.marks, **session.tags.of(slide.quickhash).marks}
    session.tags.keep(slide.quickhash, PatchTags(said))
    _restore_docks(session, work.docks)
    tops = [one for one in belongings(viewer, layer) if overlay_of(one) is not None and one.visible]
    viewer.layers.selection.active = tops[-1] if tops else layer
    _restore_maps_seen(viewer, work, slide.quickhash)
    if work.view is not None:
        scale = np.asarray(layer.scale[-2:], float)
        at = (np.asarray(work.view.l0_center) - 0.5) * scale + np.asarray(layer.translate[-2:])
        camera(viewer).center = (0.0, *at)
        camera(viewer).zoom = work.view.zoom / float(scale.min())


def _added(viewer: napari.Viewer, data: Any) -> Any:
    return viewer.add_layer(Layer.create(*data))


def _kept(layer: Layer, name: str, visible: bool, quickhash: str) -> None:
    layer.name, layer.visible = name, visible
    layer.metadata[KEY]["work_of"] = quickhash
    if isinstance(layer, Shapes):
        layer.events.data.connect(_changed)
        layer.events.features.connect(_changed)
    elif isinstance(layer, Labels):
        layer.events.paint.connect(_changed)


def _changed(event: Any) -> None:
    """Take a layer that was edited for the person's own: opening the work again must not throw it away."""
    event.source.metadata[KEY].pop("work_of", None)


def _restore_maps_seen(viewer: napari.Viewer, work: Work, quickhash: str) -> None:
    """Show the maps that were seen: the Heatmap tab shows the newest alone."""
    shown = [one.visible for one in work.maps]
    layers = [one for one in viewer.layers if overlay_of(one) and one.metadata[KEY].get("work_of") == quickhash]
    for layer, visible in zip(layers, shown, strict=False):
        layer.visible = visible


def open_docks(session: Session) -> list[str]:
    """Return the plugin's docks that are open, and "tab:" with the panel's tab in front."""
    from .widgets.dock_panel import DockPanel, dock_of

    found = []
    for panel in session.parent().findChildren(DockPanel):
        dock = dock_of(panel)
        if dock is None or not dock.isVisible():
            continue
        found.append(type(panel).__name__)
        tabs = getattr(panel, "tabs", None)
        if isinstance(tabs, QTabWidget):
            found.append(f"tab:{tabs.tabText(tabs.currentIndex())}")
    return found


def _restore_docks(session: Session, names: Sequence[str]) -> None:
    from .launch import show_gallery, show_panel

    if "Gallery" in names:
        show_gallery(session.viewer)
    if "MILPanel" in names:
        tabs = show_panel(session.viewer).tabs
        for index in range(tabs.count()):
            if f"tab:{tabs.tabText(index)}" in names:
                tabs.setCurrentIndex(index)
