"""The command line, ``napari-mil``: every command is a thin driver of a public function.

Heavy rooms are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Console, guarded
from .features import Format
from .models import MODEL_NAMES, is_known

app = typer.Typer(
    name="napari-mil",
    help="Where did the model look, and was it right? Attention MIL on whole-slide images.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Device(StrEnum):
    """Where the computation runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


def _pooling(name: str) -> str:
    if not is_known(name):
        raise typer.BadParameter(f"{name!r} is none of {', '.join(MODEL_NAMES)}, torchmil:<Class>")
    return name


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number to compute with")
    return value


Json = Annotated[bool, typer.Option("--json", help="Print one JSON line for machines.")]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto takes a GPU where there is one.")]
SlideMpp = Annotated[
    float | None,
    typer.Option(
        "--slide-mpp", min=0.01, callback=_finite, help="Microns per pixel of the scan, where the file lacks it."
    ),
]
EncoderOption = Annotated[
    str | None, typer.Option(help="Encoder name (see 'encoders') or file; by default the model's.")
]
TilePx = Annotated[int | None, typer.Option(min=8, help="Patch edge in pixels; by default the encoder's.")]
Mpp = Annotated[
    float | None, typer.Option(min=0.01, callback=_finite, help="Microns per patch pixel; by default the encoder's.")
]
TissueFile = Annotated[
    Path | None,
    typer.Option("--tissue", help="Outlines of the tissue (GeoJSON, ASAP XML), or grandqc or hest, to find it so."),
]
WithinFile = Annotated[
    Path | None, typer.Option("--within", help="Annotations (GeoJSON, ASAP XML) to stay within, on tissue.")
]
PatchSize = Annotated[
    float | None,
    typer.Option("--patch-size", min=1, callback=_finite, help="Patch edge in level-0 pixels, where a file lacks it."),
]
SlidePath = Annotated[Path, typer.Argument(help="A whole-slide image (SVS, NDPI, MRXS, DICOM folder, TIFF, ...).")]


def _version(value: bool) -> None:
    if value:
        from . import __version__

        print(f"napari-mil {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Where did the model look, and was it right? Attention MIL on whole-slide images."""


def _finish(work: Any, json_output: bool) -> None:
    raise typer.Exit(guarded(work, json_output))


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A slide, a model, a feature file of any known tool, or a map.")],
    slide: Annotated[Path | None, typer.Option(help="Whether a feature file fits this slide.")] = None,
    patch_size: PatchSize = None,
    slide_mpp: SlideMpp = None,
    json_output: Json = False,
) -> None:
    """Say what a slide, a model, a feature file or an attention map is."""
    from .describe import describe

    def work() -> None:
        record, text = describe(path, slide=slide, patch_size=patch_size, slide_mpp=slide_mpp)
        Console(json_output).result(record, text)

    _finish(work, json_output)


@app.command()
def encoders(device: DeviceOption = Device.auto, json_output: Json = False) -> None:
    """List the encoders: what each takes, on what terms, and how it suits this machine."""
    from .encoder_list import describe_encoders

    def work() -> None:
        record, text = describe_encoders(device=device.value)
        Console(json_output).result(record, text)

    _finish(work, json_output)


@app.command()
def view(
    slide: SlidePath,
    map_file: Annotated[Path | None, typer.Option("--map", help="An attention map made before.")] = None,
    slide_mpp: SlideMpp = None,
    json_output: Json = False,
) -> None:
    """Open a slide in napari with the MIL panel; says what was shown when the window closes."""
    from ._napari.launch import view_slide

    def work() -> None:
        view_slide(slide, map_file=map_file, slide_mpp=slide_mpp)
        record = {"slide": str(slide), "map": None if map_file is None else str(map_file)}
        Console(json_output).result(record, f"Closed {slide}")

    _finish(work, json_output)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the report folder goes.")] = Path("demo-output"),
    window: Annotated[bool, typer.Option(help="Open napari afterwards, where there is a display.")] = True,
    json_output: Json = False,
) -> None:
    """Run the demo model on the sample slide, write a report folder, and open napari where there is a display."""
    from .demo import run_demo

    _finish(partial(run_demo, out, window=window, console=Console(json_output)), json_output)


@app.command()
def run(
    slide: SlidePath,
    model: Annotated[str, typer.Option(help="Model file, or its name in the models folder.")],
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
    json_output: Json = False,
) -> None:
    """Run a model over a slide: features, attention map, picture, QuPath file and top patches."""
    if features is None and (patch_size is not None or accept_features):
        raise typer.BadParameter("--patch-size and --accept-features go with --features")
    if features is not None and (encoder is not None or tissue is not None or within is not None or isolated):
        raise typer.BadParameter("--encoder, --tissue, --within and --isolated are for extracting, not for --features")
    from .describe import describe_run
    from .pipeline import iter_run

    def work() -> None:
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
            )
        )
        console.result(*describe_run(result, out))

    _finish(work, json_output)


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
    from .cohort import extract_slides

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
        console.result(record, "\n".join(f"{item.file}: {item.patches:,} patches" for item in done))

    _finish(work, json_output)


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
    from .describe import describe_conversion
    from .features import read_foreign, recognise, write_foreign
    from .slides import open_slide

    def work() -> None:
        ref = None
        if slide is not None:
            with open_slide(slide, mpp=slide_mpp) as opened:
                ref = opened.ref
        features = read_foreign(source, slide=ref, patch_size=patch_size, slide_mpp=slide_mpp)
        was = recognise(source)
        files = write_foreign(out, features, to, overwrite=overwrite)
        Console(json_output).result(*describe_conversion(features, was, to, files))

    _finish(work, json_output)


@app.command()
def train(
    cohort: Annotated[Path, typer.Argument(help="Table with columns slide, label and optionally patient, split.")],
    features: Annotated[Path, typer.Option(help="Folder of feature files, one per slide.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, metrics and ROC picture.")],
    pooling: Annotated[
        str,
        typer.Option(
            callback=_pooling,
            help=f"How patches become one prediction: {', '.join(MODEL_NAMES)}, or torchmil:<Class> of that package.",
        ),
    ] = "gated-attention",
    folds: Annotated[int, typer.Option(min=2, help="Patient-disjoint folds; ignored where the table has splits.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="At most so many passes over the training slides.")] = 100,
    patience: Annotated[int, typer.Option(min=1, help="Stop after so many epochs without improvement.")] = 15,
    lr: Annotated[float, typer.Option(min=1e-8, callback=_finite, help="Learning rate.")] = 3e-4,
    weight_decay: Annotated[float, typer.Option(min=0.0, callback=_finite, help="Weight decay.")] = 1e-4,
    seed: Annotated[int, typer.Option(help="Seed of folds, weights and order.")] = 0,
    title: Annotated[str, typer.Option(help="Name on the model's card.")] = "",
    task: Annotated[str, typer.Option(help="What it predicts, in a sentence, on the model's card.")] = "",
    device: DeviceOption = Device.auto,
    json_output: Json = False,
) -> None:
    """Train a MIL model on feature files with patient-disjoint folds."""
    from .describe import describe_training
    from .features import choose_device
    from .training import iter_train, load_bags, read_cohort

    def work() -> None:
        console = Console(json_output)
        table = read_cohort(cohort)
        result = console.drive(
            iter_train(
                table,
                load_bags(table, features),
                pooling,
                out,
                folds=folds,
                epochs=epochs,
                patience=patience,
                lr=lr,
                weight_decay=weight_decay,
                seed=seed,
                title=title,
                task=task,
                device=choose_device(device.value).device,
            )
        )
        console.result(*describe_training(result, out))

    _finish(work, json_output)


@app.command()
def export(
    map_file: Annotated[Path, typer.Argument(metavar="MAP", help="An attention map (.h5).")],
    slide: Annotated[Path, typer.Option(help="The slide it was made from.")],
    out: Annotated[Path, typer.Option(help="Folder for patches, picture and QuPath file.")],
    top_k: Annotated[int, typer.Option(min=1, help="How many top patches.")] = 50,
    score: Annotated[str | None, typer.Option(help="Which score; by default the model's own.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace what is in the folder.")] = False,
    json_output: Json = False,
) -> None:
    """Export the top patches, the overlay picture and the QuPath file of a map made before."""
    from .results import iter_export

    def work() -> None:
        console = Console(json_output)
        files = console.drive(iter_export(map_file, slide, out, top_k=top_k, score=score, overwrite=overwrite))
        record = {name: str(path) for name, path in files.items()}
        console.result(record, "\n".join(f"{name}: {path}" for name, path in record.items()))

    _finish(work, json_output)


def main() -> None:
    """Run the command line."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # our own sentences say what it found
    sys.exit(app())


if __name__ == "__main__":
    main()
