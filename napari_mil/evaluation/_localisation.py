"""How well one score of a map finds what a person outlined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from ..counting import agreed, counted
from ..maps import KIND_TITLES
from ._agreement_rules import TOP_K
from ._overlap import OverlapCurve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..annotations import PatchLabels
    from ..maps import MapView

_MASSES = frozenset({"attention", "relevance"})
_SIGNED = frozenset({"contribution", "leave_one_out", "gradient_x_input", "integrated_gradients"})


@dataclass(frozen=True, slots=True, eq=False)
class Localisation:
    """How well one score of a map finds what a person outlined.

    NaN stands for what is not defined; `notes` says why.

    Parameters
    ----------
    score, kind, class_name : str
        Which score, of what kind, for which class (empty where all classes share it).
    title : str
        The same in words.
    n, n_target : int
        Patches judged, and those of them that are target.
    unknown : int
        Patches without a value, which are left out.
    covered : float
        Share of the target's area that lies in patches.
    auroc : float
        Probability that a target patch scores above another patch.
    average_precision : float
        Mean precision over the target patches, best first; by chance it is ``prevalence``.
    mass_inside : float
        Share of the score's sum that lies in target patches, in [0, 1]; of signed scores the sum of what speaks for
        the class. NaN for scores whose sum means nothing.
    pointing : float
        Pointing game: 1 where the highest patch is target, 0 where not; where several share the highest value, the
        share of them that is.
    hit_rates : tuple of (int, float)
        For each k, the share of the top k patches that is target; ties count in proportion.
    curve : OverlapCurve
        Dice and intersection over union at every threshold.
    rule : str
        What made a patch target, in words.
    notes : tuple of str
        What to know about these figures.
    """

    score: str
    kind: str
    class_name: str
    title: str
    n: int
    n_target: int
    unknown: int
    covered: float
    auroc: float
    average_precision: float
    mass_inside: float
    pointing: float
    hit_rates: tuple[tuple[int, float], ...]
    curve: OverlapCurve
    rule: str
    notes: tuple[str, ...]

    @property
    def prevalence(self) -> float:
        """Share of the patches that is target: what precision and hit rates come to by chance."""
        return self.n_target / self.n if self.n else float("nan")

    @property
    def enrichment(self) -> float:
        """How many times more of the score's sum lies in target patches than if it were spread evenly."""
        return self.mass_inside / self.prevalence if self.n_target else float("nan")


def localise(view: MapView, labels: PatchLabels, *, top_k: Sequence[int] = TOP_K) -> Localisation:
    """Measure how well one score of a map finds the target.

    Parameters
    ----------
    view : MapView
        The score, for one class, as shown.
    labels : PatchLabels
        Of the map's patches; see `label_patches`.
    top_k : sequence of int
        For which numbers of top patches to state the hit rate; those beyond the slide's patches are left out.

    Returns
    -------
    Localisation
        AUROC and average precision by scikit-learn; Dice and IoU at any threshold through ``curve``.
    """
    if view.values.shape != labels.target.shape or any(k < 1 for k in top_k):
        raise ValueError(f"{len(labels.target)} labels for {len(view.values)} patches; top_k {tuple(top_k)}")
    known = ~np.isnan(view.raw)
    raw, target = view.raw[known], labels.target[known]
    n, n_target = len(raw), int(target.sum())
    both = 0 < n_target < n
    return Localisation(
        view.score,
        view.kind,
        view.class_name,
        view.title,
        n,
        n_target,
        len(view.raw) - n,
        labels.covered,
        float(roc_auc_score(target, raw)) if both else float("nan"),
        float(average_precision_score(target, raw)) if n_target else float("nan"),
        _mass_inside(view.kind, raw, target),
        _hit_rate(raw, target, 1),
        tuple((k, _hit_rate(raw, target, k)) for k in top_k if k <= n),
        OverlapCurve(view.values, labels),
        labels.rule,
        tuple(_notes(view, labels, n, n_target)),
    )


def _mass_inside(kind: str, raw: NDArray[np.float32], target: NDArray[np.bool_]) -> float:
    if not target.any() or kind not in _MASSES | _SIGNED:
        return float("nan")
    mass = np.maximum(raw, 0).astype(np.float64)
    whole = float(mass.sum())
    return float(mass[target].sum()) / whole if whole > 0 else float("nan")


def _hit_rate(raw: NDArray[np.float32], target: NDArray[np.bool_], k: int) -> float:
    """Return the share of the top k that is target, as expected where ties are broken at random."""
    if not target.any():
        return float("nan")
    cut = np.partition(raw, len(raw) - k)[len(raw) - k]
    above, tied = raw > cut, raw == cut
    return float(target[above].sum() + (k - above.sum()) * target[tied].mean()) / k


def _notes(view: MapView, labels: PatchLabels, n: int, n_target: int) -> list[str]:
    """Say in words what cannot be measured, and what weakens the figures."""
    found = []
    covered = labels.covered
    if labels.area.is_empty:
        found.append(
            "Nothing is outlined as the target on this slide: there is nothing to find, and no figure to give."
        )
    elif covered == 0:
        found.append("The outlines of the target lie beside all patches: no figure to give.")
    elif not n_target:
        found.append(
            f"The target touches patches, but none by {labels.min_overlap:.0%} of its area: no figure to give. "
            "Lower the share, or use smaller patches."
        )
    elif n_target == n:
        found.append("All patches are target: nothing to tell it from, so AUROC is not defined and precision is 1.")
    if 0 < covered < 0.9:
        found.append(f"{1 - covered:.0%} of the target's area lies in no patch.")
    if n < len(view.raw):
        found.append(
            f"{counted(len(view.raw) - n, 'patch')} without a value {agreed(len(view.raw) - n, 'is', 'are')} left out."
        )
    if view.kind == "spread":
        found.append(f"{KIND_TITLES['spread']} says where models disagree, not where they looked.")
    return found
