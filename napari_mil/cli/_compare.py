"""The command that compares maps of one slide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import Console
from ._options import Json, ThresholdBy, app, finite, run_command

if TYPE_CHECKING:
    from ..maps import MapCut, MapCutBy


@app.command()
def compare(
    maps: Annotated[list[Path], typer.Argument(metavar="MAP.h5 MAP.h5...", help="Two maps of one slide, or more.")],
    annotation: Annotated[
        Path | None, typer.Option(help="Outlines (GeoJSON, ASAP XML) to hold each map against.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for tables (CSV), an HTML page and a PDF.")] = None,
    slide: Annotated[Path | None, typer.Option(help="The slide, where it is not where the maps were made.")] = None,
    score: Annotated[str | None, typer.Option(help="The score to compare; by default each map's own.")] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="The class, by name; by default what the first map predicts.")
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="How maps are drawn; by default the scale that all scores share.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many top patches the Jaccard index is of.")] = 50,
    share: Annotated[
        float | None,
        typer.Option(
            min=0.0001,
            max=1.0,
            callback=finite,
            help="Cut for the IoU at this share of the patches that both maps cover; 0.1 by default.",
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(callback=finite, help="Cut every map for the IoU at this threshold instead.")
    ] = None,
    threshold_by: Annotated[
        ThresholdBy,
        typer.Option(help="What --threshold is: a value on the scale drawn, a percentile, top patches, or top mm2."),
    ] = ThresholdBy.value,
    json_output: Json = False,
) -> None:
    """Compare maps of one slide: other poolings, checkpoints, encoders or folds."""
    if len(maps) < 2:
        raise typer.BadParameter("comparing takes two maps or more")
    cut = _cut(share, threshold, threshold_by.value)
    from ..export import iter_compare

    def work() -> None:
        console = Console(json_output)
        report = console.drive(
            iter_compare(
                maps,
                slide=slide,
                annotation=annotation,
                out=out,
                score=score,
                class_name=class_name,
                scale=scale,
                top_k=top_k,
                cut=cut,
            )
        )
        console.result(report.record, report.text)

    run_command(work, json_output)


def _cut(share: float | None, threshold: float | None, by: MapCutBy) -> MapCut | None:
    """Return where maps are cut for the IoU; None where nothing was said."""
    if threshold is None and by != "value":
        raise typer.BadParameter("--threshold-by goes with --threshold")
    if threshold is not None and share is not None:
        raise typer.BadParameter("choose --share or --threshold: the IoU is of one cut")
    from ..maps import MapCut

    try:
        if threshold is not None:
            return MapCut(by, threshold)
        return None if share is None else MapCut("share", share)
    except ValueError as err:
        raise typer.BadParameter(str(err), param_hint="--threshold") from err
