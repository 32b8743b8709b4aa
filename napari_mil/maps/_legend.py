"""The words beside a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..counting import counted
from ._limits import limits_words
from ._scales import score_label
from ._shown import one_class
from ._threshold import Cuts, effective_patches, normalised_entropy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._map import AttentionMap, MapView
    from ._threshold import ThresholdSummary

DISCLAIMER = "where the model looked, not a diagnosis"
_TINY_MM2 = 0.01
"""Below, an area is written in square microns."""


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
    amap: AttentionMap,
    view: MapView,
    threshold: float | None = None,
    summary: ThresholdSummary | None = None,
    *,
    inverted: bool = False,
    smooth: bool = False,
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
        What is shown, where that is known already.
    inverted : bool
        Whether what lies below the threshold is shown.
    smooth : bool
        Whether it is drawn gradually.

    Returns
    -------
    str
        Lines of text.
    """
    model = amap.model.title or amap.model.pooling
    sentence = patches_sentence(amap, view, threshold, summary, inverted=inverted)
    drawn = ["Drawn smoothly; numbers are those of the patches"] if smooth else []
    ends = [words] if (words := limits_words(view)) else []
    lines = [model, view.title, f"Scale: {view.scale.title}", *ends, sentence, *drawn, DISCLAIMER]
    return "\n".join(lines)


def patches_sentence(
    amap: AttentionMap,
    view: MapView,
    threshold: float | None = None,
    summary: ThresholdSummary | None = None,
    *,
    inverted: bool = False,
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
        What is shown, where that is known already.
    inverted : bool
        Whether what lies below the threshold is shown.

    Returns
    -------
    str
        Without a full stop.
    """
    if threshold is None:
        return f"All {len(amap):,} patches shown"
    got = Cuts(view, amap.grid).at(threshold, below=inverted) if summary is None else summary
    return (
        f"{'Below' if inverted else 'At or above'} {format_threshold(threshold)}: {got.count:,} of {got.n:,} patches, "
        f"{format_area(got.area_mm2)}, {format_share(got.fraction_of_tissue)} of the tissue"
    )


def patch_words(amap: AttentionMap, view: MapView, cuts: Cuts, patch: int) -> str:
    """Say what is known of one patch: its score as shown and raw, its place among all, and its contribution.

    Parameters
    ----------
    amap : AttentionMap
        The map.
    view : MapView
        What is shown of it.
    cuts : Cuts
        Of that view.
    patch : int
        Its position in the grid.

    Returns
    -------
    str
        Such as "Attention 0.93 (rank), raw 0.00031, 812 of 10,402 from the top".
    """
    label = score_label(view.kind, view.of)
    if np.isnan(view.values[patch]):
        return f"{label}: none for this patch"
    place, n = cuts.place(patch)
    shown, raw = float(view.values[patch]), float(view.raw[patch])
    words = f"{label} {shown:.3g} ({view.scale.label.lower()})"
    if shown != raw:
        words += f", raw {raw:.3g}"
    words += f", {place:,} of {n:,} from the top, percentile {100 * (n - place + 1) / n:.3g}"
    other = amap.scores.get("contribution")
    if other is not None and view.kind != "contribution":
        index = amap.prediction.class_index if view.class_index is None else view.class_index
        part = one_class(other.raw[..., patch : patch + 1], other.kind, index if other.per_class else None)
        words += f", contribution {float(part[0]):+.3g}"
    return words


def evenness_words(view: MapView) -> str:
    """Say how widely attention is spread; empty for other scores, and where no patches or a single one have any.

    Parameters
    ----------
    view : MapView
        What is shown.

    Returns
    -------
    str
        Such as "The attention is spread as if over 12 patches (evenness 0.61 of 1)"; no full stop.
    """
    spread = effective_patches(view.raw) if view.kind == "attention" and len(view.raw) > 1 else float("nan")
    if np.isnan(spread):
        return ""
    evenness = normalised_entropy(view.raw)
    return f"The attention is spread as if over {counted(round(spread), 'patch')} (evenness {evenness:.2f} of 1)"


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
    if mm2 == 0 or mm2 >= _TINY_MM2:
        return f"{mm2:.1f} mm²" if mm2 >= 10 else f"{mm2:.2f} mm²"
    return f"{mm2 * 1e6:,.0f} µm²"


def format_areas(mm2: Sequence[float]) -> tuple[str, list[str]]:
    """Write the areas of one column in one unit, all to the same decimal, so that they can be compared by eye.

    Parameters
    ----------
    mm2 : sequence of float
        Areas in square millimetres.

    Returns
    -------
    (str, list of str)
        The unit for the column's head, and the numbers: square millimetres, to one to four decimals as the smallest
        asks for; square microns only where none comes to a hundredth of a square millimetre.
    """
    known = [area for area in mm2 if area > 0]
    if known and max(known) < _TINY_MM2:
        return "µm²", [f"{area * 1e6:,.0f}" for area in mm2]
    # two figures of the smallest
    decimals = int(np.clip(1 - np.floor(np.log10(min(known))), 1, 4)) if known else 2
    return "mm²", [f"{area:,.{decimals}f}" for area in mm2]


def format_share(share: float) -> str:
    """Write a share in percent: below one percent with a decimal, so that a few patches are not called none.

    Parameters
    ----------
    share : float
        In [0, 1].

    Returns
    -------
    str
        For a person: "12%", "0.2%", "<0.1%", "0%".
    """
    if share == 0 or share >= 0.00995:
        return f"{share:.0%}"
    return "<0.1%" if share < 0.0005 else f"{share:.1%}"


def format_threshold(threshold: float) -> str:
    """Write a threshold with three figures; just below 1 with as many as tell it from 1.

    Parameters
    ----------
    threshold : float
        On the scale shown.

    Returns
    -------
    str
        For a person: "0.95", "0.99997".
    """
    words = f"{threshold:.3g}"
    # ranks and probabilities crowd there, and nothing lies above 1
    for figures in range(4, 9):
        if words != "1" or threshold >= 1:
            break
        words = f"{threshold:.{figures}g}"
    return words


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
