"""The command that compares maps of one slide."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import Console
from ._options import Json, app, finite, run_command


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
        float,
        typer.Option(min=0.0001, max=1.0, callback=finite, help="Share of the patches at which maps are cut for IoU."),
    ] = 0.1,
    json_output: Json = False,
) -> None:
    """Compare maps of one slide: other poolings, checkpoints, encoders or folds."""
    if len(maps) < 2:
        raise typer.BadParameter("comparing takes two maps or more")
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
                share=share,
            )
        )
        console.result(report.record, report.text)

    run_command(work, json_output)
