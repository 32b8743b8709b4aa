"""The work on a slide as layers: gathered from those that a window shows, and shown again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer, Shapes

from ..work import Held, Outlined, ShownMap, View, Work
from .annotating import shown_ref
from .dock_places import dock_places, restore_docks
from .layers import KEY, mpp_of, slide_of
from .measuring import ROLES
from .navigation import slide_layers
from .outline_layers import annotated_slide, annotations_in, drawn_layer_data, editable, still_layer_data
from .overlay import overlay_of
from .overlay_data import overlay_layer_data
from .rescale import change_scale
from .tissue import mask_layer_data, mask_of, read_mask
from .viewers import camera

if TYPE_CHECKING:
    import napari

    from ..annotations import Annotation
    from ..maps import PatchTags
    from .session import Session


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Annotations as they are in a layer now, not yet made."""

    make: Callable[[], list[Annotation]]
    name: str
    roles: dict[str, str]
    visible: bool


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """The work on a slide as it was at one moment, and the layers that it is in.

    Parameters
    ----------
    maps, annotations : list of napari layer
        In the order of the work.
    tissue : napari layer or None
        The mask.
    state : tuple
        Tells whether somebody has drawn, painted or tagged since.
    """

    shown: Work
    drawn: list[Drawn]
    maps: list[Layer]
    annotations: list[Layer]
    tissue: Layer | None
    state: tuple[Any, ...]

    def work(self) -> Work:
        """Return the work, its annotations made; to be called in a thread."""
        made = [Outlined(one.make(), one.name, one.roles, one.visible) for one in self.drawn]
        return replace(self.shown, annotations=made)

    def still(self, session: Session) -> bool:
        """Tell whether all of it is as it was."""
        tags = session.tags.of(self.shown.slide.quickhash)
        present = [*self.maps, *self.annotations, *([] if self.tissue is None else [self.tissue])]
        return all(one in session.viewer.layers for one in present) and self.state == _state(
            self.annotations, self.tissue, tags
        )


def gather(viewer: napari.Viewer, slide_layer: Layer, session: Session, *, marked_only: bool = False) -> Gathered:
    """Return the work on a slide as it is at this moment; its annotations are still to be made, in a thread.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    slide_layer : napari layer
        The slide's.
    session : Session
        Which holds the tags and docks.
    marked_only : bool
        Whether drawings that do not say whose they are stay out of it, as where the slide was opened this moment.

    Returns
    -------
    Gathered
        With the layers that hold it.
    """
    ref = shown_ref(slide_layer)
    maps, drawn, mask = [], [], None
    for layer in viewer.layers:
        overlay = overlay_of(layer)
        if overlay is not None and overlay.map.slide.quickhash == ref.quickhash:
            maps.append((layer, ShownMap(overlay.map, layer.name, overlay.settings.to_record(), layer.visible)))
        elif mask_of(layer) == ref.quickhash:
            mask = layer
        elif _holds_annotations(viewer, layer, slide_layer, marked_only):
            roles = dict(layer.metadata.get(KEY, {}).get("roles", {}))
            drawn.append((layer, Drawn(annotations_in(layer, slide_layer), layer.name, roles, layer.visible)))
    view, scale = camera(viewer), np.asarray(slide_layer.scale[-2:], float)
    at = (np.asarray(view.center[-2:]) - np.asarray(slide_layer.translate[-2:])) / scale + 0.5
    seen = View((float(at[0]), float(at[1])), float(view.zoom * scale.min()))
    tags = session.tags.of(ref.quickhash)
    tissue = None if mask is None else read_mask(mask, slide_layer)
    work = Work(ref, [one for _, one in maps], (), tags, tissue, seen, dock_places(session.parent()))
    outlined = [layer for layer, _ in drawn]
    return Gathered(
        work, [one for _, one in drawn], [layer for layer, _ in maps], outlined, mask, _state(outlined, mask, tags)
    )


def _holds_annotations(viewer: napari.Viewer, layer: Layer, slide_layer: Layer, marked_only: bool) -> bool:
    """Tell whether a layer is to be saved with a slide: its own, or with one slide open any that was drawn."""
    owner = annotated_slide(layer)
    if owner is not None:
        return owner == slide_of(slide_layer).quickhash  # type: ignore[union-attr]
    alone = len(slide_layers(viewer)) == 1 and not marked_only
    return alone and isinstance(layer, Shapes) and layer.ndim == 2 and "tissue_of" not in layer.metadata.get(KEY, {})


def _state(annotations: Sequence[Layer], tissue: Layer | None, tags: PatchTags) -> tuple[Any, ...]:
    drawn = [
        (tuple(hash(ring.tobytes()) for ring in one.data), one.features.to_json())
        for one in annotations
        if isinstance(one, Shapes)
    ]
    return drawn, None if tissue is None else hash(np.asarray(tissue.data).tobytes()), tags


def show_work(session: Session, layer: Layer, work: Work, there: Gathered, held: Held) -> None:
    """Bring a slide to the state of some work: maps, annotations, tissue, tags, view and docks, and no other ones.

    Parameters
    ----------
    session : Session
        Where.
    layer : napari layer
        The slide's.
    work : Work
        What was kept.
    there : Gathered
        The work that there is on the slide so far; its layers go, unless the same is in the work that was kept.
    held : Held
        Which these are, from ``held_by(work, there.work())``.
    """
    viewer = session.viewer
    if mpp_of(layer) != work.slide.mpp:
        change_scale(viewer, layer, work.slide.mpp)
    old_maps, old_drawn = _layers_of(there.maps, held.maps), _layers_of(there.annotations, held.annotations)
    mask = there.tissue if held.tissue else None
    kept = {id(one) for one in (*old_maps, *old_drawn, mask)}
    for old in (*there.maps, *there.annotations, there.tissue):
        if id(old) not in kept and old in viewer.layers:
            viewer.layers.remove(old)
    fresh = any(one is None for one in (*old_maps, *old_drawn))
    if mask is None and work.tissue is not None:
        fresh = True
        mask = _added(viewer, mask_layer_data(work.tissue, work.slide))
    maps = [_show_map(viewer, one, old) for one, old in zip(work.maps, old_maps, strict=True)]
    drawn = [_show_outlines(viewer, work, one, old) for one, old in zip(work.annotations, old_drawn, strict=True)]
    if fresh or not _in_order(viewer, maps, drawn):
        _put_on_top(viewer, [*([] if mask is None else [mask]), *maps, *drawn])
    session.tags.keep(work.slide.quickhash, work.tags)
    restore_docks(session, work.docks)
    if mask is not None:
        mask.visible = False
    tops = [one for one, shown in zip(maps, work.maps, strict=True) if shown.visible]
    viewer.layers.selection.active = tops[-1] if tops else layer
    # the Heatmap tab shows the newest alone
    for one, shown in zip(maps, work.maps, strict=True):
        one.visible = shown.visible
    if work.view is not None:
        scale = np.asarray(layer.scale[-2:], float)
        at = (np.asarray(work.view.l0_center) - 0.5) * scale + np.asarray(layer.translate[-2:])
        camera(viewer).center = (0.0, *at)
        camera(viewer).zoom = work.view.zoom / float(scale.min())


def _layers_of(layers: Sequence[Layer], places: Sequence[int | None]) -> list[Layer | None]:
    """Return the layer that shows each piece of work already, None for those that none shows."""
    return [None if place is None else layers[place] for place in places]


def _show_map(viewer: napari.Viewer, shown: ShownMap, layer: Layer | None) -> Layer:
    """Show a map as it was kept, in the layer that shows it already where there is one: undo goes back there."""
    overlay = overlay_of(layer)
    if layer is None or overlay is None or layer not in viewer.layers:
        layer = _added(viewer, overlay_layer_data(shown.map, shown.settings))
    elif overlay.settings.to_record() != dict(shown.settings):
        overlay.restore(shown.settings)
    layer.name = shown.name
    return layer


def _show_outlines(viewer: napari.Viewer, work: Work, outlined: Outlined, layer: Layer | None) -> Layer:
    if layer is None:
        make = drawn_layer_data if editable(outlined.annotations) else still_layer_data
        layer = _added(viewer, make(outlined.annotations, work.slide, outlined.name))
    known = layer.metadata.setdefault(KEY, {})
    known["annotation_of"] = work.slide.quickhash
    known["roles"] = {name: role for name, role in outlined.roles.items() if role in ROLES}
    layer.name, layer.visible = outlined.name, outlined.visible
    return layer


def _in_order(viewer: napari.Viewer, maps: Sequence[Layer], drawn: Sequence[Layer]) -> bool:
    """Tell whether maps, and annotations, lie above each other as they were kept."""
    return all([one for one in viewer.layers if one in wanted] == list(wanted) for wanted in (maps, drawn))


def _put_on_top(viewer: napari.Viewer, wanted: Sequence[Layer]) -> None:
    for one in wanted:
        viewer.layers.move(viewer.layers.index(one), len(viewer.layers))


def claim(gathered: Gathered) -> None:
    """Note in layers that people drew whose slide's work they were saved with, so that they stay with that slide."""
    for layer in gathered.annotations:
        layer.metadata.setdefault(KEY, {})["annotation_of"] = gathered.shown.slide.quickhash


def _added(viewer: napari.Viewer, data: Any) -> Any:
    return viewer.add_layer(Layer.create(*data))
