"""The pictures of agreement with outlines: overlap pixel by pixel and over all thresholds, and FROC."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ._froc import FALSE_POSITIVES
from ._overlap_picture import FALSE_ALARM, HIT, MISS, PATCH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ._agreement import Agreement, CohortAgreement

_COLOURS = ("#ffffff", "#dfe2e4", "#e69f00", "#0072b2", "#009e73")  # Okabe and Ito's orange, blue and green
_WORDS = {PATCH: "neither", FALSE_ALARM: "above only", MISS: "target only", HIT: "both"}
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_POINTS = 400
_FEWEST, _MOST = FALSE_POSITIVES[0] / 2, FALSE_POSITIVES[-1] * 2  # false positives a slide on the axis


def overlap_figure(one: Agreement) -> Figure:
    """Draw where what lies above the threshold and the target coincide, and Dice and IoU at every threshold.

    Parameters
    ----------
    one : Agreement
        With a picture.

    Returns
    -------
    Figure
        Not known to pyplot, so nothing has to be closed.
    """
    if one.picture is None:
        raise ValueError(f"{one.name} has no picture")
    figure = Figure(figsize=(9.6, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    picture = one.picture
    mm = picture.l0_per_px * picture.mpp / 1000
    top, start = (at * picture.mpp / 1000 for at in picture.l0_first_rc)
    rows, cols = picture.kinds.shape
    left.imshow(
        picture.kinds,
        cmap=ListedColormap(list(_COLOURS)),
        vmin=-0.5,
        vmax=len(_COLOURS) - 0.5,
        interpolation="nearest",
        extent=(start, start + cols * mm, top + rows * mm, top),
    )
    left.set_xlabel("mm")
    left.set_ylabel("mm")
    left.tick_params(labelsize=8)
    keys = [Patch(facecolor=_COLOURS[kind], edgecolor="#7f868c", linewidth=0.4, label=_WORDS[kind]) for kind in _WORDS]
    left.legend(handles=keys, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False, fontsize=8)
    left.set_title(textwrap.fill(f"{one.slide}: {one.measures.title}", 44), fontsize=9)
    _thresholds(right, one)
    said = f"Threshold {one.at.threshold:.3g} on the scale {one.scale}. {one.measures.rule}"
    figure.supxlabel(textwrap.fill(said, 130), fontsize=8, color="#444444")
    return figure


def _thresholds(axes: Axes, one: Agreement) -> None:
    curve = one.measures.curve
    at = thinned(len(curve.thresholds))
    n = one.measures.n
    for values, word, colour in ((curve.dice, "Dice", _LINES[0]), (curve.iou, "IoU", _LINES[1])):
        axes.plot(100 * curve.counts[at] / max(1, n), values[at], color=colour, linewidth=1.6, label=word)
    now = one.at.hits + one.at.false_alarms
    axes.axvline(100 * now / max(1, n), color="#7f868c", linewidth=0.9, linestyle=(0, (5, 2)), label="threshold")
    axes.set(xlim=(0, 100), ylim=(0, 1.02))
    axes.set_xlabel("Patches above the threshold (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(f"Dice {one.at.dice:.2f}, IoU {one.at.iou:.2f} at the threshold", fontsize=9)


def froc_figure(cohorts: Sequence[CohortAgreement]) -> Figure:
    """Draw the FROC of every score.

    Parameters
    ----------
    cohorts : sequence of CohortAgreement
        At least one.

    Returns
    -------
    Figure
        As `overlap_figure`.
    """
    figure = Figure(figsize=(5.2, 4.2 + 0.17 * len(cohorts)), dpi=150, layout="constrained")
    axes = figure.subplots()
    models = {one.model for one in cohorts}
    for number, one in enumerate(cohorts):
        colour = _LINES[number % len(_LINES)]
        whose = f"{one.model}: " if len(models) > 1 else ""
        label = f"{whose}{one.score.replace('_', ' ')}, {one.froc.score:.2f}"
        shown = np.append(np.maximum(one.froc.false_positives_per_slide, _FEWEST), _MOST)
        reached = np.append(one.froc.sensitivity, one.froc.sensitivity[-1])
        axes.step(shown, reached, where="post", color=colour, linewidth=1.5, label=label)
        axes.plot(FALSE_POSITIVES, one.froc.sensitivities, "o", color=colour, markersize=4)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(FALSE_POSITIVES))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set(xlim=(_FEWEST, _MOST), ylim=(-0.02, 1.02))
    axes.set_xlabel("False positives per slide")
    axes.set_ylabel("Sensitivity for lesions")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    if len(models) == 1:
        axes.set_title(textwrap.fill(cohorts[0].model, 60), fontsize=9)
    return figure


def thinned(n: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return places spread evenly over a curve of n points, both ends included."""
    return np.unique(np.linspace(0, max(0, n - 1), min(n, _POINTS)).round().astype(np.int64))
