"""The figures of a comparison as the Compare tab sets them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ...maps import format_probability

if TYPE_CHECKING:
    from ...maps import MapComparison


def agreement_html(comparison: MapComparison, remark: str = "") -> str:
    """Set the figures as two tables that fit the dock: each pair of maps, which go by number, and the maps.

    Parameters
    ----------
    comparison : MapComparison
        Two maps or more.
    remark : str
        What else to know, before the comparison's own notes.

    Returns
    -------
    str
        For a text browser.
    """
    number = {fact.name: k for k, fact in enumerate(comparison.facts, start=1)}
    maps = "".join(
        f"<tr><td>{number[fact.name]}</td><td>{escape(fact.name)}<br>{escape(fact.predicted)} "
        f"{escape(format_probability(fact.probability))}"
        f"</td><td>{_figure(fact.entropy)}</td><td>{'–' if np.isnan(fact.effective) else f'{fact.effective:,.0f}'}"  # noqa: RUF001
        "</td></tr>"
        for fact in comparison.facts
    )
    pairs = "".join(
        f"<tr><td>{number[pair.first]} and {number[pair.second]}</td><td>{_figure(pair.spearman)}</td>"
        f"<td>{_figure(pair.jaccard)}</td><td>{_figure(pair.iou)}</td></tr>"
        for pair in comparison.pairs
    )
    one = comparison.pairs[0]
    notes = "".join(f"<p>{escape(note)}</p>" for note in (remark, *comparison.notes) if note)
    return (
        f"<table cellpadding=2><tr><th align=left>Pair</th><th>Spearman</th><th>Top {one.top_k}<br>Jaccard</th>"
        f"<th>{escape(one.cut)}<br>IoU</th></tr>{pairs}</table>"
        "<table cellpadding=2><tr><th></th><th align=left>Map, prediction</th><th>Entropy</th><th>Effective<br>patches"
        f"</th></tr>{maps}</table>{notes}"
    )


def _figure(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"  # noqa: RUF001
