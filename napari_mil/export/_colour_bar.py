"""The colour bar: the colours as they appear over the slide, and what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..maps import MapView

_STEPS, _SLIVER = 512, 8


def draw_colour_bar(
    axes: Axes, view: MapView, threshold: float | None, opacity: float, *, colourmap: str = "", inverted: bool = False
) -> None:
    """Draw a horizontal colour bar; what the threshold hides is left white.

    Parameters
    ----------
    axes : matplotlib Axes
        To fill.
    view : MapView
        What is shown.
    threshold : float or None
        On the scale shown.
    opacity : float
        Of the overlay, 0 to 1; the bar has the same, on white.
    colourmap : str
        Name of the colour map; empty takes the scale's own.
    inverted : bool
        Whether what lies below the threshold is shown.
    """
    low, high = (float(v) for v in view.scale.to_axis(np.asarray(view.limits, np.float32)))
    ramp = np.linspace(low, high, _STEPS)[None]
    start = low
    if threshold is not None:
        start = float(view.scale.to_axis(np.asarray(threshold, np.float32)))
        # what lies beyond the upper end has its colour
        start = start if inverted else min(start, float(ramp[0, -_SLIVER]))
    hidden = ramp >= start if inverted and threshold is not None else ramp < start
    axes.imshow(
        np.ma.masked_where(hidden, ramp),
        cmap=colourmap or view.scale.colourmap,
        vmin=low,
        vmax=high,
        alpha=opacity,
        extent=(low, high, 0, 1),
        aspect="auto",
    )
    if threshold is not None and low < start < high:
        axes.axvline(start, color="#1c1c1c", linewidth=1.4)
    ticks = tick_labels(view)
    axes.set_xticks(list(view.scale.to_axis(np.asarray(list(ticks), np.float32))), list(ticks.values()), size=8)
    # the outermost labels stay within the bar's width
    labels = axes.get_xticklabels()
    labels[0].set_horizontalalignment("left")
    labels[-1].set_horizontalalignment("right")
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color="#8c8c8c", linewidth=0.6)
    axes.tick_params(length=2.5, color="#8c8c8c", pad=2)


def tick_labels(view: MapView) -> dict[float, str]:
    """Return the values to mark on a colour bar, lowest first, with their labels.

    Parameters
    ----------
    view : MapView
        What is shown.

    Returns
    -------
    dict of float to str
        Values in the units shown.
    """
    low, high = view.limits
    below, above = ("≤" if view.lowest < low else ""), ("≥" if view.highest > high else "")
    if view.scale.diverging:
        return {low: f"{below}{low:.2g} against", 0.0: "0", high: f"for {above or '+'}{high:.2g}"}
    if view.scale.log:
        decades = range(round(np.log10(low)), round(np.log10(high)) + 1)
        return {10.0**d: f"{10.0**d:g}x" for d in decades}
    return {low: f"{low:.3g}", (low + high) / 2: f"{(low + high) / 2:.3g}", high: f"{above}{high:.3g}"}
