"""The command that takes a map's views away as files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import Console
from ._options import Json, ThresholdBy, app, finite, run_command

if TYPE_CHECKING:
    from ..export import ExportKind
    from ..maps import CutBy


class PatchFormat(StrEnum):
    """How patches are stored."""

    png = "png"
    jpg = "jpg"
    jpeg = "jpeg"


class Drawn(StrEnum):
    """How a figure is stored."""

    pdf = "pdf"
    svg = "svg"
    png = "png"


def _kinds(text: str) -> list[ExportKind]:
    """Return the views named, comma between them; "all" is all of them."""
    from ..export import EXPORT_KINDS

    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name != "all" and name not in EXPORT_KINDS]
    if unknown or not names:
        found = f"{unknown[0]!r} is none of" if unknown else "name at least one of"
        raise typer.BadParameter(f"{found} {', '.join(EXPORT_KINDS)}, all", param_hint="--what")
    return [kind for kind in EXPORT_KINDS if "all" in names or kind in names]


@app.command()
def export(
    map_file: Annotated[Path, typer.Argument(metavar="MAP", help="An attention map (.h5).")],
    slide: Annotated[Path, typer.Option(help="The slide it was made from.")],
    out: Annotated[Path, typer.Option(help="Folder for the files.")],
    what: Annotated[
        str,
        typer.Option(
            help="What to write, commas between: patches, contact-sheet, overlay, tiles, hot-spots, outline, "
            "ome-tiff, table, figure, report, or all."
        ),
    ] = "patches,overlay,tiles",
    top_k: Annotated[int, typer.Option(min=1, help="How many top patches.")] = 50,
    image_format: Annotated[
        PatchFormat, typer.Option("--format", help="Of the patches: png loses nothing, jpg is smaller.")
    ] = PatchFormat.png,
    mpp: Annotated[
        float | None,
        typer.Option(min=0.01, callback=finite, help="Microns per pixel of the patches; by default the encoder's."),
    ] = None,
    context: Annotated[
        float, typer.Option(min=1, max=100, callback=finite, help="Field about each patch, in patch widths (4, say).")
    ] = 1.0,
    score: Annotated[str | None, typer.Option(help="Which score; by default the model's own.")] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Which class, for scores that have several; by default the predicted.")
    ] = None,
    scale: Annotated[str | None, typer.Option(help="Display scale (rank, ratio, ...); by default the score's.")] = None,
    threshold: Annotated[
        float | None, typer.Option(callback=finite, help="Show and write only what is at or above it.")
    ] = None,
    threshold_by: Annotated[
        ThresholdBy, typer.Option(help="What --threshold is: a value shown, a percentile, top patches, or top mm2.")
    ] = ThresholdBy.value,
    inverted: Annotated[bool, typer.Option("--inverted", help="What is below the threshold instead.")] = False,
    colours: Annotated[str, typer.Option(help="Colour map (viridis, cividis, magma, BrBG, ...).")] = "",
    opacity: Annotated[float, typer.Option(min=0, max=1, callback=finite, help="Of the colours over the slide.")] = 0.6,
    smooth: Annotated[bool, typer.Option("--smooth", help="Draw gradually; numbers stay the patches'.")] = False,
    max_px: Annotated[int, typer.Option(min=300, help="Long edge of the overlay picture, of any size.")] = 2400,
    figure_format: Annotated[Drawn, typer.Option(help="Of the figure.")] = Drawn.pdf,
    gz: Annotated[bool, typer.Option("--gz", help="Compress GeoJSON; QuPath reads both.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace what is in the folder.")] = False,
    json_output: Json = False,
) -> None:
    """Take a map's views away as files: patches, pictures, QuPath files, OME-TIFF, tables, a figure, a report."""
    kinds = _kinds(what)
    if threshold is None and (inverted or threshold_by != ThresholdBy.value):
        raise typer.BadParameter("--inverted and --threshold-by go with --threshold")
    from ..export import Display, ExportOptions
    from ..results import iter_export

    options = ExportOptions(
        display=Display(score, scale, inverted=inverted, colours=colours, opacity=opacity, smooth=smooth),
        top_k=top_k,
        image_format="png" if image_format == PatchFormat.png else "jpeg",
        mpp=mpp,
        context=context,
        max_px=max_px,
        figure_format=figure_format.value,
        compress=gz,
    )

    def work() -> None:
        console = Console(json_output)
        by: CutBy = threshold_by.value
        cut = None if threshold is None else (by, threshold)
        steps = iter_export(
            map_file, slide, out, what=kinds, options=options, class_name=class_name, cut=cut, overwrite=overwrite
        )
        record = {name: str(path) for name, path in console.drive(steps).items()}
        console.result(record, "\n".join(f"{name}: {path}" for name, path in record.items()))

    run_command(work, json_output)
