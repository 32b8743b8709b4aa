"""The pictures of an evaluation: a panel per candidate, in colours that colour-blind people tell apart."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ._bootstrap import resample
from ._calibration import BINS
from ._faithfulness import GRID, RANDOM
from ._roc import FPR, roc_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.gridspec import SubplotSpec

    from ._evaluate import Evaluation, Judged
    from ._faithfulness import Faithfulness

_ACCENT, _SECOND, _GREY, _LIGHT = "#0072b2", "#d55e00", "#7f868c", "#c9cdd1"  # blue and vermilion of Okabe and Ito
_DASHED, _DOTTED = (0, (5, 2)), (0, (2, 3))
_PANEL = 3.0  # inches
_IN_ROW = 4
_LETTERS = 34  # of a title's line


def roc_figure(evaluation: Evaluation) -> Figure:
    """Draw the ROC of every candidate with its 95 % band, the others behind it in grey.

    Parameters
    ----------
    evaluation : Evaluation
        What was judged.

    Returns
    -------
    Figure
        Not known to pyplot, so nothing has to be closed.
    """
    bands = []
    for judged in evaluation.judged:
        test = judged.candidate.test
        bands.append(roc_band(test, resample(test.targets, test.patients, evaluation.replicates, evaluation.seed)))
    figure, panels = _panels(len(bands))
    for number, (axes, judged) in enumerate(zip(panels, evaluation.judged, strict=True)):
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=_DOTTED)
        for other, (curve, _, _) in enumerate(bands):
            if other != number:
                axes.plot(FPR, curve, color=_LIGHT, linewidth=0.9)
        curve, low, high = bands[number]
        axes.fill_between(FPR, low, high, color=_ACCENT, alpha=0.18, linewidth=0)
        axes.plot(np.r_[0, FPR], np.r_[0, curve], color=_ACCENT, linewidth=1.8)
        _title(
            axes, judged, "AUC " + _words(judged.measures.auc.value, judged.measures.auc.low, judged.measures.auc.high)
        )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set_xlabel("1 - specificity")
        axes.set_ylabel("Sensitivity")
    _caption(figure, _sides(evaluation) + "; band: 95 % over resampled patients; grey: the other models")
    return figure


def reliability_figure(evaluation: Evaluation) -> Figure:
    """Draw how often what was said came true, with the number of slides in each bin below.

    Parameters
    ----------
    evaluation : Evaluation
        What was judged.

    Returns
    -------
    Figure
        As `roc_figure`.
    """
    figure, panels = _panels(len(evaluation.judged), height=1.2)
    for place, judged in zip(panels, evaluation.judged, strict=True):
        place.set_axis_off()
        inner = cast("SubplotSpec", place.get_subplotspec()).subgridspec(2, 1, height_ratios=(4, 1))
        axes = figure.add_subplot(inner[0])
        below = figure.add_subplot(inner[1], sharex=axes)
        axes.spines[["top", "right"]].set_visible(False)
        found = judged.measures.calibration
        edges = np.linspace(0, 1, BINS + 1)
        filled = found.counts > 0
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=_DOTTED)
        axes.plot(found.said[filled], found.happened[filled], color=_ACCENT, marker="o", markersize=4, linewidth=1.4)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_ylabel("Share that came true")
        axes.tick_params(labelsize=8, labelbottom=False)
        below.bar(edges[:-1], found.counts, width=np.diff(edges) * 0.92, align="edge", color=_ACCENT, alpha=0.55)
        below.spines[["top", "right"]].set_visible(False)
        below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        below.tick_params(labelsize=8)
        below.set_ylabel("Slides", fontsize=8)
        below.set_xlabel("Probability said")
        _title(axes, judged, f"ECE {_words(found.ece)}, Brier {_words(found.brier)}")
    names = evaluation.class_names
    what = f"probability of {names[1]}" if len(names) == 2 else "probability of the likeliest class"
    _caption(figure, f"{what}; {BINS} bins of equal width; dots: means of each bin")
    return figure


def confusion_figure(evaluation: Evaluation) -> Figure:
    """Draw the confusion matrices: counts, shaded by the share of each true class.

    Parameters
    ----------
    evaluation : Evaluation
        What was judged.

    Returns
    -------
    Figure
        As `roc_figure`.
    """
    names = [textwrap.fill(name, 12) for name in evaluation.class_names]
    figure, panels = _panels(len(evaluation.judged), size=max(_PANEL, 0.75 * len(names) + 1))
    for axes, judged in zip(panels, evaluation.judged, strict=True):
        counts = judged.measures.confusion
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, col), count in np.ndenumerate(counts):
            colour = "white" if share[row, col] > 0.6 else "black"
            text = f"{count}\n{share[row, col]:.0%}"
            axes.text(col, row, text, ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks(range(len(names)), names, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8, rotation=90 if len(names) == 2 else 0, va="center")
        axes.set_xlabel("Decided")
        axes.set_ylabel("True")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        cut = sorted(set(judged.candidate.thresholds.values()))
        said = "likeliest class" if not cut else f"threshold {cut[0]:.2f}"
        _title(axes, judged, said if len(cut) < 2 else f"thresholds {cut[0]:.2f} to {cut[-1]:.2f}")
    _caption(figure, "slides; percent and shade: of the true class")
    return figure


def faithfulness_figure(found: Sequence[Faithfulness]) -> Figure:
    """Draw what becomes of the prediction as patches are dropped, a panel per candidate and score.

    Parameters
    ----------
    found : sequence of Faithfulness
        With the random baseline of each candidate.

    Returns
    -------
    Figure
        As `roc_figure`.
    """
    random = {one.candidate: one for one in found if one.score == RANDOM}
    scores = [one for one in found if one.score != RANDOM]
    figure, panels = _panels(len(scores))
    for axes, one in zip(panels, scores, strict=True):
        curves = one.curves
        axes.plot(100 * GRID, random[one.candidate].curves["drop_morf"], color=_GREY, linestyle=_DOTTED, label="random")
        axes.plot(100 * GRID, curves["drop_morf"], color=_SECOND, linewidth=1.8, label="highest first")
        axes.plot(
            100 * GRID, curves["drop_lerf"], color=_ACCENT, linewidth=1.8, linestyle=_DASHED, label="lowest first"
        )
        gap = one.difference
        said = "difference " + _words(gap.value, gap.low, gap.high, signed=True)
        head = textwrap.fill(f"{one.candidate}: {one.score.replace('_', ' ')}", _LETTERS)
        axes.set_title(f"{head}\n{said}", fontsize=9)
        axes.set(xlim=(0, 100), ylim=(-0.02, 1.02))
        axes.set_xlabel("Patches dropped (%)")
        axes.set_ylabel("Probability of the\nclass predicted")
    panels[0].legend(loc="lower left", frameon=False, fontsize=8)
    _caption(figure, "means over slides; difference: area of lowest first less that of highest first, 95 % interval")
    return figure


def _panels(n: int, *, size: float = _PANEL, height: float = 1.0) -> tuple[Figure, list[Axes]]:
    columns = min(n, _IN_ROW)
    rows = -(-n // columns)
    figure = Figure(figsize=(max(columns * size, 4.2), rows * size * height + 0.5), dpi=150, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[n:]:
        axes.set_axis_off()
    panels: list[Axes] = list(grid.flat[:n])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure, panels


def _title(axes: Axes, judged: Judged, said: str) -> None:
    axes.set_title(f"{textwrap.fill(judged.candidate.name, _LETTERS)}\n{said}", fontsize=9)


def _caption(figure: Figure, text: str) -> None:
    width = int(figure.get_figwidth() * 15)
    figure.supxlabel(textwrap.fill(text[0].upper() + text[1:] + ".", width), fontsize=8, color="#444444")


def _sides(evaluation: Evaluation) -> str:
    names = evaluation.class_names
    if len(names) == 2:
        return f"test slides, {names[1]} against {names[0]}"
    return "test slides, mean over each class against the rest"


def _words(value: float, low: float = float("nan"), high: float = float("nan"), *, signed: bool = False) -> str:
    form = "+.2f" if signed else ".2f"
    if not np.isfinite(value):
        return "undefined"
    return f"{value:{form}} [{low:{form}}, {high:{form}}]" if np.isfinite(low) else f"{value:{form}}"
