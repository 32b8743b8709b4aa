"""Where maps are cut to be compared: where the Heatmap tab cuts the one that it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..maps import MapCut

if TYPE_CHECKING:
    from ..maps import MapComparison, MapView
    from .overlay import Overlay


def cut_as_shown(overlay: Overlay | None, comparison: MapComparison) -> tuple[MapCut | None, str]:
    """Return the cut for all maps of a comparison that a map on the screen gives.

    A percentile, a number or an area of patches is that of each map's own patches. A value is the same for all maps
    where they are compared by the very score and scale that it is a value of; else it is taken as the percentile that
    it is of the map on the screen.

    Parameters
    ----------
    overlay : Overlay or None
        The map on the screen, one of those compared.
    comparison : MapComparison
        What is compared.

    Returns
    -------
    (MapCut or None, str)
        None where nothing is hidden; and what to know about it, or empty.
    """
    if overlay is None or overlay.hides_none:
        return None, ""
    settings = overlay.settings
    if settings.cut_by != "value":
        return MapCut(settings.cut_by, overlay.amount), ""
    if _same_value(overlay.view, overlay, comparison):
        return MapCut("value", settings.threshold), ""
    percentile = overlay.cuts.amount("percentile", settings.threshold)
    view, compared = overlay.view, comparison.views[0]
    return MapCut("percentile", percentile), (
        f"The threshold in the Heatmap tab is a value of {_words(view)}, and the maps are compared by "
        f"{_words(compared)}: each is cut at the same percentile instead."
    )


def _same_value(view: MapView, overlay: Overlay, comparison: MapComparison) -> bool:
    """Tell whether a value shown means the same in all maps."""
    if any(one.scale.name != view.scale.name for one in comparison.views):
        return False
    if view.scale.name == "rank":  # any score's, as long as it is the one compared of this map
        own = [one for one, amap in zip(comparison.views, comparison.maps, strict=True) if amap is overlay.map]
        return any(one.title == view.title for one in own)
    return all(one.title == view.title for one in comparison.views)


def _words(view: MapView) -> str:
    return f"{view.title[:1].lower()}{view.title[1:]} ({view.scale.label.lower()})"
