"""Maps of one slide compared from their files: tables, a page to open anywhere, and the same to print."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..annotations import label_patches, read_annotations
from ..errors import ExportError, MapError
from ..evaluation import localise, plain_values
from ..files import replacing
from ..maps import COMPARED_TOP_K, DISCLAIMER, check_one_slide, compare_maps, map_names, read_map
from ..progress import Progress, Steps
from ..slides import open_slide, slide_name
from ._comparison_figure import comparison_figure, table_page
from ._comparison_tables import (
    agreement_table,
    annotation_table,
    maps_table,
    printed_agreement,
    printed_annotation,
    printed_maps,
)
from ._folders import aside

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ..evaluation import Localisation
    from ..maps import AttentionMap, MapComparison, MapCut
    from ..slides import Slide

READING, MEASURING, DRAWING = "Reading maps", "Comparing", "Drawing"

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1100px;padding:0 1rem;color:#1c1c1c}
img{max-width:100%;height:auto}table{border-collapse:collapse;margin:.5rem 0 1.5rem}
th,td{padding:.3rem .8rem;text-align:left;border-bottom:1px solid #ddd}th{color:#5c5c5c;font-weight:600}
.wide{overflow-x:auto}.quiet{color:#5c5c5c;font-size:13px}"""


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonReport:
    """What comparing maps from their files came to.

    Parameters
    ----------
    comparison : MapComparison
        Views and figures.
    localisations : tuple of Localisation
        How well each map finds the target, in order; empty without an annotation.
    notes : tuple of str
        What to know about the figures.
    files : mapping of str to Path
        What was written, by name.
    """

    comparison: MapComparison
    localisations: tuple[Localisation, ...]
    notes: tuple[str, ...]
    files: Mapping[str, Path]

    @property
    def record(self) -> dict[str, Any]:
        """The same, JSON-able."""
        tables = {"maps": maps_table(self.comparison), "agreement": agreement_table(self.comparison)}
        if self.localisations:
            tables["annotation"] = annotation_table(self.comparison, self.localisations)
        return {
            "slide": self.comparison.maps[0].slide.path,
            "scale": self.comparison.views[0].scale.name,
            **{name: plain_values(table.to_dict("records")) for name, table in tables.items()},
            "notes": list(self.notes),
            "files": {name: str(path) for name, path in self.files.items()},
        }

    @property
    def text(self) -> str:
        """The same for people."""
        parts = [*_texts(self), "\n".join(self.notes)]
        if self.files:
            folder = next(iter(self.files.values())).parent
            parts.append(f"Written to {folder}: {', '.join(self.files)}")
        return "\n\n".join(parts)


def iter_compare(
    map_files: Sequence[str | os.PathLike[str]],
    *,
    slide: str | os.PathLike[str] | None = None,
    annotation: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    score: str | None = None,
    class_name: str | None = None,
    scale: str | None = None,
    top_k: int = COMPARED_TOP_K,
    cut: MapCut | None = None,
) -> Steps[ComparisonReport]:
    """Compare maps of one slide from their files, yielding Progress.

    Parameters
    ----------
    map_files : sequence of path
        Two or more maps.
    slide : path or None
        Their slide, for pictures and annotations; None takes it where it was when the maps were made.
    annotation : path or None
        Outlines (GeoJSON, ASAP XML) to hold each map against, by `localise`.
    out : path or None
        Folder for ``maps.csv``, ``agreement.csv``, ``annotation.csv``, ``comparison.html`` (one file, pictures
        within) and ``comparison.pdf``: all of them or none. Older ones are replaced. None writes nothing.
    score, class_name, scale, top_k, cut
        As in `compare_maps`.

    Yields
    ------
    Progress
        Once per map and step.

    Returns
    -------
    ComparisonReport
        Figures and files.

    Raises
    ------
    NapariMilError
        In words a user can act on: a map, the slide, the annotation or the disk.
    """
    maps = []
    for k, path in enumerate(map_files):
        yield Progress(READING, k, len(map_files), message=Path(path).name)
        maps.append(read_map(path))
    check_one_slide(maps)
    yield Progress(MEASURING)
    names = _names(maps, map_files)
    comparison = compare_maps(maps, names=names, score=score, class_name=class_name, scale=scale, top_k=top_k, cut=cut)
    if annotation is None and out is None:
        return ComparisonReport(comparison, (), comparison.notes, {})
    with _opened(maps[0], slide) as opened:
        found = () if annotation is None else _localised(comparison, opened, annotation)
        report = ComparisonReport(comparison, found, _all_notes(comparison, found), {})
        if out is None:
            return report
        yield Progress(DRAWING)
        figure = comparison_figure(opened, comparison)
    return ComparisonReport(comparison, found, report.notes, _write(Path(out), report, figure))


def _names(maps: Sequence[AttentionMap], paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Call maps by their models; where several share a name, by the folder or file that tells them apart."""
    plain = [amap.model.title or amap.model.pooling for amap in maps]
    if len(set(plain)) == len(plain):
        return plain
    files = [Path(path) for path in paths]
    places = [path.stem for path in files]
    if len(set(places)) < len(places):
        places = [path.resolve().parent.name for path in files]
    named = [f"{name}, {place}" if plain.count(name) > 1 else name for name, place in zip(plain, places, strict=True)]
    return named if len(set(named)) == len(named) else map_names(maps)


def _opened(amap: AttentionMap, given: str | os.PathLike[str] | None) -> Slide:
    """Open the maps' slide, and no other."""
    path = Path(amap.slide.path if given is None else given)
    if given is None and not path.exists():
        raise MapError(f"The slide of these maps is not at {path} any more. Say where it is (--slide).")
    slide = open_slide(path, mpp=amap.slide.mpp)
    if slide.quickhash != amap.slide.quickhash:
        slide.close()
        raise MapError(f"{path} is not the slide of these maps, which is {Path(amap.slide.path).name}. Give that one.")
    return slide


def _localised(comparison: MapComparison, slide: Slide, annotation: str | os.PathLike[str]) -> tuple[Localisation, ...]:
    outlines = read_annotations(annotation, offset_xy=slide.bounds_origin_xy)
    return tuple(
        localise(view, label_patches(outlines, amap.grid))
        for amap, view in zip(comparison.maps, comparison.views, strict=True)
    )


def _all_notes(comparison: MapComparison, found: Sequence[Localisation]) -> tuple[str, ...]:
    """Return each thing to know once; with a target, what made a patch one, and that the best threshold is chosen."""
    said = dict.fromkeys(comparison.notes)
    for one in found:
        said |= dict.fromkeys((one.rule, *one.notes))
    if found:
        best = "Best Dice is at the threshold that suits this very slide best: an upper limit, not an estimate."
        said |= {best: None}
    return tuple(said)


def _tables(report: ComparisonReport) -> list[tuple[str, pd.DataFrame]]:
    tables = [
        ("Each map", printed_maps(report.comparison)),
        ("How far they agree", printed_agreement(report.comparison)),
    ]
    if report.localisations:
        tables.append(("Against the annotation", printed_annotation(report.comparison, report.localisations)))
    return tables


def _texts(report: ComparisonReport) -> list[str]:
    return [f"{title}\n{table.to_string(index=False)}" for title, table in _tables(report)]


def _write(folder: Path, report: ComparisonReport, figure: Figure) -> dict[str, Path]:
    tables = {"maps.csv": maps_table(report.comparison), "agreement.csv": agreement_table(report.comparison)}
    if report.localisations:
        tables["annotation.csv"] = annotation_table(report.comparison, report.localisations)
    names = (*tables, "comparison.html", "comparison.pdf")
    with aside(folder.absolute(), names) as partial:
        for name, table in tables.items():
            with replacing(partial / name, ExportError) as file:
                table.to_csv(file, index=False)
        with replacing(partial / "comparison.html", ExportError) as file:
            file.write_text(_page(report, figure), encoding="utf-8")
        with replacing(partial / "comparison.pdf", ExportError) as file:
            file.write_bytes(_pdf(report, figure))
    return {name: folder / name for name in names}


def _pdf(report: ComparisonReport, figure: Figure) -> bytes:
    """Return figure and tables as a PDF, made in memory: on a full disk its writer fails in other ways than words."""
    from matplotlib.backends.backend_pdf import PdfPages

    file = io.BytesIO()
    with PdfPages(file) as pages:
        pages.savefig(figure, facecolor="white")
        pages.savefig(table_page(_title(report), [*_texts(report), "\n".join(report.notes)]))
    return file.getvalue()


def _title(report: ComparisonReport) -> str:
    return f"{len(report.comparison.maps)} maps of {slide_name(report.comparison.maps[0].slide.path)}"


def _page(report: ComparisonReport, figure: Figure) -> str:
    """Return one page that needs no other file."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", facecolor="white")
    data = base64.b64encode(picture.getvalue()).decode("ascii")
    tables = "".join(
        f'<h2>{escape(title)}</h2><div class="wide">{table.to_html(index=False, border=0)}</div>'
        for title, table in _tables(report)
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    title = escape(_title(report))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'</head><body><h1>{title}</h1><p class="quiet">A map shows {escape(DISCLAIMER)}.</p>'
        f'<img alt="The maps over the slide" src="data:image/png;base64,{data}">{tables}'
        f'<ul class="quiet">{notes}</ul></body></html>\n'
    )
