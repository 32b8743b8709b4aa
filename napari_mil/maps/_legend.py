"""The words beside a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._threshold import summarise

if TYPE_CHECKING:
    from ._map import AttentionMap, MapView
    from ._threshold import ThresholdSummary

DISCLAIMER = "where the model looked, not a diagnosis"


def legend_text(
    amap: AttentionMap,
    score: str | None = None,
    class_index: int | None = None,
    scale: str | None = None,
    threshold: float | None = None,
) -> str:
    """Say in a few lines what a map shows: model, score, class, scale, threshold, number of patches.

    Parameters
    ----------
    amap : AttentionMap
        The map.
    score, scale : str or None
        As in `AttentionMap.view`.
    class_index : int or None
        As in `AttentionMap.view`.
    threshold : float or None
        On the scale shown; None where all patches are shown.

    Returns
    -------
    str
        Lines of text, the last of which says what the map is not.

    Raises
    ------
    MapError
        As in `AttentionMap.view`.
    """
    return view_legend(amap, amap.view(score, scale, class_index), threshold)


def view_legend(
    amap: AttentionMap, view: MapView, threshold: float | None = None, summary: ThresholdSummary | None = None
) -> str:
    """Say the same as `legend_text` of a view that is at hand, as a slider does many times a second.

    Parameters
    ----------
    amap : AttentionMap
        The map.
    view : MapView
        What is shown of it.
    threshold : float or None
        On the scale shown; None where all patches are shown.
    summary : ThresholdSummary, optional
        What lies above the threshold, where that is known already.

    Returns
    -------
    str
        Lines of text.
    """
    model = amap.model.title or amap.model.pooling
    sentence = patches_sentence(amap, view, threshold, summary)
    lines = [model, view.title, f"Scale: {view.scale.title}", sentence, DISCLAIMER]
    return "\n".join(lines)


def patches_sentence(
    amap: AttentionMap, view: MapView, threshold: float | None = None, summary: ThresholdSummary | None = None
) -> str:
    """Say how many patches are shown and, above a threshold, what area and share of the tissue they are.

    Parameters
    ----------
    amap : AttentionMap
        The map.
    view : MapView
        What is shown of it.
    threshold : float or None
        On the scale shown; None where all patches are shown.
    summary : ThresholdSummary, optional
        What lies above the threshold, where that is known already.

    Returns
    -------
    str
        Without a full stop.
    """
    if threshold is None:
        return f"All {len(amap):,} patches shown"
    got = summarise(view, amap.grid, threshold) if summary is None else summary
    return (
        f"At or above {threshold:.3g}: {got.count:,} of {got.n:,} patches, "
        f"{format_area(got.area_mm2)}, {got.fraction_of_tissue:.0%} of the tissue"
    )


def format_area(mm2: float) -> str:
    """Write an area with its unit: square millimetres with two figures or more, square microns when tiny.

    Parameters
    ----------
    mm2 : float
        Area in square millimetres.

    Returns
    -------
    str
        For a person.
    """
    if mm2 == 0 or mm2 >= 0.01:
        return f"{mm2:.1f} mm²" if mm2 >= 10 else f"{mm2:.2f} mm²"
    return f"{mm2 * 1e6:,.0f} µm²"


def format_probability(p: float) -> str:
    """Write a probability in percent, never rounded to certainty.

    Parameters
    ----------
    p : float
        In [0, 1].

    Returns
    -------
    str
        For a person: "93.4%", ">99.9%", "<0.1%".
    """
    if p >= 0.9995:
        return ">99.9%"
    return "<0.1%" if p < 0.0005 else f"{p:.1%}"
