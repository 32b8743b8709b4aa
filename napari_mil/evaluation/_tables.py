"""The tables: one row per candidate, per pair, per fold, per score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from ._evaluate import Evaluation, Judged
    from ._faithfulness import Faithfulness
    from ._measures import Estimate

_SHARES = (
    "auc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "brier",
)
_DASH = "–"  # noqa: RUF001  (what stands for undefined in print)


def measures_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return every figure, a row per candidate: for ``table.csv``."""
    return pd.DataFrame([_row(judged) for judged in evaluation.judged])


def _row(judged: Judged) -> dict[str, object]:
    candidate, measures, cost = judged.candidate, judged.measures, judged.cost
    row: dict[str, object] = {
        "name": candidate.name,
        "pooling": candidate.pooling,
        "slides": measures.n_slides,
        "patients": measures.n_patients,
        "folds": len(measures.folds),
    }
    for name in _SHARES:
        estimate: Estimate = getattr(measures, name)
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    row["auc_delong_low"], row["auc_delong_high"] = measures.auc_delong
    row |= {"auc_fold_mean": measures.fold_mean, "auc_fold_sd": measures.fold_sd, "ece": measures.calibration.ece}
    row |= {"threshold_from": candidate.threshold_from}
    row |= {
        "parameters": cost.parameters if cost else None,
        "seconds_per_slide": cost.seconds if cost else float("nan"),
        "patches_per_slide": cost.n_patches if cost and cost.n_patches else None,
        "timed_on": cost.device if cost else "",
    }
    return row


def folds_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return a row per candidate and fold: for ``folds.csv``."""
    return pd.DataFrame(
        [
            {
                "name": judged.candidate.name,
                "fold": fold,
                "slides": n_slides,
                "auc": area,
                "threshold": judged.candidate.thresholds.get(fold, float("nan")),
            }
            for judged in evaluation.judged
            for fold, n_slides, area in judged.measures.folds
        ]
    )


def comparisons_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return a row per pair of candidates: for ``comparisons.csv``."""
    columns = ("first", "second", "slides", "auc_difference", "low", "high", "delong_z", "delong_p", "delong_p_holm")
    rows = [
        (c.first, c.second, c.n_slides, c.difference.value, c.difference.low, c.difference.high, c.z, c.p, c.p_holm)
        for c in evaluation.comparisons
    ]
    return pd.DataFrame(rows, columns=list(columns))


def predictions_table(evaluation: Evaluation) -> pd.DataFrame:
    """Return a row per candidate and test slide, with the decision: for ``predictions.csv``."""
    names = evaluation.class_names
    parts = []
    for judged in evaluation.judged:
        test, decided = judged.candidate.test, judged.candidate.decided
        columns: dict[str, object] = {
            "name": judged.candidate.name,
            "slide": test.slides,
            "patient": test.patients,
            "label": [names[c] for c in test.targets],
            "fold": test.folds,
            "decided": [names[c] for c in decided],
        }
        parts.append(pd.DataFrame(columns | {f"p_{name}": test.probabilities[:, c] for c, name in enumerate(names)}))
    return pd.concat(parts, ignore_index=True)


def faithfulness_table(found: Sequence[Faithfulness]) -> pd.DataFrame:
    """Return a row per candidate and score: for ``faithfulness.csv``."""
    return pd.DataFrame(
        [
            {
                "name": one.candidate,
                "score": one.score,
                "slides": one.n_slides,
                **{f"aupc_{name}": area for name, area in one.areas.items()},
                "lerf_minus_morf": one.difference.value,
                "low": one.difference.low,
                "high": one.difference.high,
                "sd_of_random_orders": one.random_sd,
            }
            for one in found
        ]
    )


def printed(evaluation: Evaluation) -> pd.DataFrame:
    """Return the table for people, as text: a row per candidate, intervals in brackets, a dash for undefined."""
    rows = []
    for judged in evaluation.judged:
        measures, cost = judged.measures, judged.cost
        rows.append(
            {
                "Model": judged.candidate.name,
                "Pooling": judged.candidate.pooling,
                "Slides": str(measures.n_slides),
                "AUC [95 % CI]": _with_interval(measures.auc),
                "AUC per fold": _spread(measures.fold_mean, measures.fold_sd),
                "Average precision": _with_interval(measures.average_precision),
                "Accuracy": number(measures.accuracy.value),
                "Balanced accuracy": number(measures.balanced_accuracy.value),
                "Sensitivity": number(measures.sensitivity.value),
                "Specificity": number(measures.specificity.value),
                "Brier": number(measures.brier.value),
                "ECE": number(measures.calibration.ece),
                "Parameters": f"{cost.parameters:,}" if cost else _DASH,
                "ms per slide": f"{cost.seconds * 1000:.3g}" if cost and np.isfinite(cost.seconds) else _DASH,
            }
        )
    return pd.DataFrame(rows)


def printed_comparisons(evaluation: Evaluation) -> pd.DataFrame:
    """Return the comparisons for people, as text."""
    return pd.DataFrame(
        [
            {
                "First": c.first,
                "Second": c.second,
                "Slides": str(c.n_slides),
                "AUC difference [95 % CI]": _with_interval(c.difference, signed=True),
                "DeLong z": number(c.z, 2),
                "p": _p(c.p),
                "p (Holm)": _p(c.p_holm),
            }
            for c in evaluation.comparisons
        ]
    )


def printed_faithfulness(found: Sequence[Faithfulness]) -> pd.DataFrame:
    """Return the faithfulness of scores for people, as text."""
    return pd.DataFrame(
        [
            {
                "Model": one.candidate,
                "Score": one.score.replace("_", " "),
                "Slides": str(one.n_slides),
                "AUPC drop MoRF": number(one.areas["drop_morf"]),
                "AUPC drop LeRF": number(one.areas["drop_lerf"]),
                "LeRF - MoRF [95 % CI]": _with_interval(one.difference, signed=True),
            }
            for one in found
        ]
    )


def markdown(table: pd.DataFrame) -> str:
    """Return a table of text as a Markdown (GitHub) table, pipes escaped."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    cells = ([str(cell).replace("\\", "\\\\").replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells) + "\n"


def latex(table: pd.DataFrame) -> str:
    r"""Return a table of text as a LaTeX ``tabular`` that needs no package, special characters escaped."""
    text = [[escape_latex(str(cell)) for cell in line] for line in (list(table.columns), *table.to_numpy().tolist())]
    rows = [" & ".join(line) + r" \\" for line in text]
    head = [r"\begin{tabular}{" + "l" * len(table.columns) + "}", r"\hline", rows[0], r"\hline"]
    return "\n".join([*head, *rows[1:], r"\hline", r"\end{tabular}"]) + "\n"


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # a row that begins with one would give it to the line break before it
        "*": "{*}",  # likewise
        "±": r"$\pm$",
        "–": "--",  # noqa: RUF001
        "\n": " ",
    }
)


def escape_latex(text: str) -> str:
    """Return text with every character that LaTeX reads as a command written so that it is printed."""
    return text.translate(_LATEX)


def number(value: float, digits: int = 3) -> str:
    """Return a number as text, a dash for undefined."""
    return f"{value:.{digits}f}" if np.isfinite(value) else _DASH


def _with_interval(estimate: Estimate, signed: bool = False) -> str:
    form = "+.3f" if signed else ".3f"
    if not np.isfinite(estimate.value):
        return _DASH
    if not np.isfinite(estimate.low):
        return f"{estimate.value:{form}}"
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def _spread(mean: float, sd: float) -> str:
    if not np.isfinite(mean):
        return _DASH
    return f"{mean:.3f} ± {sd:.3f}" if np.isfinite(sd) else f"{mean:.3f}"


def _p(value: float) -> str:
    if not np.isfinite(value):
        return _DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
