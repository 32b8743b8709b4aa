"""Display scales: the honest ways to show a score, and which of them suit which kind.

Raw scores are what is stored; a scale is a view. Each scale turns the one number that a patch has for one class into
the number shown, keeps the order of patches, and carries NaN through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MapError
from ._limits import COLOUR_PERCENTILE, colour_end

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models import ScoreKind

# Names that matplotlib and napari share, the usual ones first. All are even to the eye and keep their order for every
# kind of colour vision. Over haematoxylin and eosin the greens and the yellow of viridis stand out from pink and
# purple; its own purple marks what matters least.
COLOURMAPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"sequential": ("viridis", "cividis", "magma", "inferno"), "diverging": ("BrBG", "PuOr", "RdBu")}
)


@dataclass(frozen=True, slots=True)
class Scale:
    """One way to show a score.

    Parameters
    ----------
    name : str
        Short name ("rank").
    label : str
        In a word or two, for a list.
    title : str
        What a colour bar is headed with.
    help : str
        One sentence in plain words.
    fixed_limits : (float, float) or None
        Lowest and highest value of the colour bar; None where they follow from the values (see `limits`).
    log : bool
        True where equal ratios deserve equal steps of colour; colour `to_axis` of the values then.
    diverging : bool
        True where zero is the neutral middle.
    saturates : bool
        True where the colours end before the farthest scores do, which all have the end's colour.
    """

    name: str
    label: str
    title: str
    help: str
    fixed_limits: tuple[float, float] | None = (0.0, 1.0)
    log: bool = False
    diverging: bool = False
    saturates: bool = False

    @property
    def colourmap(self) -> str:
        """Name of the colour map, one that matplotlib and napari both know."""
        return self.colourmaps[0]

    @property
    def colourmaps(self) -> tuple[str, ...]:
        """Names of the colour maps that suit the scale, its own first."""
        return COLOURMAPS["diverging" if self.diverging else "sequential"]

    def limits(self, values: NDArray[np.float32]) -> tuple[float, float]:
        """Return the ends of the colour bar for these values.

        Fixed for ``rank``, ``robust`` and ``probability``; for ``ratio`` from 0.1 to the power of ten at or above the
        largest value, at least 10, so that a slide with even attention looks even; for ``contribution`` symmetric
        about zero and for ``spread`` from zero, to the 99th percentile of the scores' size, see `colour_end`.

        Parameters
        ----------
        values : (N,) float32
            Values as shown.

        Returns
        -------
        (float, float)
            Lowest and highest value, in the units of ``values``.
        """
        if self.fixed_limits is not None:
            return self.fixed_limits
        if self.saturates:
            end = colour_end(values)
            return (-end if self.diverging else 0.0, end)
        top = float(values[np.isfinite(values)].max(initial=0.0))
        return (0.1, 10.0 ** max(1, int(np.ceil(np.log10(top) - 1e-6))) if top > 0 else 10.0)

    def to_axis(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what to colour linearly: log10 of the values on a log scale, the values themselves otherwise.

        Parameters
        ----------
        values : (...) float32
            Values as shown, or limits or thresholds on them.

        Returns
        -------
        (...) float32
            Same shape; zero becomes a finite, very low number.
        """
        if not self.log:
            return np.asarray(values, np.float32)
        return np.log10(np.maximum(values, np.finfo(np.float32).tiny)).astype(np.float32)

    def from_axis(self, axis_value: float) -> float:
        """Return the shown value at a place on the colour axis: the inverse of `to_axis`."""
        return float(10.0**axis_value) if self.log else float(axis_value)


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        scale.name: scale
        for scale in (
            Scale(
                "rank",
                "Rank",
                "Rank among this slide's patches",
                "Patches sorted by score and spread evenly from 0 to 1: half of every slide lies above 0.5, "
                "also of a slide without disease.",
            ),
            Scale(
                "ratio",
                "Times average",
                "Times the average attention",
                "1 is the attention of an average patch, 10 is ten times as much; comparable between slides.",
                fixed_limits=None,
                log=True,
            ),
            Scale(
                "robust",
                "Stretched",
                "Between this slide's 1st and 99th percentile",
                "Stretched between the lowest and the highest scores of this slide, leaving out 1 % at either end: "
                "good for seeing structure, not for comparing slides.",
            ),
            Scale(
                "probability",
                "Probability",
                "Probability of the patch alone",
                "What the model would say of a slide made of this patch alone, from 0 to 1, never stretched.",
            ),
            Scale(
                "share",
                "From 0 to 1",
                "Relevance, from 0 to 1",
                "As the model has it, from 0 (nothing in common with the task) to 1, never stretched.",
            ),
            Scale(
                "contribution",
                "For and against",
                "Evidence against (below 0) or for (above 0)",
                "How far the patch pushed the prediction towards the class (above 0) or away from it (below 0). "
                f"Colours end at the {COLOUR_PERCENTILE}th percentile of the scores' size, so that a few patches "
                "far out leave the others their colour.",
                fixed_limits=None,
                diverging=True,
                saturates=True,
            ),
            Scale(
                "spread",
                "Spread",
                "Spread (standard deviation)",
                "How far models, or passes with dropout, disagree about the patch, in the score's own units: "
                f"0 is full agreement. Colours end at the {COLOUR_PERCENTILE}th percentile.",
                fixed_limits=None,
                saturates=True,
            ),
        )
    }
)

# The first of each is the default. Rank and robust hide where zero lies, so robust is not offered for signed sums.
SCALES_FOR_KIND: Mapping[ScoreKind, tuple[str, ...]] = MappingProxyType(
    {
        "attention": ("rank", "ratio", "robust"),
        "relevance": ("share", "rank"),
        "instance_logit": ("probability", "rank", "robust"),
        "probability": ("probability", "rank"),
        "contribution": ("contribution", "rank"),
        "leave_one_out": ("contribution", "rank"),
        "gradient_x_input": ("contribution", "rank"),
        "integrated_gradients": ("contribution", "rank"),
        "spread": ("spread",),
    }
)

KIND_TITLES: Mapping[ScoreKind, str] = MappingProxyType(
    {
        "attention": "Attention",
        "relevance": "Relevance to the task",
        "instance_logit": "Score of the patch alone",
        "probability": "Probability of the patch alone",
        "contribution": "Contribution to the prediction",
        "leave_one_out": "Effect of leaving the patch out",
        "gradient_x_input": "Gradient times input",
        "integrated_gradients": "Integrated gradients",
        "spread": "Spread",
    }
)

# The same in a word or two, for a list.
KIND_LABELS: Mapping[ScoreKind, str] = MappingProxyType(
    {
        "attention": "Attention",
        "relevance": "Relevance",
        "instance_logit": "Patch alone",
        "probability": "Patch alone",
        "contribution": "Contribution",
        "leave_one_out": "Leaving it out",
        "gradient_x_input": "Gradient times input",
        "integrated_gradients": "Integrated gradients",
        "spread": "Spread",
    }
)


def score_title(kind: ScoreKind, of: ScoreKind | None = None) -> str:
    """Name a score in words; of a spread, also what it is the spread of.

    Parameters
    ----------
    kind : str
        Kind of score.
    of : str or None
        Of a spread: kind of the score that spreads.

    Returns
    -------
    str
        "Attention"; "Attention, spread".
    """
    return KIND_TITLES[kind] if of is None else f"{KIND_TITLES[of]}, {KIND_TITLES[kind].lower()}"


def score_label(kind: ScoreKind, of: ScoreKind | None = None) -> str:
    """Name a score as `score_title` does, in a word or two."""
    return KIND_LABELS[kind] if of is None else f"{KIND_LABELS[of]}, {KIND_LABELS[kind].lower()}"


def honest_scale(kind: ScoreKind, name: str | None) -> Scale:
    """Return a scale by name if it is honest for a kind of score.

    Parameters
    ----------
    kind : str
        Kind of score.
    name : str or None
        Scale; None takes the kind's default.

    Returns
    -------
    Scale
        The scale.

    Raises
    ------
    MapError
        If the scale would mislead for this kind; names those that do not.
    """
    honest = SCALES_FOR_KIND[kind]
    if name is None:
        return SCALES[honest[0]]
    if name not in honest:
        raise MapError(
            f'{KIND_TITLES[kind]} cannot be shown honestly on the scale "{name}". Choose one of: {", ".join(honest)}.'
        )
    return SCALES[name]


def scale_after(before: ScoreKind, scale: str, kind: ScoreKind) -> str:
    """Return the scale on which to show another score.

    A scale that somebody chose is kept where it is honest; the usual one gives way to the usual one of the new score,
    so that signed scores show their sign.

    Parameters
    ----------
    before : str
        Kind of the score shown so far.
    scale : str
        Name of the scale shown so far.
    kind : str
        Kind of the score to show.

    Returns
    -------
    str
        Name of a scale that is honest for ``kind``.
    """
    honest = SCALES_FOR_KIND[kind]
    chosen = scale != SCALES_FOR_KIND[before][0] or kind == before
    return scale if chosen and scale in honest else honest[0]
