"""What maps of one slide say, how far they agree, and how well they find an outline: as tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..maps import format_probability

if TYPE_CHECKING:
    from ..evaluation import Localisation
    from ..maps import MapComparison

UNDEFINED = "–"  # noqa: RUF001  (what stands for undefined in print)


def maps_table(comparison: MapComparison) -> pd.DataFrame:
    """Return a row per map with every figure, for ``maps.csv``."""
    return pd.DataFrame([asdict(fact) for fact in comparison.facts])


def agreement_table(comparison: MapComparison) -> pd.DataFrame:
    """Return a row per pair with every figure, for ``agreement.csv``."""
    return pd.DataFrame([asdict(pair) for pair in comparison.pairs])


def annotation_table(comparison: MapComparison, found: Sequence[Localisation]) -> pd.DataFrame:
    """Return a row per map with how well it finds the target, for ``annotation.csv``.

    Dice and IoU are those at the best threshold, an upper limit that is stated as such; hit rates are a column each.
    """
    rows = []
    for fact, one in zip(comparison.facts, found, strict=True):
        best = one.curve.best()
        row: dict[str, Any] = {
            "name": fact.name,
            "score": one.title,
            "patches": one.n,
            "target_patches": one.n_target,
            "auroc": one.auroc,
            "average_precision": one.average_precision,
            "prevalence": one.prevalence,
            "mass_inside": one.mass_inside,
            "pointing": one.pointing,
            "best_dice": best.dice if best else math.nan,
            "best_iou": best.iou if best else math.nan,
        }
        rows.append(row | {f"hit_rate_top_{k}": rate for k, rate in one.hit_rates})
    return pd.DataFrame(rows)


def printed_maps(comparison: MapComparison) -> pd.DataFrame:
    """Return `maps_table` for people."""
    return pd.DataFrame(
        [
            {
                "Map": fact.name,
                "Pooling": fact.pooling,
                "Encoder": fact.encoder,
                "Score": f"{fact.score}: {fact.class_name}" if fact.class_name else fact.score,
                "Patches": f"{fact.patches:,}",
                "Prediction": f"{fact.predicted} {format_probability(fact.probability)}",
                "Entropy (0 to 1)": _number(fact.entropy),
                "Effective patches": UNDEFINED if math.isnan(fact.effective) else f"{fact.effective:,.0f}",
            }
            for fact in comparison.facts
        ]
    )


def printed_agreement(comparison: MapComparison) -> pd.DataFrame:
    """Return `agreement_table` for people."""
    return pd.DataFrame(
        [
            {
                "Map": pair.first,
                "And": pair.second,
                "Places": f"{pair.places:,}",
                "Spearman": _number(pair.spearman),
                f"Top {pair.top_k} Jaccard": _number(pair.jaccard),
                f"{pair.cut} IoU": _number(pair.iou),
            }
            for pair in comparison.pairs
        ]
    ).fillna(UNDEFINED)


def printed_annotation(comparison: MapComparison, found: Sequence[Localisation]) -> pd.DataFrame:
    """Return `annotation_table` for people."""
    rows = []
    for fact, one in zip(comparison.facts, found, strict=True):
        best = one.curve.best()
        row = {
            "Map": fact.name,
            "AUROC": _number(one.auroc),
            "Average precision": f"{_number(one.average_precision)} (chance {_number(one.prevalence)})",
            "Mass inside": UNDEFINED if math.isnan(one.mass_inside) else f"{one.mass_inside:.0%}",
            "Highest patch": _number(one.pointing),
            "Best Dice": _number(best.dice if best else math.nan),
        }
        rows.append(row | {f"Hits of top {k}": f"{rate:.0%}" for k, rate in one.hit_rates if not math.isnan(rate)})
    return pd.DataFrame(rows).fillna(UNDEFINED)


def _number(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.3f}"
