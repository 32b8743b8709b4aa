"""What holding maps against outlines leaves: tables, pictures and the record with every number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ._agreement_figures import froc_figure, overlap_figure, thinned
from ._froc import FALSE_POSITIVES
from ._hot_spot_precision import IOUS
from ._tables import markdown, number
from ._write import json_text, make_folder, plain_values, write_csv, write_picture, write_text

if TYPE_CHECKING:
    from ._agreement import Agreement, AgreementStudy, CohortAgreement


def agreement_table(study: AgreementStudy) -> pd.DataFrame:
    """Return every figure, a row per map and score: for ``agreement.csv``."""
    return pd.DataFrame([_row(one) for one in study.rows])


def _row(one: Agreement) -> dict[str, Any]:
    measures, at, best = one.measures, one.at, one.best
    return {
        "slide": one.slide,
        "map": one.name,
        "model": one.model,
        "score": measures.score,
        "class": measures.class_name,
        "patches": measures.n,
        "target_patches": measures.n_target,
        "prevalence": measures.prevalence,
        "target_covered": measures.covered,
        "auroc": measures.auroc,
        "average_precision": measures.average_precision,
        "mass_inside": measures.mass_inside,
        "enrichment": measures.enrichment,
        "pointing_game": measures.pointing,
        **{f"hit_rate_top_{k}": rate for k, rate in measures.hit_rates},
        "scale": one.scale,
        "threshold": at.threshold,
        "patches_above": at.hits + at.false_alarms,
        "dice": at.dice,
        "iou": at.iou,
        "pixel_dice": at.pixel_dice,
        "pixel_iou": at.pixel_iou,
        "precision": at.precision,
        "sensitivity": at.sensitivity,
        "specificity": at.specificity,
        "best_dice": best.dice if best else float("nan"),
        "best_threshold": best.threshold if best else float("nan"),
        "notes": " ".join(one.notes),
    }


def cohort_table(cohorts: Sequence[CohortAgreement]) -> pd.DataFrame:
    """Return FROC and mean average precision, a row per model and score: for ``froc.csv``."""
    return pd.DataFrame(
        [
            {
                "model": one.model,
                "score": one.score,
                "scale": one.scale,
                "cut": one.cut,
                "slides": one.n_slides,
                "slides_with_target": one.n_with_target,
                "lesions": one.froc.n_lesions,
                "isolated_tumour_cells": one.froc.n_isolated,
                "froc": one.froc.score,
                **{
                    f"sensitivity_at_{level:g}_fp": found
                    for level, found in zip(FALSE_POSITIVES, one.froc.sensitivities, strict=True)
                },
                "mean_average_precision": one.average_precisions.mean(),
                **{f"ap_iou_{level:g}": found for level, found in zip(IOUS, one.average_precisions, strict=True)},
            }
            for one in cohorts
        ]
    )


def printed_agreement(study: AgreementStudy) -> pd.DataFrame:
    """Return the figures for people, as text: a row per map and score, a dash for undefined."""
    return pd.DataFrame(
        [
            {
                "Slide": one.slide,
                "Model": one.model,
                "Score": one.measures.score.replace("_", " "),
                "Target": f"{one.measures.n_target} of {one.measures.n}",
                "AUROC": number(one.measures.auroc),
                "Average precision": number(one.measures.average_precision),
                "Mass inside": number(one.measures.mass_inside),
                "Pointing game": number(one.measures.pointing, 0 if one.measures.pointing in (0, 1) else 2),
                **{f"Top {k}": number(rate, 2) for k, rate in one.measures.hit_rates},
                "Dice": number(one.at.dice),
                "IoU": number(one.at.iou),
                "Best Dice": number(one.best.dice if one.best else float("nan")),
            }
            for one in study.rows
        ]
    ).fillna("")


def printed_cohorts(cohorts: Sequence[CohortAgreement]) -> pd.DataFrame:
    """Return FROC and mean average precision for people, as text."""
    return pd.DataFrame(
        [
            {
                "Model": one.model,
                "Score": one.score.replace("_", " "),
                "Slides": f"{one.n_slides} ({one.n_with_target} with target)",
                "Lesions": f"{one.froc.n_lesions} (+ {one.froc.n_isolated} isolated)",
                "FROC": number(one.froc.score),
                **{
                    f"at {level:g} FP": number(found, 2)
                    for level, found in zip(FALSE_POSITIVES, one.froc.sensitivities, strict=True)
                },
                "mAP": number(float(one.average_precisions.mean())),
            }
            for one in cohorts
        ]
    )


def agreement_record(study: AgreementStudy) -> dict[str, Any]:
    """Return every number and where it is from, JSON-able: None stands for undefined.

    Parameters
    ----------
    study : AgreementStudy
        What was held against outlines.

    Returns
    -------
    dict
        For ``agreement.json``.
    """
    rows = [
        {**_row(one), "rule": one.measures.rule, "notes": one.notes, "at_threshold": asdict(one.at)}
        for one in study.rows
    ]
    cohorts = [
        {**row, "detection": one.rule}
        for row, one in zip(cohort_table(study.cohorts).to_dict("records"), study.cohorts, strict=True)
    ]
    rules = {
        **asdict(study.rules),
        "froc": "CAMELYON16: lesions within 75 um joined, those shorter than 275 um not counted, "
        "mean sensitivity at 0.25, 0.5, 1, 2, 4 and 8 false positives per slide",
        "mean_average_precision": f"hot spots against connected outlines, mean over IoU {', '.join(map(str, IOUS))}",
        "best_dice": "at the threshold that is best for the slide itself: an upper limit",
    }
    plain: dict[str, Any] = plain_values(
        {"maps": rows, "cohorts": cohorts, "rules": rules, "provenance": dict(study.provenance)}
    )
    return plain


def write_agreement(out: Path, study: AgreementStudy) -> list[Path]:
    """Write tables, pictures and ``agreement.json``.

    Parameters
    ----------
    out : Path
        Folder; made if need be. Files of an earlier study are replaced.
    study : AgreementStudy
        What was held against outlines.

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
    parts = [markdown(printed_agreement(study)), *study.patch_rules]
    files = [write_csv(out / "agreement.csv", agreement_table(study)), write_csv(out / "overlap.csv", _curves(study))]
    if study.cohorts:
        files.append(write_csv(out / "froc.csv", cohort_table(study.cohorts)))
        files.append(write_picture(out / "froc.png", froc_figure(study.cohorts)))
        parts += [markdown(printed_cohorts(study.cohorts)), *(one.rule for one in study.cohorts)]
    files.append(write_text(out / "agreement.md", "\n\n".join(part.strip() for part in parts) + "\n"))
    drawn = [one for one in study.rows if one.picture is not None and one.measures.n_target]
    for count, one in enumerate(drawn, start=1):
        files += [write_picture(out / f"overlap_{count:03d}_{one.slide}.png", overlap_figure(one))]
    files.append(write_text(out / "agreement.json", json_text(agreement_record(study))))
    return files


def _curves(study: AgreementStudy) -> pd.DataFrame:
    """Return Dice and IoU over the thresholds, at most 400 of each map and score."""
    tables = []
    for one in study.rows:
        curve = one.measures.curve
        at = thinned(len(curve.thresholds))
        columns = {name: getattr(curve, name)[at] for name in ("thresholds", "counts", "dice", "iou", "pixel_dice")}
        tables.append(pd.DataFrame({"map": one.name, "score": one.measures.score, **columns}))
    return pd.concat(tables, ignore_index=True)
