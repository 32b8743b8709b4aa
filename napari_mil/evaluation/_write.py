"""What an evaluation leaves in its folder, and the record with every number."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import ExportError
from ..files import cannot_write, replacing
from ._bootstrap import LEVEL
from ._calibration import BINS
from ._faithfulness import GRID, RANDOM
from ._figures import confusion_figure, faithfulness_figure, reliability_figure, roc_figure
from ._provenance import provenance
from ._tables import (
    comparisons_table,
    faithfulness_table,
    folds_table,
    latex,
    markdown,
    measures_table,
    predictions_table,
    printed,
    printed_comparisons,
    printed_faithfulness,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ._evaluate import Evaluation, Judged
    from ._faithfulness import Faithfulness, SlideFlips


def evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return every number of an evaluation and where it is from, JSON-able: None stands for undefined.

    Parameters
    ----------
    evaluation : Evaluation
        What was judged.

    Returns
    -------
    dict
        For ``summary.json``.
    """
    n_classes = len(evaluation.class_names)
    record = {
        "class_names": evaluation.class_names,
        "rules": {
            "slides": "test slides only; all folds together unless said otherwise",
            "classes": "each class against the rest, plain mean" if n_classes > 2 else "the second against the first",
            "interval": f"percentile bootstrap over patients, stratified by class, {LEVEL:.0%}",
            "resamplings": evaluation.replicates,
            "seed": evaluation.seed,
            "delong": "two-sided, slides independent" if n_classes == 2 else "not stated for more than two classes",
            "calibration_bins": BINS,
        },
        "models": [_judged_record(judged) for judged in evaluation.judged],
        "comparisons": [asdict(comparison) for comparison in evaluation.comparisons],
        "provenance": dict(evaluation.provenance),
    }
    plain: dict[str, Any] = plain_values(record)
    return plain


def _judged_record(judged: Judged) -> dict[str, Any]:
    candidate, measures = judged.candidate, judged.measures
    figures = asdict(measures)
    figures["folds"] = [{"fold": fold, "slides": slides, "auc": area} for fold, slides, area in measures.folds]
    return {
        "name": candidate.name,
        "pooling": candidate.pooling,
        **figures,
        "thresholds": {str(fold): cut for fold, cut in candidate.thresholds.items()},
        "threshold_from": candidate.threshold_from,
        "cost": asdict(judged.cost) if judged.cost else None,
        "from": dict(candidate.provenance),
    }


def plain_values(value: Any) -> Any:
    """Return a value with arrays as lists, and None where JSON has no word for a number.

    Parameters
    ----------
    value : object
        Of dicts, sequences, arrays and numbers.

    Returns
    -------
    object
        The same, JSON-able.
    """
    if isinstance(value, Mapping):
        return {str(key): plain_values(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain_values(value.tolist())
    if isinstance(value, list | tuple):
        return [plain_values(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_evaluation(out: Path, evaluation: Evaluation) -> list[Path]:
    """Write tables, pictures and ``summary.json``.

    Parameters
    ----------
    out : Path
        Folder; made if need be. Files of an earlier evaluation are replaced.
    evaluation : Evaluation
        What was judged.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ExportError
        If the folder or a file cannot be written.
    """
    make_folder(out)
    files = _printed(out, "table", printed(evaluation))
    files += [
        write_csv(out / "table.csv", measures_table(evaluation)),
        write_csv(out / "folds.csv", folds_table(evaluation)),
    ]
    files.append(write_csv(out / "predictions.csv", predictions_table(evaluation)))
    if evaluation.comparisons:
        files += _printed(out, "comparisons", printed_comparisons(evaluation))
        files.append(write_csv(out / "comparisons.csv", comparisons_table(evaluation)))
    for name, draw in (("roc", roc_figure), ("reliability", reliability_figure), ("confusion", confusion_figure)):
        files.append(write_picture(out / f"{name}.png", draw(evaluation)))
    files.append(write_text(out / "summary.json", json_text(evaluation_record(evaluation))))
    return files


def write_faithfulness(out: Path, found: Sequence[Faithfulness], slides: Sequence[SlideFlips]) -> list[Path]:
    """Write what patch flipping came to: tables, curves, picture and ``faithfulness.json``.

    Parameters
    ----------
    out : Path
        Folder; made if need be.
    found, slides
        As `iter_faithfulness` returns them.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ExportError
        If the folder or a file cannot be written.
    """
    make_folder(out)
    files = _printed(out, "faithfulness", printed_faithfulness(found))
    files.append(write_csv(out / "faithfulness.csv", faithfulness_table(found)))
    columns = [asdict(one) for one in slides]
    each = pd.DataFrame([row | {f"aupc_{k}": v for k, v in row.pop("areas").items()} for row in columns])
    files.append(write_csv(out / "faithfulness_slides.csv", each))
    curves = [{"name": one.candidate, "score": one.score, "flipped": GRID, **one.curves} for one in found]
    files.append(write_csv(out / "faithfulness_curves.csv", pd.concat([pd.DataFrame(one) for one in curves])))
    if any(one.score != RANDOM for one in found):
        files.append(write_picture(out / "faithfulness.png", faithfulness_figure(found)))
    record = {"scores": [asdict(one) for one in found], "provenance": provenance()}
    files.append(write_text(out / "faithfulness.json", json_text(plain_values(record))))
    return files


def make_folder(out: Path) -> None:
    """Make a folder, or say why not.

    Raises
    ------
    ExportError
        If it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(cannot_write(out, error)) from error


def json_text(record: Any) -> str:
    """Return a record as JSON, indented."""
    return json.dumps(record, indent=2, allow_nan=False, default=str) + "\n"


def write_text(path: Path, text: str) -> Path:
    """Write a text whole or not at all."""
    with replacing(path, ExportError) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def write_csv(path: Path, table: pd.DataFrame) -> Path:
    """Write a table whole or not at all."""
    with replacing(path, ExportError) as partial:
        table.to_csv(partial, index=False)
    return path


def write_picture(path: Path, figure: Figure) -> Path:
    """Write a picture whole or not at all."""
    with replacing(path, ExportError) as partial:
        figure.savefig(partial, format="png")
    return path


def _printed(out: Path, name: str, table: pd.DataFrame) -> list[Path]:
    return [write_text(out / f"{name}.md", markdown(table)), write_text(out / f"{name}.tex", latex(table))]
