"""MIL models: one pooling a file, the registry, checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._base import BagOutput as BagOutput
    from ._base import MILModel as MILModel
    from ._base import Score as Score
    from ._card import ModelCard as ModelCard
    from ._card import ScoreKind as ScoreKind
    from ._card_words import card_details as card_details
    from ._card_words import card_summary as card_summary
    from ._checkpoint import ModelEntry as ModelEntry
    from ._checkpoint import check_model_file as check_model_file
    from ._checkpoint import foreign_files as foreign_files
    from ._checkpoint import list_models as list_models
    from ._checkpoint import load_model as load_model
    from ._checkpoint import read_card as read_card
    from ._checkpoint import read_entry as read_entry
    from ._checkpoint import save_model as save_model
    from ._fit import check_fit as check_fit
    from ._fit import made_elsewhere as made_elsewhere
    from ._fit import trained_on_another as trained_on_another
    from ._gradients import GRADIENT_STEPS as GRADIENT_STEPS
    from ._gradients import iter_gradient_x_input as iter_gradient_x_input
    from ._gradients import iter_integrated_gradients as iter_integrated_gradients
    from ._hub import MODEL_ENDINGS as MODEL_ENDINGS
    from ._hub import is_on_hub as is_on_hub
    from ._leave_one_out import iter_leave_one_out as iter_leave_one_out
    from ._registry import MODEL_NAMES as MODEL_NAMES
    from ._registry import create_model as create_model
    from ._registry import gives_leave_one_out as gives_leave_one_out
    from ._registry import has_dropout as has_dropout
    from ._registry import is_known as is_known
    from ._registry import no_dropout as no_dropout
    from ._uncertainty import check_dropout as check_dropout
    from ._uncertainty import dropout_passes as dropout_passes

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_base": ["BagOutput", "MILModel", "Score"],
        "_card": ["ModelCard", "ScoreKind"],
        "_card_words": ["card_details", "card_summary"],
        "_checkpoint": [
            "ModelEntry",
            "check_model_file",
            "foreign_files",
            "list_models",
            "load_model",
            "read_card",
            "read_entry",
            "save_model",
        ],
        "_fit": ["check_fit", "made_elsewhere", "trained_on_another"],
        "_hub": ["MODEL_ENDINGS", "is_on_hub"],
        "_gradients": ["GRADIENT_STEPS", "iter_gradient_x_input", "iter_integrated_gradients"],
        "_leave_one_out": ["iter_leave_one_out"],
        "_registry": ["MODEL_NAMES", "create_model", "gives_leave_one_out", "has_dropout", "is_known", "no_dropout"],
        "_uncertainty": ["check_dropout", "dropout_passes"],
    },
)
