"""File > Save: an attention map's layer as the map's own file, raw scores, provenance and how it is shown included."""

from __future__ import annotations

from typing import Any

from .layers import KEY, LIVE_OF


def write_map(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write the map that a layer shows (npe2's single-layer writer contract).

    Parameters
    ----------
    path : str
        Where to; ".h5" is added where the path has no ending.
    data : array
        The layer's pixels; not used, since the map's raw scores are what is stored.
    attributes : dict
        The layer's attributes.

    Returns
    -------
    list of str
        The file written; empty, with a message, where the layer shows no map.

    Raises
    ------
    MapError
        If the file cannot be written.
    """
    from napari.utils.notifications import show_info

    from ..maps import write_map as write_map_file

    known = attributes.get("metadata", {}).get(KEY, {})
    amap = known.get("map")
    if LIVE_OF in known:
        show_info("This map is provisional and not saved. Wait for the end of the run, then save the map itself.")
        return []
    if amap is None:
        show_info(
            f'"{attributes.get("name", "This layer")}" is not an attention map. Select the map\'s layer and save.'
        )
        return []
    target = path if path.lower().endswith((".h5", ".hdf5")) else f"{path}.h5"
    write_map_file(target, amap, known["settings"].to_record())
    return [target]
