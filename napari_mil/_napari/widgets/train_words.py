"""What the Train panel says of a cohort, of a training that is going, and of one that has ended."""

from __future__ import annotations

import html
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...progress import Progress
    from ...training import Cohort, TrainingResult


def cohort_words(cohort: Cohort) -> str:
    """Say in one line what a table holds.

    Parameters
    ----------
    cohort : Cohort
        The table.

    Returns
    -------
    str
        "24 slides, 18 patients, classes: normal (12), tumour (12)"
    """
    patients = len(set(cohort.patients))
    counts = Counter(cohort.labels)
    classes = ", ".join(f"{name} ({counts[name]})" for name in cohort.class_names)
    line = f"{len(cohort):,} slides, {patients:,} {'patient' if patients == 1 else 'patients'}, classes: {classes}"
    if cohort.splits is None:
        return line
    parts = Counter(cohort.splits)
    return f"{line}; divided by the table: {', '.join(f'{parts[part]} {part}' for part in ('train', 'val', 'test'))}"


def training_line(step: Progress) -> str:
    """Say in one line where a training stands.

    Parameters
    ----------
    step : Progress
        From the training.

    Returns
    -------
    str
        For the panel.
    """
    if not step.total:
        return step.stage
    parts = [step.message[:1].upper() + step.message[1:] or step.stage]
    left = step.seconds_left
    if left is not None and step.rate > 0:
        # folds may stop early, so that it is never longer
        parts.append(f"at most {left:.0f} s left" if left < 90 else f"at most {left / 60:.0f} min left")
    return "; ".join(parts)


def result_words(result: TrainingResult) -> str:
    """Say what a training came to, and what the figure means.

    Parameters
    ----------
    result : TrainingResult
        The training.

    Returns
    -------
    str
        Rich text.
    """
    names, folds = result.class_names, [fold.auc for fold in result.folds]
    meaning = (
        f"the chance that a slide of {html.escape(names[-1])} is scored higher than one of {html.escape(names[0])}"
        if len(names) == 2
        else "how well each class is told from the rest, on average"
    )
    if result.auc_mean != result.auc_mean:
        head = "<b>AUC not known</b>: no test part holds every class. "
    elif len(folds) == 1:
        head = f"<b>AUC {result.auc_mean:.2f}</b> on {result.folds[0].n_test} test slides that it had not seen. "
    else:
        sd = f" ± {result.auc_sd:.2f}" if result.auc_sd == result.auc_sd else ""
        each = ", ".join(f"{auc:.2f}" if auc == auc else "not known" for auc in folds)
        head = (
            f"<b>AUC {result.auc_mean:.2f}{sd}</b> (mean ± standard deviation of {len(folds)} folds: {each}), on "
            "patients that the fold's model had not seen. "
        )
    return (
        f"{head}It is {meaning}: 1 is perfect, 0.5 a coin toss. The model to use was fitted once more, on all "
        f"{result.n_slides} slides of {result.n_patients} patients, for {result.epochs} "
        f"{'epoch' if result.epochs == 1 else 'epochs'}."
    )
