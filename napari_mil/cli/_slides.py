"""Commands that work on slides and their files: run, extract, convert."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..console import Console
from ..counting import counted
from ..features import Format
from ._options import (
    Device,
    DeviceOption,
    EncoderOption,
    Json,
    Mpp,
    PatchSize,
    SlideMpp,
    SlidePath,
    TilePx,
    TissueFile,
    WithinFile,
    app,
    run_command,
)


class FurtherScore(StrEnum):
    """Scores that can be computed for every model."""

    leave_one_out = "leave_one_out"
    gradient_x_input = "gradient_x_input"
    integrated_gradients = "integrated_gradients"


@app.command()
def run(
    slide: SlidePath,
    model: Annotated[
        list[str],
        typer.Option(help="Model file, name in the models folder, or hf:owner/name; several times for an ensemble."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    encoder: EncoderOption = None,
    device: DeviceOption = Device.auto,
    slide_mpp: SlideMpp = None,
    tissue: TissueFile = None,
    within: WithinFile = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many top patches to write.")] = 50,
    isolated: Annotated[bool, typer.Option(help="Extract in a process of its own.")] = False,
    features: Annotated[
        Path | None, typer.Option(help="Features made before, by any known tool: nothing is extracted.")
    ] = None,
    patch_size: PatchSize = None,
    accept_features: Annotated[
        bool, typer.Option("--accept-features", help="Take --features though they state another slide, size or scale.")
    ] = False,
    score: Annotated[
        list[FurtherScore] | None,
        typer.Option(help="A score to compute besides the model's own; several times for several."),
    ] = None,
    mc_dropout: Annotated[
        int, typer.Option(min=0, help="Passes with dropout left on (20, say), for a spread of one model; 0 for none.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="What these passes are drawn from.")] = 0,
    json_output: Json = False,
) -> None:
    """Run a model over a slide: features, attention map, picture, QuPath file and top patches.

    Several models of the same task (--model A --model B) are taken together: their mean, and how far they disagree.
    """
    if mc_dropout == 1 or (mc_dropout and len(model) > 1):
        raise typer.BadParameter("--mc-dropout takes 2 passes or more of a single model")
    if features is None and (patch_size is not None or accept_features):
        raise typer.BadParameter("--patch-size and --accept-features go with --features")
    if features is not None and (encoder is not None or tissue is not None or within is not None or isolated):
        raise typer.BadParameter("--encoder, --tissue, --within and --isolated are for extracting, not for --features")

    def work() -> None:
        from ..given import check_run

        check_run(  # before torch is loaded, which takes seconds
            slide,
            model=model,
            encoder=encoder,
            slide_mpp=slide_mpp,
            tissue=tissue,
            within=within,
            features=features,
            mc_dropout=mc_dropout,
        )
        from ..describe import describe_run
        from ..pipeline import iter_run

        console = Console(json_output)
        result = console.drive(
            iter_run(
                slide,
                model=model,
                encoder=encoder,
                out=out,
                device=device.value,
                slide_mpp=slide_mpp,
                tissue=tissue,
                within=within,
                top_k=top_k,
                isolated=isolated,
                features=features,
                patch_size=patch_size,
                accept_features=accept_features,
                also=[one.value for one in score or ()],
                mc_dropout=mc_dropout,
                seed=seed,
            )
        )
        console.result(*describe_run(result, out))

    run_command(work, json_output)


@app.command()
def extract(
    slides: Annotated[list[Path], typer.Argument(help="One or more slides.")],
    out: Annotated[Path, typer.Option(help="Folder for the feature files.")],
    encoder: Annotated[str, typer.Option(help="Encoder name or TorchScript file.")] = "colour-texture",
    tile_px: TilePx = None,
    encoder_mpp: Mpp = None,
    device: DeviceOption = Device.auto,
    slide_mpp: SlideMpp = None,
    tissue: TissueFile = None,
    within: WithinFile = None,
    overwrite: Annotated[bool, typer.Option(help="Replace feature files made with other settings.")] = False,
    json_output: Json = False,
) -> None:
    """Turn slides into feature files (HDF5); an interrupted run goes on where it stopped.

    For several slides --tissue and --within take a folder with a file named after each slide.
    """
    from ..cohort import extract_slides

    def work() -> None:
        console = Console(json_output)
        done = console.drive(
            extract_slides(
                slides,
                out,
                encoder=encoder,
                tile_px=tile_px,
                mpp=encoder_mpp,
                device=device.value,
                slide_mpp=slide_mpp,
                tissue=tissue,
                within=within,
                overwrite=overwrite,
            )
        )
        record = {"files": [asdict(item) for item in done]}
        console.result(record, "\n".join(f"{item.file}: {counted(item.patches, 'patch')}" for item in done))

    run_command(work, json_output)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A feature file of napari-mil or another tool.")],
    to: Annotated[Format, typer.Option("--to", help="Whose file to write; trident is napari-mil's own, too.")],
    out: Annotated[Path, typer.Option(help="The feature file to write; for wsidata a new folder.")],
    slide: Annotated[Path | None, typer.Option(help="The slide that the features were made from.")] = None,
    patch_size: PatchSize = None,
    slide_mpp: SlideMpp = None,
    overwrite: Annotated[bool, typer.Option(help="Replace files that are there.")] = False,
    json_output: Json = False,
) -> None:
    """Turn a feature file of one tool into that of another."""
    from ..describe import describe_conversion
    from ..features import read_foreign, recognise, write_foreign
    from ..slides import open_slide

    def work() -> None:
        ref = None
        if slide is not None:
            with open_slide(slide, mpp=slide_mpp) as opened:
                ref = opened.ref
        features = read_foreign(source, slide=ref, patch_size=patch_size, slide_mpp=slide_mpp)
        was = recognise(source)
        files = write_foreign(out, features, to, overwrite=overwrite)
        Console(json_output).result(*describe_conversion(features, was, to, files))

    run_command(work, json_output)
