"""What a training run came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..progress import Progress


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the training bags came to.

    Parameters
    ----------
    epoch : int
        From 1.
    train_loss, val_loss : float
        The recipe's loss, weighted by class where it says so, without the entropy of attention; the validation loss is
        NaN where nothing was held out.
    val_auc : float
        `bag_auc` on validation; NaN where it has none.
    lr : float
        Learning rate of this epoch; where an encoder is trained too, that of the pooling in the last step.
    """

    epoch: int
    train_loss: float
    val_loss: float
    val_auc: float
    lr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochProgress(Progress):
    """Progress of training at the end of an epoch, with its figures for whoever draws them.

    Parameters
    ----------
    fold : int
        The fold, from 1; 0 for the model fitted on all slides at the end.
    n_folds : int
        Number of folds.
    epoch : Epoch
        Its figures. A training that is resumed yields the epochs of before again, at once.
    """

    fold: int
    n_folds: int
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class FoldResult:
    """What one fold came to.

    Parameters
    ----------
    fold : int
        From 1.
    auc : float
        `bag_auc` on the fold's test slides; NaN where they lack a class.
    best_epoch : int
        The epoch that validation chose.
    n_train, n_val, n_test : int
        Slides in each part.
    """

    fold: int
    auc: float
    best_epoch: int
    n_train: int
    n_val: int
    n_test: int


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training run came to.

    Parameters
    ----------
    out : Path
        Folder of all files.
    model_path : Path
        The model to use, fitted on all slides.
    pooling : str
        Its pooling.
    class_names : tuple of str
        Its classes.
    folds : tuple of FoldResult
        One per fold.
    auc_mean, auc_sd : float
        Mean and standard deviation (ddof 1) of the folds' test AUC; NaN where undefined.
    auc_pooled : float
        AUC over the test slides of all folds together.
    epochs : int
        Epochs that the final model was fitted for.
    n_slides, n_patients : int
        Size of the cohort.
    subsampling : str
        What of the larger slides training looked at, in a sentence; empty where at all of them.
    """

    out: Path
    model_path: Path
    pooling: str
    class_names: tuple[str, ...]
    folds: tuple[FoldResult, ...]
    auc_mean: float
    auc_sd: float
    auc_pooled: float
    epochs: int
    n_slides: int
    n_patients: int
    subsampling: str
