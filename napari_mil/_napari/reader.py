"""File > Open and drag and drop: slides as lazy pyramids in microns, maps as overlays, features as patches on a slide.

A path that is not ours is declined (None) so that other readers can take it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

ONLY_SLIDES = frozenset({".svs", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif"})
"""Endings that nothing but slides have: a file that has one and cannot be opened is damaged."""

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return a reader for a path, or None to leave it to others (npe2's reader contract).

    Parameters
    ----------
    path : str or list of str
        What was dropped or chosen.

    Returns
    -------
    callable or None
        Takes the path and returns layer data.
    """
    from ..features import recognise
    from ..slides import can_open
    from ..work_file import is_work_file
    from .annotating import is_annotation_file

    paths = [path] if isinstance(path, str) else list(path)
    if not paths:
        return None
    if all(is_work_file(p) for p in paths):
        return read_works
    if all(is_map_file(p) for p in paths):
        return read_maps
    if all(can_open(p) for p in paths):
        return read_slides
    if all(recognise(p) is not None for p in paths):
        return read_bags
    if all(is_annotation_file(p) for p in paths):
        return read_outlines
    if all(is_model_file(p) for p in paths):
        return read_models
    # Endings that only slides have: nobody else can read these, so say what is wrong instead of "no reader".
    if all(Path(p).is_file() and Path(p).suffix.lower() in ONLY_SLIDES for p in paths):
        return read_slides
    return None


def is_map_file(path: str) -> bool:
    """Tell whether a path is an attention map of ours, by its content.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        True for an HDF5 file with our mark and scores.
    """
    if not path.lower().endswith((".h5", ".hdf5")) or not Path(path).is_file():
        return False
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "napari_mil" in file.attrs and "scores" in file
    except OSError:
        return False


def is_model_file(path: str) -> bool:
    """Tell whether a path is by its ending a model, which `recognise` does not know for features.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        True for an existing ``.safetensors``, ``.pt`` or ``.pth`` file.
    """
    from ..models import MODEL_ENDINGS

    return path.lower().endswith(MODEL_ENDINGS) and Path(path).is_file()


def read_slides(path: str | list[str]) -> list[LayerData]:
    """Open slides as layer data.

    Parameters
    ----------
    path : str or list of str
        One slide or several.

    Returns
    -------
    list of (data, attributes, "image")
        A multiscale RGB image each, in microns where the slide states its scale.

    Raises
    ------
    SlideError
        If a slide is broken.
    """
    import napari

    from ..slides import open_slide
    from .layers import slide_layer_data
    from .viewers import show_scale_bar

    paths = [path] if isinstance(path, str) else list(path)
    layers = [slide_layer_data(open_slide(p)) for p in paths]
    viewer = napari.current_viewer()
    if viewer is not None:
        from .session import attach

        attach(viewer)
        show_scale_bar(viewer)
    return layers


def read_maps(path: str | list[str]) -> list[LayerData]:
    """Open attention maps as overlays.

    Parameters
    ----------
    path : str or list of str
        One map file or several.

    Returns
    -------
    list of (data, attributes, "image")
        One overlay each, placed where its slide lies.

    Raises
    ------
    MapError
        If a file is damaged.
    """
    from ..maps import read_map, read_shown
    from .overlay_data import overlay_layer_data

    paths = [path] if isinstance(path, str) else list(path)
    return [overlay_layer_data(read_map(p), read_shown(p)) for p in paths]


def read_bags(path: str | list[str]) -> list[LayerData]:
    """Show feature files of any known tool on the slide in front, as soon as they are read beside the window.

    Parameters
    ----------
    path : str or list of str
        One file, or wsidata folder, or several.

    Returns
    -------
    list of (None,)
        No layer yet, in npe2's words.

    Raises
    ------
    FeaturesError
        If no slide is open whose features they could be.
    """
    import napari

    from .bag_opener import no_slide
    from .session import attach

    paths = [path] if isinstance(path, str) else list(path)
    viewer = napari.current_viewer()
    session = attach(viewer) if viewer is not None else None
    if session is None:
        raise no_slide(Path(paths[0]))
    for one in paths:
        session.bags.open(Path(one))
    return [(None,)]  # type: ignore[list-item]


def read_outlines(path: str | list[str]) -> list[LayerData]:
    """Show annotations on the slide in front, as soon as they are read beside the window.

    Parameters
    ----------
    path : str or list of str
        One file of GeoJSON or ASAP XML, or several.

    Returns
    -------
    list of (None,)
        No layer yet, in npe2's words.

    Raises
    ------
    AnnotationError
        If there is no window, or no slide that they could belong to.
    """
    import napari

    from ..errors import AnnotationError
    from .annotating import slide_wanted
    from .launch import show_panel

    paths = [Path(path)] if isinstance(path, str) else [Path(one) for one in path]
    viewer = napari.current_viewer()
    if viewer is None:
        raise AnnotationError(f"{paths[0].name} holds outlines, no picture. Open its slide in napari's window first.")
    slide_wanted(viewer, paths[0])
    panel = show_panel(viewer)
    panel.tabs.setCurrentWidget(panel.annotate_tab)
    for one in paths:
        panel.annotate_tab.files.read(one)
    return [(None,)]  # type: ignore[list-item]


def read_works(path: str | list[str]) -> list[LayerData]:
    """Show the work on a slide, with its slide, as soon as it is read beside the window.

    Parameters
    ----------
    path : str or list of str
        One file; of several the first.

    Returns
    -------
    list of (None,)
        No layer yet, in npe2's words.

    Raises
    ------
    WorkError
        If there is no window.
    """
    import napari

    from .work_file import keeper_of

    file = Path(path if isinstance(path, str) else path[0])
    keeper_of(napari.current_viewer(), file).open(file)
    return [(None,)]  # type: ignore[list-item]


def read_models(path: str | list[str]) -> list[LayerData]:
    """Offer model files in the panel, which is opened where it is not, and choose the last.

    Parameters
    ----------
    path : str or list of str
        One file or several.

    Returns
    -------
    list of (None,)
        No layer, in npe2's words.

    Raises
    ------
    ModelError
        If there is no window.
    """
    import napari

    from ..errors import ModelError
    from .launch import show_panel

    paths = [path] if isinstance(path, str) else list(path)
    viewer = napari.current_viewer()
    if viewer is None:
        raise ModelError(f"{Path(paths[0]).name} is a model, no picture. Open it in napari's window, or run it.")
    panel = show_panel(viewer)
    panel.tabs.setCurrentWidget(panel.run_tab)
    for one in paths:
        panel.run_tab.add_model(Path(one))
    return [(None,)]  # type: ignore[list-item]
