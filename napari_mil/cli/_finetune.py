"""The command that trains an encoder together with a pooling."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ..console import Console
from ..models import MODEL_NAMES
from ._options import Device, DeviceOption, Json, Mpp, SlideMpp, TilePx, app, finite, pooling_name, run_command


def _encoder_name(name: str) -> str:
    """Pass on the name of an encoder that will be a file's, or refuse it; empty stands for the default."""
    if not re.fullmatch(r"[\w-]*", name):
        raise typer.BadParameter(f"{name!r} has more than letters, digits, _ and -")
    return name


@app.command(name="fine-tune")
def fine_tune(
    cohort: Annotated[Path, typer.Argument(help="Table with columns slide, label and optionally patient, split.")],
    slides: Annotated[Path, typer.Option(help="Folder of the slides.")],
    encoder: Annotated[
        str,
        typer.Option(help="Encoder to begin with: timm:<model>, a timm folder, a TorchScript file (see 'encoders')."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the encoder, the model, metrics and ROC picture.")],
    pooling: Annotated[
        str,
        typer.Option(callback=pooling_name, help=f"How patches become one prediction: {', '.join(MODEL_NAMES)}."),
    ] = "gated-attention",
    tile_px: TilePx = None,
    encoder_mpp: Mpp = None,
    slide_mpp: SlideMpp = None,
    patches: Annotated[int, typer.Option(min=1, help="Patches of a slide that one step sees, drawn anew.")] = 64,
    patches_per_slide: Annotated[int, typer.Option(min=1, help="Patches of a slide that are looked at in all.")] = 512,
    chunk: Annotated[int, typer.Option(min=1, help="Patches encoded at once; fewer take less memory.")] = 32,
    folds: Annotated[int, typer.Option(min=2, help="Patient-disjoint folds; ignored where the table has splits.")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="At most so many passes over the training slides.")] = 20,
    patience: Annotated[int, typer.Option(min=1, help="Stop after so many epochs without improvement.")] = 5,
    bags_per_step: Annotated[int, typer.Option(min=1, help="Slides whose gradients are averaged in a step.")] = 4,
    encoder_lr: Annotated[
        float, typer.Option(min=1e-8, callback=finite, help="Highest learning rate of the encoder.")
    ] = 3e-5,
    lr: Annotated[float, typer.Option(min=1e-8, callback=finite, help="Highest learning rate of the pooling.")] = 3e-4,
    weight_decay: Annotated[float, typer.Option(min=0.0, callback=finite, help="Weight decay of both.")] = 1e-4,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, weights, patches and order.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a fine-tuning into --out was stopped.")] = False,
    name: Annotated[
        str,
        typer.Option(callback=_encoder_name, help="Name of the new encoder; by default the old one's with -tuned."),
    ] = "",
    title: Annotated[str, typer.Option(help="Name on the model's card.")] = "",
    task: Annotated[str, typer.Option(help="What it predicts, in a sentence, on the model's card.")] = "",
    device: DeviceOption = Device.auto,
    json_output: Json = False,
) -> None:
    """Train an encoder and a pooling end to end on a small cohort, with patient-disjoint folds."""

    def work() -> None:
        from ..features import check_encoder_name
        from ..training import FineTuning, check_free, find_slides, read_cohort

        table = read_cohort(cohort)
        find_slides(table, slides)
        check_free(out, name, resume=resume)
        check_encoder_name(encoder)
        from ..describe_training import describe_fine_tuning
        from ..features import load_encoder  # what follows loads torch, which takes seconds
        from ..training import iter_fine_tune

        console = Console(json_output)
        recipe = FineTuning(
            epochs=epochs,
            encoder_lr=encoder_lr,
            lr=lr,
            weight_decay=weight_decay,
            patience=patience,
            bags_per_step=bags_per_step,
            patches=patches,
            chunk=chunk,
            seed=seed,
        )
        steps = iter_fine_tune(
            table,
            slides,
            load_encoder(encoder, tile_px=tile_px, mpp=encoder_mpp),
            pooling,
            out,
            recipe=recipe,
            folds=folds,
            patches_per_slide=patches_per_slide,
            slide_mpp=slide_mpp,
            device=device.value,
            name=name,
            title=title,
            task=task,
            resume=resume,
        )
        console.result(*describe_fine_tuning(console.drive(steps)))

    run_command(work, json_output)
