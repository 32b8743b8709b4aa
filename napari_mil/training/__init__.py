"""Training: cohort table and splits, losses, fit, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._bags import Bags as Bags
    from ._bags import feature_files as feature_files
    from ._bags import load_bags as load_bags
    from ._cohort import Cohort as Cohort
    from ._cohort import read_cohort as read_cohort
    from ._deep import DeepMIL as DeepMIL
    from ._deep_recipe import FineTuning as FineTuning
    from ._deep_report import FineTuned as FineTuned
    from ._deep_slides import find_slides as find_slides
    from ._deep_train import iter_fine_tune as iter_fine_tune
    from ._fit import fit as fit
    from ._fit import predict as predict
    from ._folder import check_free as check_free
    from ._folds import Fold as Fold
    from ._folds import make_folds as make_folds
    from ._metrics import bag_auc as bag_auc
    from ._recipe import RECIPES as RECIPES
    from ._recipe import Recipe as Recipe
    from ._recipe import learning_rate as learning_rate
    from ._report import fingerprint as fingerprint
    from ._results import Epoch as Epoch
    from ._results import EpochProgress as EpochProgress
    from ._results import FoldResult as FoldResult
    from ._results import TrainingResult as TrainingResult
    from ._threshold import youden_threshold as youden_threshold
    from ._train import iter_train as iter_train

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_bags": ["Bags", "feature_files", "load_bags"],
        "_cohort": ["Cohort", "read_cohort"],
        "_deep": ["DeepMIL"],
        "_deep_recipe": ["FineTuning"],
        "_deep_report": ["FineTuned"],
        "_deep_slides": ["find_slides"],
        "_deep_train": ["iter_fine_tune"],
        "_fit": ["fit", "predict"],
        "_folder": ["check_free"],
        "_folds": ["Fold", "make_folds"],
        "_metrics": ["bag_auc"],
        "_recipe": ["RECIPES", "Recipe", "learning_rate"],
        "_report": ["fingerprint"],
        "_results": ["Epoch", "EpochProgress", "FoldResult", "TrainingResult"],
        "_threshold": ["youden_threshold"],
        "_train": ["iter_train"],
    },
)
