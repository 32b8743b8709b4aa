"""Starting the window from the command line, and the plugin's menu entries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NapariMilError, SlideError
from .display import display_problem

if TYPE_CHECKING:
    import napari

    from ..maps import AttentionMap
    from ..progress import Steps
    from ..slides import SlideRef
    from .session import Session

PANEL = "Where did the model look?"
GALLERY = "Gallery of patches"
TRAIN = "Train a model"


def view_slide(
    slide: str | os.PathLike[str],
    *,
    map_file: str | os.PathLike[str] | None = None,
    slide_mpp: float | None = None,
) -> None:
    """Open a slide with the MIL panel and stay until the window is closed.

    Parameters
    ----------
    slide : path
        The slide.
    map_file : path or None
        An attention map to lay over it.
    slide_mpp : float or None
        Microns per level-0 pixel, where the file lacks it.

    Raises
    ------
    NapariMilError
        If a file cannot be opened, or no window on this display.
    """
    problem = display_problem()
    if problem:
        raise NapariMilError(
            f"No window can be opened here ({problem}). On a server, run the slide without one: napari-mil run --help."
        )
    build_viewer(slide, map_file=map_file, slide_mpp=slide_mpp)
    import napari

    napari.run()


def build_viewer(
    slide: str | os.PathLike[str],
    *,
    map_file: str | os.PathLike[str] | None = None,
    slide_mpp: float | None = None,
    **viewer_options: Any,
) -> napari.Viewer:
    """Return a viewer with a slide, the MIL panel and, if given, a map.

    Parameters
    ----------
    slide : path
        The slide.
    map_file : path or None
        An attention map to lay over it.
    slide_mpp : float or None
        Microns per level-0 pixel, where the file lacks it.
    **viewer_options
        For ``napari.Viewer``.

    Returns
    -------
    napari.Viewer
        Not yet running.

    Raises
    ------
    NapariMilError
        If a file cannot be opened.
    """
    from ..slides import open_slide
    from .layers import slide_layer_data

    opened = open_slide(slide, mpp=slide_mpp)
    amap = _load_map(map_file, opened.ref) if map_file is not None else None
    # Only now, so that a wrong file costs no window.
    try:
        import napari
        from qtpy.QtCore import QTimer
    except ImportError as err:  # qtpy's own errors are ImportErrors too
        raise NapariMilError("The window needs Qt, which is not installed. Run: pip install 'napari[all]'") from err

    from .session import attach

    viewer = napari.Viewer(title=f"napari-mil: {opened.path.name}", **viewer_options)
    attach(viewer)
    add(viewer, slide_layer_data(opened))
    show_panel(viewer)
    if amap is not None and map_file is not None:
        from ..maps import read_shown
        from .overlay_data import overlay_layer_data

        add(viewer, overlay_layer_data(amap, read_shown(map_file)))
    # once the docks have taken their room
    QTimer.singleShot(0, viewer.reset_view)
    return viewer


def add(viewer: napari.Viewer, layer_data: Any) -> Any:
    """Add layer data to a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    layer_data : (data, attributes, type)
        As readers return it.

    Returns
    -------
    napari layer
        The new layer.
    """
    from napari.layers import Layer

    return viewer.add_layer(Layer.create(*layer_data))


def show_panel(viewer: napari.Viewer) -> Any:
    """Show the MIL panel in a viewer, once.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Returns
    -------
    MILPanel
        The panel.
    """
    return show_plugin_dock(viewer, PANEL)


def open_panel() -> None:
    """Show the MIL panel (menu entry)."""
    import napari

    viewer = napari.current_viewer()
    if viewer is not None:
        show_panel(viewer)


def show_gallery(viewer: napari.Viewer) -> Any:
    """Show the gallery of patches in a viewer, once.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.

    Returns
    -------
    Gallery
        The gallery.
    """
    return show_plugin_dock(viewer, GALLERY)


def show_plugin_dock(viewer: napari.Viewer, name: str) -> Any:
    """Show one of the plugin's panels in a viewer, once, also where its dock was hidden.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    name : str
        As the plugin's manifest lists it.

    Returns
    -------
    QWidget
        The panel.
    """
    dock, panel = viewer.window.add_plugin_dock_widget("napari-mil", name)
    dock.show()
    return panel


def open_gallery() -> None:
    """Show the gallery of patches (menu entry)."""
    import napari

    viewer = napari.current_viewer()
    if viewer is not None:
        show_gallery(viewer)


def show_overview() -> None:
    """Show the overview of the slide in front, also where its dock was closed (menu entry)."""
    session = _session()
    if session is not None:
        session.show_overview()


def show_details() -> None:
    """Show what is known of the slide in front (menu entry)."""
    session = _session()
    if session is not None:
        session.show_details()


def _session() -> Session | None:
    import napari

    from .session import attach

    viewer = napari.current_viewer()
    return None if viewer is None else attach(viewer)


def show_help(title: str = "") -> None:
    """Show the help, at the page of a panel where one is named (menu entry)."""
    session = _session()
    if session is not None:
        session.show_help(title)


def show_tour() -> None:
    """Show the way through the panel in three cards (menu entry)."""
    import napari

    viewer = napari.current_viewer()
    if viewer is not None:
        show_panel(viewer).start_tour()


def outline_tissue() -> None:
    """Outline the tissue of the active slide, in the background (menu entry)."""
    import napari
    from napari.utils.notifications import show_error, show_info

    from .layers import mpp_of, slide_of
    from .worker import Job

    viewer = napari.current_viewer()
    if viewer is None:
        return
    candidates = [viewer.layers.selection.active, *viewer.layers]
    layer = next((one for one in candidates if slide_of(one) is not None), None)
    if layer is None:
        show_info("Open a slide first: drop a file on the window.")
        return
    Job(
        _outline_steps(slide_of(layer).path, mpp_of(layer)),  # type: ignore[union-attr]
        "Tissue",
        on_progress=lambda _: None,
        on_done=lambda layer_data: add(viewer, layer_data),
        on_failed=lambda error: show_error(str(error)),
        on_cancelled=lambda: None,
    )


def _outline_steps(path: Path, mpp: tuple[float, float] | None) -> Steps[Any]:
    from ..progress import Progress
    from ..slides import open_slide
    from ..tiling import find_tissue
    from .layers import tissue_layer_data

    yield Progress("Finding tissue")
    with open_slide(path, mpp=mpp) as slide:
        return tissue_layer_data(find_tissue(slide), slide.ref)


def _load_map(map_file: str | os.PathLike[str], slide: SlideRef) -> AttentionMap:
    from ..maps import read_map
    from ..results import same_slide

    amap = read_map(map_file)
    if not same_slide(amap.slide, slide):
        raise SlideError(
            f"{Path(map_file).name} was made from another slide ({Path(amap.slide.path).name}). "
            "Give the slide that it belongs to."
        )
    return amap
