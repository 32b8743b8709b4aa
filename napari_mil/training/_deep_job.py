"""What all folds of a fine-tuning run share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models import create_model
from ._deep import DeepMIL

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ..features import Encoder
    from ._cohort import Cohort
    from ._deep_recipe import FineTuning

FINAL = 0  # number of the pair fitted on all slides; the folds count from 1


@dataclass(frozen=True, slots=True, eq=False)
class DeepJob:
    """A fine-tuning run as asked for.

    Parameters
    ----------
    cohort : Cohort
        Slides, labels and patients.
    quickhashes : mapping of str to str
        Hash of each slide's file.
    encoder : Encoder
        Where to begin.
    name : str
        Name of the fine-tuned encoder.
    pooling : str
        Name of the pooling.
    config : mapping
        Its sizes that differ from the defaults.
    recipe : FineTuning
        How each pair is fitted; its seed is that of the run.
    patches_per_slide : int
        Most patches of a slide that are looked at.
    slide_mpp : float or None
        Microns per level-0 pixel of slides that do not state it.
    device : str
        Torch device.
    out : Path
        Folder of the results.
    """

    cohort: Cohort
    quickhashes: Mapping[str, str]
    encoder: Encoder
    name: str
    pooling: str
    config: Mapping[str, Any]
    recipe: FineTuning
    patches_per_slide: int
    slide_mpp: float | None
    device: str
    out: Path

    def key(self, folds: int) -> dict[str, Any]:
        """Return what the numbers and files of the run depend on, by what to call it."""
        cohort = self.cohort
        return {
            "kind of training": "fine-tuning",
            "cohort": [cohort.slides, cohort.labels, cohort.patients, cohort.splits, cohort.class_names],
            "set of slides": [sorted(self.quickhashes.items()), self.slide_mpp],
            "encoder": [asdict(self.encoder.info), self.encoder.colours],
            "name": self.name,
            "pooling": [self.pooling, dict(self.config)],
            "recipe": asdict(self.recipe),
            "number of patches a slide": self.patches_per_slide,
            "number of folds": folds if cohort.splits is None else 0,
            "version of torch": version("torch"),
            "version of napari-mil": version("napari-mil"),
        }

    def recipe_of(self, number: int) -> FineTuning:
        """Return the recipe of a fold (or `FINAL`), with a seed of its own."""
        return replace(self.recipe, seed=self.seed_of(number))

    def seed_of(self, number: int) -> int:
        """Return the seed of a fold (or `FINAL`)."""
        return int(np.random.SeedSequence([self.recipe.seed, number]).generate_state(1)[0])


@dataclass(frozen=True, slots=True, eq=False)
class DeepBench:
    """A fine-tuning run with all that its fits need at hand.

    Parameters
    ----------
    job : DeepJob
        The run.
    pools : sequence of (n, T, T, 3) uint8
        Patches of every slide, in the cohort's order.
    start : mapping of str to Tensor
        The encoder's weights as they were given.
    """

    job: DeepJob
    pools: Sequence[NDArray[np.uint8]]
    start: Mapping[str, torch.Tensor]

    def new_model(self, number: int) -> DeepMIL:
        """Return the encoder as it was given, with a fresh pooling, of a fold (or `FINAL`)."""
        job = self.job
        job.encoder.to(job.device).module.load_state_dict(self.start)
        pooling = create_model(
            job.pooling,
            in_features=job.encoder.info.dim,
            class_names=job.cohort.class_names,
            seed=job.seed_of(number),
            **job.config,
        )
        return DeepMIL(job.encoder, pooling, chunk=job.recipe.chunk).to(job.device)
