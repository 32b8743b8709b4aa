"""A finished fold: its figures and its predictions, and how they are kept for a training that is resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ._results import Epoch, FoldResult

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._cohort import Cohort


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A finished fold.

    Parameters
    ----------
    result : FoldResult
        Its figures.
    epochs : list of Epoch
        Its epochs.
    predictions, validation : DataFrame
        Its predictions of its test and of its validation slides; see `predictions_table`.
    """

    result: FoldResult
    epochs: list[Epoch]
    predictions: pd.DataFrame
    validation: pd.DataFrame

    def record(self) -> dict[str, Any]:
        """Return the fold as dicts, lists, numbers and text."""
        return {
            "result": asdict(self.result),
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "predictions": self.predictions.to_dict("list"),
            "validation": self.validation.to_dict("list"),
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Run:
        """Return the fold of a record."""
        epochs = [Epoch(**epoch) for epoch in record["epochs"]]
        tables = (pd.DataFrame(record[name]) for name in ("predictions", "validation"))
        return cls(FoldResult(**record["result"]), epochs, *tables)


def predictions_table(
    cohort: Cohort, rows: NDArray[np.int64], fold: int, probabilities: Sequence[NDArray[np.float64]]
) -> pd.DataFrame:
    """Return what a fold's model says of some slides: slide, patient, label, fold and ``p_<class>`` of each class.

    Parameters
    ----------
    cohort : Cohort
        The table.
    rows : (n,) int64
        Positions of the slides.
    fold : int
        Its number.
    probabilities : n of (C,) float64
        What it says of each.

    Returns
    -------
    DataFrame
        In the order of the rows.
    """
    columns: dict[str, Any] = {
        "slide": [cohort.slides[row] for row in rows],
        "patient": [cohort.patients[row] for row in rows],
        "label": [cohort.labels[row] for row in rows],
        "fold": fold,
    }
    stacked = np.array(probabilities)  # (n, C)
    columns |= {f"p_{name}": stacked[:, c] for c, name in enumerate(cohort.class_names)}
    return pd.DataFrame(columns)


def metrics_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Return what each epoch of each fold came to, a row each."""
    return pd.DataFrame([{"fold": run.result.fold, **asdict(epoch)} for run in runs for epoch in run.epochs])


def fold_auc(folds: Sequence[FoldResult]) -> tuple[float, float]:
    """Return mean and standard deviation (ddof 1) of the folds' AUC, NaN where undefined."""
    known = np.array([fold.auc for fold in folds if np.isfinite(fold.auc)])
    return (
        float(known.mean()) if len(known) else float("nan"),
        float(known.std(ddof=1)) if len(known) > 1 else float("nan"),
    )
