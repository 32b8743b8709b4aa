"""What the commands share: the app, their common options, and how they end."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..console import guarded
from ..models import MODEL_NAMES, is_known

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


class ThresholdBy(StrEnum):
    """What a threshold is chosen by."""

    value = "value"
    percentile = "percentile"
    patches = "count"
    area = "area"


def pooling_name(name: str) -> str:
    """Pass on the name of a pooling, or refuse it."""
    if not is_known(name):
        raise typer.BadParameter(f"{name!r} is none of {', '.join(MODEL_NAMES)}, torchmil:<Class>")
    return name


def finite(value: float | None) -> float | None:
    """Pass on a number, or refuse what is not finite."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number to compute with")
    return value


Json = Annotated[bool, typer.Option("--json", help="Print one JSON line for machines.")]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto takes a GPU where there is one.")]
SlideMpp = Annotated[
    float | None,
    typer.Option(
        "--slide-mpp", min=0.01, callback=finite, help="Microns per pixel of the scan, where the file lacks it."
    ),
]
EncoderOption = Annotated[
    str | None, typer.Option(help="Encoder name (see 'encoders') or file; by default the model's.")
]
TilePx = Annotated[int | None, typer.Option(min=8, help="Patch edge in pixels; by default the encoder's.")]
Mpp = Annotated[
    float | None, typer.Option(min=0.01, callback=finite, help="Microns per patch pixel; by default the encoder's.")
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
    typer.Option("--patch-size", min=1, callback=finite, help="Patch edge in level-0 pixels, where a file lacks it."),
]
SlidePath = Annotated[Path, typer.Argument(help="A whole-slide image (SVS, NDPI, MRXS, DICOM folder, TIFF, ...).")]


def run_command(work: Callable[[], None], json_output: bool) -> None:
    """Do a command's work and leave with its exit status."""
    raise typer.Exit(guarded(work, json_output))
