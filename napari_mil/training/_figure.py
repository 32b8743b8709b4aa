"""The ROC picture of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import auc, roc_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_ACCENT = "#1f6fb2"
_GREY = "#9aa3ab"
_CLASS_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito
_MARKS = np.linspace(0, 1, 201)


def roc_figure(
    truths: Sequence[NDArray[np.int64]], probabilities: Sequence[NDArray[np.float64]], class_names: Sequence[str]
) -> Figure:
    """Draw the ROC of patients that the models had not seen.

    Two classes: one curve per fold, their mean and its spread. More: one curve per class against the rest, over the
    slides of all folds together.

    Parameters
    ----------
    truths : sequence of (n,) int64
        True classes of the test slides, a fold each.
    probabilities : sequence of (n, C) float64
        Predicted probabilities, a fold each.
    class_names : sequence of str
        The classes.

    Returns
    -------
    Figure
        12 x 12 cm; not known to pyplot, so nothing has to be closed.
    """
    figure = Figure(figsize=(4.8, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=(0, (2, 3)))
    if len(class_names) == 2:
        _draw_folds(axes, truths, [p[:, 1] for p in probabilities])
        axes.set_title(f"Slides of unseen patients: {class_names[1]} against {class_names[0]}", fontsize=9)
    else:
        _draw_classes(axes, np.concatenate(truths), np.concatenate(probabilities), class_names)
        axes.set_title("Slides of unseen patients: each class against the rest", fontsize=9)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel("False positive rate (1 - specificity)")
    axes.set_ylabel("True positive rate (sensitivity)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return figure


def _draw_folds(axes: Axes, truths: Sequence[NDArray[np.int64]], scores: Sequence[NDArray[np.float64]]) -> None:
    curves, areas = [], []
    for number, (truth, score) in enumerate(zip(truths, scores, strict=True), start=1):
        if len(np.unique(truth)) < 2:
            continue  # a fold without one of the classes has no curve
        fpr, tpr, _ = roc_curve(truth, score)
        areas.append(float(auc(fpr, tpr)))
        curves.append(np.interp(_MARKS, fpr, tpr))
        axes.plot(fpr, tpr, color=_GREY, linewidth=0.9, label=f"fold {number}: AUC {areas[-1]:.2f}")
    if len(curves) > 1:
        mean, spread = np.mean(curves, axis=0), np.std(curves, axis=0, ddof=1)
        mean[0], mean[-1] = 0.0, 1.0
        axes.fill_between(
            _MARKS, np.clip(mean - spread, 0, 1), np.clip(mean + spread, 0, 1), color=_ACCENT, alpha=0.15, linewidth=0
        )
        label = f"mean: AUC {np.mean(areas):.2f} ± {np.std(areas, ddof=1):.2f}"
        axes.plot(_MARKS, mean, color=_ACCENT, linewidth=2, label=label)


def _draw_classes(
    axes: Axes, truth: NDArray[np.int64], probabilities: NDArray[np.float64], class_names: Sequence[str]
) -> None:
    for c, name in enumerate(class_names):
        if not 0 < (truth == c).sum() < len(truth):
            continue
        fpr, tpr, _ = roc_curve(truth == c, probabilities[:, c])
        colour = _CLASS_COLOURS[c % len(_CLASS_COLOURS)]
        axes.plot(fpr, tpr, color=colour, linewidth=1.5, label=f"{name}: AUC {auc(fpr, tpr):.2f}")
