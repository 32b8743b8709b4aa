"""The command that trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..console import Console
from ..models import MODEL_NAMES
from ..training import RECIPES
from ._options import Device, DeviceOption, Json, app, finite, pooling_name, run_command


@app.command()
def train(
    cohort: Annotated[Path, typer.Argument(help="Table with columns slide, label and optionally patient, split.")],
    features: Annotated[Path, typer.Option(help="Folder of feature files, one per slide.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, metrics and ROC picture.")],
    pooling: Annotated[
        str,
        typer.Option(
            callback=pooling_name,
            help=f"How patches become one prediction: {', '.join(MODEL_NAMES)}, or torchmil:<Class> of that package.",
        ),
    ] = "gated-attention",
    folds: Annotated[int, typer.Option(min=2, help="Patient-disjoint folds; ignored where the table has splits.")] = 5,
    recipe: Annotated[
        str, typer.Option(help=f"What the training options start from: {', '.join(RECIPES)}.")
    ] = "default",
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many passes over the training slides.")] = None,
    patience: Annotated[int | None, typer.Option(min=1, help="Stop after so many epochs without improvement.")] = None,
    lr: Annotated[float | None, typer.Option(min=1e-8, callback=finite, help="Learning rate.")] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0.0, callback=finite, help="Weight decay.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, weights and order.")] = 0,
    title: Annotated[str, typer.Option(help="Name on the model's card.")] = "",
    task: Annotated[str, typer.Option(help="What it predicts, in a sentence, on the model's card.")] = "",
    device: DeviceOption = Device.auto,
    json_output: Json = False,
) -> None:
    """Train a MIL model on feature files with patient-disjoint folds."""
    from ..describe import describe_training
    from ..features import choose_device
    from ..training import iter_train, load_bags, read_cohort

    given: dict[str, Any] = {
        "epochs": epochs,
        "patience": patience,
        "lr": lr,
        "weight_decay": weight_decay,
        "seed": seed,
    }
    how = replace(RECIPES[recipe], **{name: value for name, value in given.items() if value is not None}, seed=seed)

    def work() -> None:
        console = Console(json_output)
        table = read_cohort(cohort)
        result = console.drive(
            iter_train(
                table,
                load_bags(table, features),
                pooling,
                out,
                recipe=how,
                folds=folds,
                title=title,
                task=task,
                device=choose_device(device.value).device,
            )
        )
        console.result(*describe_training(result, out))

    run_command(work, json_output)
