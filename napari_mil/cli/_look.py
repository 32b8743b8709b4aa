"""Commands that show or describe: info, encoders, view, demo."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..console import Console
from ._options import Device, DeviceOption, Json, PatchSize, SlideMpp, SlidePath, app, run_command


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A slide, a model, a feature file of any known tool, or a map.")],
    slide: Annotated[Path | None, typer.Option(help="Whether a feature file fits this slide.")] = None,
    patch_size: PatchSize = None,
    slide_mpp: SlideMpp = None,
    json_output: Json = False,
) -> None:
    """Say what a slide, a model, a feature file or an attention map is."""
    from ..describe import describe

    def work() -> None:
        record, text = describe(path, slide=slide, patch_size=patch_size, slide_mpp=slide_mpp)
        Console(json_output).result(record, text)

    run_command(work, json_output)


@app.command()
def encoders(device: DeviceOption = Device.auto, json_output: Json = False) -> None:
    """List the encoders: what each takes, on what terms, and how it suits this machine."""
    from ..encoder_list import describe_encoders

    def work() -> None:
        record, text = describe_encoders(device=device.value)
        Console(json_output).result(record, text)

    run_command(work, json_output)


@app.command()
def view(
    slide: SlidePath,
    map_file: Annotated[Path | None, typer.Option("--map", help="An attention map made before.")] = None,
    slide_mpp: SlideMpp = None,
    json_output: Json = False,
) -> None:
    """Open a slide in napari with the MIL panel; says what was shown when the window closes."""
    from .._napari.launch import view_slide

    def work() -> None:
        view_slide(slide, map_file=map_file, slide_mpp=slide_mpp)
        record = {"slide": str(slide), "map": None if map_file is None else str(map_file)}
        Console(json_output).result(record, f"Closed {slide}")

    run_command(work, json_output)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the report folder goes.")] = Path("demo-output"),
    window: Annotated[bool, typer.Option(help="Open napari afterwards, where there is a display.")] = True,
    json_output: Json = False,
) -> None:
    """Run the demo model on the sample slide, write a report folder, and open napari where there is a display."""
    from ..demo import run_demo

    run_command(partial(run_demo, out, window=window, console=Console(json_output)), json_output)
