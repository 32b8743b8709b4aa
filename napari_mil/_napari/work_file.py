"""Saving the work on the slide in front, and showing it again: what `napari_mil.work_file` keeps, as layers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer, Shapes
from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog, QTabWidget

from ..errors import NapariMilError, SlideMovedError, WorkError
from ..maps import PatchTags
from ..preferences import keep_recent
from ..progress import Progress
from ..work_file import ENDING, Outlined, ShownMap, View, Work, open_work_slide, read_work, write_work
from .annotating import shown_ref
from .layers import KEY, mpp_of, slide_layer_data, slide_of
from .measuring import ROLES
from .navigation import belongings, front_slide, slide_layers
from .outline_layers import annotated_slide, annotations_in, drawn_layer_data, editable, still_layer_data
from .overlay import overlay_of
from .overlay_data import overlay_layer_data
from .tissue import mask_layer_data, mask_of, read_mask
from .viewers import camera
from .worker import Job, JobSlot

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

    from ..annotations import Annotation
    from ..progress import Steps
    from ..slides import Slide
    from .session import Session

FILES = f"Work on a slide (*{ENDING})"


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """Annotations as they are in a layer now, not yet made."""

    make: Callable[[], list[Annotation]]
    name: str
    roles: dict[str, str]
    visible: bool


class WorkKeeper:
    """Saves and opens work for one window.

    Parameters
    ----------
    session : Session
        Whose viewer, tags and docks it keeps.
    """

    def __init__(self, session: Session) -> None:
        self._session_ref = weakref.ref(session)
        self._files: dict[str, Path] = {}
        self.jobs = JobSlot()

    @property
    def busy(self) -> bool:
        """Whether a file is being read or written."""
        return self.jobs.job is not None

    def pick_and_save(self) -> None:
        """Ask where to save the work on the slide in front, and save it."""
        viewer, window = self._window()
        layer = front_slide(viewer)
        slide = slide_of(layer)
        if slide is None:
            show_info("Open a slide first: there is no work to save yet.")
            return
        usual = self._files.get(slide.quickhash, slide.path.parent / f"{slide.name}{ENDING}")
        name, _ = QFileDialog.getSaveFileName(window, "Save the work on this slide", str(usual), FILES)
        if name:
            self.save(Path(name))

    def pick_and_open(self) -> None:
        """Ask for a file of work, and open it."""
        _, window = self._window()
        name, _ = QFileDialog.getOpenFileName(window, "Open the work on a slide", "", FILES)
        if name:
            self.open(Path(name))

    def save(self, path: Path) -> None:
        """Save the work on the slide in front, beside the window.

        Parameters
        ----------
        path : Path
            Where.
        """
        session = self._session_ref()
        viewer, _ = self._window()
        layer = front_slide(viewer)
        if session is None or layer is None or self.busy:
            return
        work, drawn = gather(viewer, layer, session)
        self._start(_write_steps(path, work, drawn), path.name, partial(self._saved, work.slide.quickhash))

    def open(self, path: Path, slide: Path | None = None) -> None:
        """Show the work in a file, beside the window; a slide that has moved is asked for.

        Parameters
        ----------
        path : Path
            A file that `write_work` wrote.
        slide : Path or None
            Where its slide is now, if it is known.
        """
        if not self.busy:
            self._start(_read_steps(path, slide), path.name, partial(self._read, path), partial(self._moved, path))

    def _window(self) -> tuple[napari.Viewer, QWidget]:
        session = self._session_ref()
        if session is None:
            raise RuntimeError("the window has been closed")
        return session.viewer, session.parent()

    def _start(
        self,
        steps: Steps[Any],
        title: str,
        done: Callable[[Any], None],
        moved: Callable[[SlideMovedError], None] | None = None,
    ) -> None:
        def ended(report: Callable[[Any], None], result: Any) -> None:
            self.jobs.job = None
            report(result)

        def failed(error: Exception) -> None:
            if moved is not None and isinstance(error, SlideMovedError):
                moved(error)
            elif isinstance(error, NapariMilError):
                show_error(str(error))
            else:
                raise error

        self.jobs.job = Job(
            steps,
            title,
            on_progress=lambda _: None,
            on_done=partial(ended, done),
            on_failed=partial(ended, failed),
            on_cancelled=lambda: setattr(self.jobs, "job", None),
        )

    def _saved(self, quickhash: str, path: Path) -> None:
        self._files[quickhash] = path
        remember(path)
        show_info(f"The work on this slide is saved in {path}")

    def _read(self, path: Path, found: tuple[Work, Slide]) -> None:
        session = self._session_ref()
        if session is None:
            return
        work, slide = found
        self._files[slide.quickhash] = path
        remember(path)
        show_work(session, work, slide)

    def _moved(self, path: Path, error: SlideMovedError) -> None:
        show_info(str(error))
        _, window = self._window()
        name, _ = QFileDialog.getOpenFileName(window, f"Where is the slide of {path.name}?", str(path.parent))
        if name:
            self.open(path, Path(name))


def remember(path: Path) -> None:
    """Put a file on the list of recent ones; where the disk refuses, the list stays as it was."""
    try:
        keep_recent(path)
    except NapariMilError as error:
        show_info(str(error))


def gather(viewer: napari.Viewer, slide_layer: Layer, session: Session) -> tuple[Work, list[_Drawn]]:
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
            drawn.append(_Drawn(annotations_in(layer, slide_layer), layer.name, roles, layer.visible))
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


def _write_steps(path: Path, work: Work, drawn: Sequence[_Drawn]) -> Steps[Path]:
    yield Progress("Saving the work")
    outlined = [Outlined(one.make(), one.name, one.roles, one.visible) for one in drawn]
    return write_work(path, replace(work, annotations=outlined))


def _read_steps(path: Path, slide: Path | None) -> Steps[tuple[Work, Slide]]:
    yield Progress("Reading the work")
    work = read_work(path)
    yield Progress("Opening the slide")
    return work, open_work_slide(path, work, slide)


def save_work() -> None:
    """Save the work on the slide in front (menu entry)."""
    keeper = _keeper()
    if keeper is not None:
        keeper.pick_and_save()


def open_work() -> None:
    """Open the work on a slide (menu entry)."""
    keeper = _keeper()
    if keeper is not None:
        keeper.pick_and_open()


def keeper_of(viewer: napari.Viewer | None, path: Path) -> WorkKeeper:
    """Return what opens work in a viewer's window; without a window, say so."""
    from .session import attach

    session = attach(viewer) if viewer is not None else None
    if session is None:
        raise WorkError(f"{path.name} holds work on a slide, no picture. Open it in napari's window.")
    return session.work


def _keeper() -> WorkKeeper | None:
    import napari

    from .session import attach

    viewer = napari.current_viewer()
    session = attach(viewer) if viewer is not None else None
    return session.work if session is not None else None
