"""What all folds of a training run share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models import MILModel, create_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._cohort import Cohort
    from ._recipe import Recipe

FINAL = 0  # number of the model fitted on all slides; the folds count from 1


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A training run as asked for.

    Parameters
    ----------
    cohort : Cohort
        Slides, labels and patients.
    bags : sequence of (N, D) float32
        Features, in the cohort's order.
    sizes : (S,) int64
        Patches of each.
    quickhashes : mapping of str to str
        Hash of the file of each slide that is known.
    pooling : str
        Name of the model.
    config : mapping
        Its sizes that differ from the defaults.
    recipe : Recipe
        How each model is fitted; its seed is that of the run.
    device : str
        Torch device.
    out : Path
        Folder of the results.
    origin : mapping
        Fields of the model card that say what the features are and what the model is for.
    """

    cohort: Cohort
    bags: Sequence[NDArray[np.float32]]
    sizes: NDArray[np.int64]
    quickhashes: Mapping[str, str]
    pooling: str
    config: Mapping[str, Any]
    recipe: Recipe
    device: str
    out: Path
    origin: Mapping[str, Any]

    def new_model(self, number: int) -> MILModel:
        """Return the untrained model of a fold (or `FINAL`), with initial weights of its own."""
        return create_model(
            self.pooling,
            in_features=self.bags[0].shape[1],
            class_names=self.cohort.class_names,
            seed=self._seed(number),
            **self.config,
        )

    def recipe_of(self, number: int) -> Recipe:
        """Return the recipe of a fold (or `FINAL`), with a seed of its own."""
        return replace(self.recipe, seed=self._seed(number))

    def _seed(self, number: int) -> int:
        return int(np.random.SeedSequence([self.recipe.seed, number]).generate_state(1)[0])
