"""The attention map: raw scores per tile with the prediction and where all of it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import MapError
from ._legend import format_probability
from ._scales import Scale, honest_scale, score_title
from ._shown import one_class, shown

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from ..features import EncoderInfo
    from ..models import ModelCard, ScoreKind
    from ..slides import SlideRef
    from ..tiling import TileGrid
    from ._raster import Raster


@dataclass(frozen=True, slots=True, eq=False)
class MapScore:
    """One raw score of every tile.

    Parameters
    ----------
    raw : (N,) or (C, N) float32
        As the model gave it, in the grid's order; with a first axis where it has one row per class or branch.
    kind : str
        What it means; decides which display scales are honest.
    of : str or None
        Of a spread: the kind of the score that spreads.
    """

    raw: NDArray[np.float32]
    kind: ScoreKind
    of: ScoreKind | None = None

    def __post_init__(self) -> None:
        if (self.kind == "spread") != (self.of is not None):
            raise ValueError(f"a spread is of a score, and nothing else is: {self.kind} of {self.of}")

    @property
    def per_class(self) -> bool:
        """True where the score differs by class."""
        return self.raw.ndim == 2


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """How far the members disagree about the whole slide, of which a prediction is the mean.

    Parameters
    ----------
    method : str
        "ensemble" (several models) or "mc-dropout" (one model, several passes with dropout on).
    members : int
        How many models or passes.
    logits, probabilities : (C,) float32
        Standard deviation over the members (dividing by their number).
    models : tuple of ModelCard
        The models of an ensemble; empty for passes.
    seed : int or None
        What the passes were drawn from.
    """

    method: Literal["ensemble", "mc-dropout"]
    members: int
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    models: tuple[ModelCard, ...] = ()
    seed: int | None = None

    @property
    def source(self) -> str:
        """Over what it was taken, in words."""
        return f"{self.members} models" if self.method == "ensemble" else f"{self.members} passes with dropout"


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the model says of the whole slide.

    Parameters
    ----------
    class_names : tuple of str
        One per logit; a single name is the positive class of a sigmoid.
    logits, probabilities : (C,) float32
        Softmax over C >= 2 logits, sigmoid of a single one; with a spread the mean of the members', each by itself.
    spread : Spread or None
        How far the members disagree, where there were several.
    """

    class_names: tuple[str, ...]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    spread: Spread | None = None

    def __post_init__(self) -> None:
        shape = (len(self.class_names),)
        numbers = [self.logits, self.probabilities]
        if self.spread is not None:
            numbers += [self.spread.logits, self.spread.probabilities]
        if not shape[0] or any(found.shape != shape for found in numbers):
            raise ValueError(f"{shape[0]} class names for numbers of shapes {[found.shape for found in numbers]}")

    @property
    def class_index(self) -> int:
        """The most probable class; 0 for a sigmoid, whose only class is the positive one."""
        return int(np.argmax(self.probabilities))

    @property
    def sentence(self) -> str:
        """The prediction in words: class, probability and, where there is one, its spread."""
        index = self.class_index
        said = f"{self.class_names[index]}, probability {format_probability(float(self.probabilities[index]))}"
        if self.spread is None:
            return said
        return f"{said} ± {float(self.spread.probabilities[index]):.1%} (spread over {self.spread.source})"


@dataclass(frozen=True, slots=True)
class Provenance:
    """With what a map was computed.

    Parameters
    ----------
    napari_mil, torch, python : str
        Versions.
    device : str
        "cpu", "cuda" or "mps".
    seed : int or None
        Seed that the model was trained with; None where its card does not say.
    created : str
        When, UTC, ISO 8601.
    """

    napari_mil: str
    torch: str
    python: str
    device: str
    seed: int | None
    created: str


@dataclass(frozen=True, slots=True, eq=False)
class MapView:
    """One score for one class on one scale: what is on the screen.

    Parameters
    ----------
    score : str
        Name of the score.
    kind : str
        Its kind.
    scale : Scale
        How it is shown.
    class_index : int or None
        Class; None for a score that all classes share.
    class_name : str
        Name of that class, or empty.
    raw : (N,) float32
        One raw number per tile; for several classes see `one_class`.
    values : (N,) float32
        As shown; rises with ``raw``.
    of : str or None
        Of a spread: the kind of the score that spreads.
    limits : (float, float)
        Ends of the colour bar, in the units of ``values``.
    lowest, highest : float
        The least that a threshold can be, at which nothing is hidden, and the most: those ends, and where colours
        saturate the least value and what lies beyond them.
    """

    score: str
    kind: ScoreKind
    scale: Scale
    class_index: int | None
    class_name: str
    raw: NDArray[np.float32]
    values: NDArray[np.float32]
    of: ScoreKind | None = None
    limits: tuple[float, float] = field(init=False)
    lowest: float = field(init=False)
    highest: float = field(init=False)

    def __post_init__(self) -> None:
        # once: a slider asks many times a second
        low, high = lowest, highest = self.scale.limits(self.values)
        finite = self.values[np.isfinite(self.values)] if self.scale.saturates else self.values[:0]
        if len(finite):
            lowest, highest = float(finite.min()), max(high, float(finite.max()))
        for name, value in (("limits", (low, high)), ("lowest", lowest), ("highest", highest)):
            object.__setattr__(self, name, value)

    @property
    def title(self) -> str:
        """What is shown, in words: kind of score and class."""
        title = score_title(self.kind, self.of)
        return f"{title}: {self.class_name}" if self.class_name else title


@dataclass(frozen=True, slots=True, eq=False)
class AttentionMap:
    """Where a model looked on a slide: raw scores, never normalised; scale and threshold are views.

    Parameters
    ----------
    scores : mapping of str to MapScore
        Raw scores by name.
    grid : TileGrid
        The tiles.
    prediction : Prediction
        What the model says of the slide.
    slide : SlideRef
        Which slide.
    encoder : EncoderInfo
        What made the features.
    model : ModelCard
        Which model.
    default_score : str
        The score to show first.
    provenance : Provenance
        Versions, device, seed, time.
    """

    scores: Mapping[str, MapScore]
    grid: TileGrid
    prediction: Prediction
    slide: SlideRef
    encoder: EncoderInfo
    model: ModelCard
    default_score: str
    provenance: Provenance

    def __post_init__(self) -> None:
        n, c = len(self.grid), len(self.prediction.class_names)
        for name, score in self.scores.items():
            if score.raw.dtype != np.float32 or score.raw.shape not in ((n,), (c, n)):
                raise ValueError(f"{name} must be ({n},) or ({c}, {n}) float32, not {score.raw.shape}")
        if self.default_score not in self.scores:
            raise ValueError(f"default_score {self.default_score!r} is none of {sorted(self.scores)}")

    def __len__(self) -> int:
        return len(self.grid)

    @property
    def l0_mpp(self) -> float:
        """Microns per level-0 pixel, as the tiles were laid."""
        return self.grid.tile_um / self.grid.tile_l0

    def view(self, score: str | None = None, scale: str | None = None, class_index: int | None = None) -> MapView:
        """Return one score for one class on one scale.

        Parameters
        ----------
        score : str or None
            Name of a score; None takes ``default_score``.
        scale : str or None
            Name of a display scale; None takes the default of the score's kind.
        class_index : int or None
            Class; None takes the predicted one. Of no effect on a score that all classes share.

        Returns
        -------
        MapView
            Raw and shown values with their meaning.

        Raises
        ------
        MapError
            If the map has no such score or class, or the scale would mislead.
        """
        name = self.default_score if score is None else score
        if name not in self.scores:
            raise MapError(f'This map has no score "{name}". It has: {", ".join(self.scores)}.')
        found = self.scores[name]
        chosen = honest_scale(found.kind, scale)
        index = self._class_index(class_index) if found.per_class else None
        raw = one_class(found.raw, found.kind, index)
        class_name = "" if index is None else self.prediction.class_names[index]
        return MapView(name, found.kind, chosen, index, class_name, raw, shown(raw, found.kind, chosen), found.of)

    def display(
        self, score: str | None = None, scale: str | None = None, class_index: int | None = None
    ) -> NDArray[np.float32]:
        """Return the values as shown; parameters and errors as in `view`.

        Returns
        -------
        (N,) float32
            In the grid's order.
        """
        return self.view(score, scale, class_index).values

    def raster(self, score: str | None = None, scale: str | None = None, class_index: int | None = None) -> Raster:
        """Return the values as shown, painted on a regular raster; parameters and errors as in `view`.

        Returns
        -------
        Raster
            NaN outside the tiles.
        """
        from ._raster import paint

        return paint(self.display(score, scale, class_index), self.grid)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map to an HDF5 file; see `write_map`."""
        from ._store import write_map

        write_map(path, self)

    def _class_index(self, class_index: int | None) -> int:
        names = self.prediction.class_names
        if class_index is None:
            return self.prediction.class_index
        if not 0 <= class_index < len(names):
            raise MapError(f"This map has no class {class_index}. It has: {', '.join(names)}.")
        return class_index
