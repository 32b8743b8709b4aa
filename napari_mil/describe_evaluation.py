"""What an evaluation came to: a record for machines, tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from .evaluation import AgreementStudy, Evaluation, Faithfulness


def describe_evaluation(
    evaluation: Evaluation, faithfulness: Sequence[Faithfulness], files: Sequence[Path]
) -> tuple[dict[str, Any], str]:
    """Say what an evaluation came to.

    Parameters
    ----------
    evaluation : Evaluation
        What was judged.
    faithfulness : sequence of Faithfulness
        What patch flipping came to; empty where it was not asked for.
    files : sequence of Path
        What was written.

    Returns
    -------
    (dict, str)
        JSON-able record, and the same as text: a column per model, then a row per pair and per score.
    """
    from .evaluation import evaluation_record, plain_values, printed, printed_comparisons, printed_faithfulness

    record = evaluation_record(evaluation)
    record["faithfulness"] = plain_values([_without_curves(one) for one in faithfulness])
    record["files"] = [str(path) for path in files]
    table = printed(evaluation).set_index("Model").T
    parts = [table.to_string()]
    if evaluation.comparisons:
        parts.append(_text(printed_comparisons(evaluation)))
    if faithfulness:
        parts.append(_text(printed_faithfulness(faithfulness)))
    parts.append("\n".join(_notes(evaluation)))
    if files:
        parts.append(f"Written to {files[0].parent}: {', '.join(path.name for path in files)}")
    return record, "\n\n".join(part for part in parts if part)


def describe_agreement(study: AgreementStudy, files: Sequence[Path]) -> tuple[dict[str, Any], str]:
    """Say how well maps agree with outlines.

    Parameters
    ----------
    study : AgreementStudy
        What was held against outlines.
    files : sequence of Path
        What was written.

    Returns
    -------
    (dict, str)
        JSON-able record, and the same as text: a row per map and score, then FROC, rules and notes.
    """
    from .evaluation import agreement_record, printed_agreement, printed_cohorts

    record = agreement_record(study)
    record["files"] = [str(path) for path in files]
    table = printed_agreement(study)
    if table["Model"].nunique() == 1:
        table = table.drop(columns="Model")
    parts = [_text(table)]
    if study.cohorts:
        parts += [_text(printed_cohorts(study.cohorts)), "\n".join(one.rule for one in study.cohorts)]
    parts.append("\n".join(study.patch_rules))
    about: dict[str, list[str]] = {}
    for one in study.rows:
        for note in one.notes:
            if one.slide not in about.setdefault(note, []):
                about[note].append(one.slide)
    parts.append("\n".join(f"{', '.join(slides)}: {note}" for note, slides in about.items()))
    if files:
        parts.append(f"Written to {files[0].parent}: {', '.join(path.name for path in files)}")
    return record, "\n\n".join(part for part in parts if part)


def _text(table: pd.DataFrame) -> str:
    text: str = table.to_string(index=False)
    return text


def _notes(evaluation: Evaluation) -> list[str]:
    """Return each thing to know once, with the models that it is about."""
    about: dict[str, list[str]] = {}
    for judged in evaluation.judged:
        for note in (f"Threshold: {judged.candidate.threshold_from}.", *judged.measures.notes):
            about.setdefault(note, []).append(judged.candidate.name)
    everyone = len(evaluation.judged)
    return [note if len(who) == everyone else f"{', '.join(who)}: {note}" for note, who in about.items()]


def _without_curves(one: Faithfulness) -> dict[str, Any]:
    record = asdict(one)
    del record["curves"]
    return record
