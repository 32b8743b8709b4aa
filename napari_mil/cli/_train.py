"""The command that trains."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..console import Console
from ..models import MODEL_NAMES
from ..training import RECIPES
from ._options import Device, DeviceOption, Json, app, finite, pooling_name, run_command

_HOW = "How it is fitted (by default as the recipe says)"
_RARE = "For special needs (by default as the recipe says)"


class Schedule(StrEnum):
    """How the learning rate goes."""

    cosine = "cosine"
    constant = "constant"
    steps = "steps"


class Loss(StrEnum):
    """What is minimised."""

    cross_entropy = "cross-entropy"
    focal = "focal"


class Sampling(StrEnum):
    """Which bags an epoch shows."""

    each = "each"
    balanced = "balanced"


class Precision(StrEnum):
    """What matrices are multiplied in."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


def recipe_name(name: str) -> str:
    """Pass on the name of a recipe, or refuse it."""
    if name not in RECIPES:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(RECIPES)}")
    return name


def _size(text: str) -> tuple[str, float | str]:
    """Return name and value of a size; `create_model` says whether the pooling has it."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise typer.BadParameter(f"{text!r} is not of the form NAME=VALUE, such as hidden=256", param_hint="--size")
    try:
        number = float(value)
    except ValueError:
        return name, value
    return name, int(number) if value.lstrip("+-").isdigit() else number


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
    recipe: Annotated[
        str,
        typer.Option(
            callback=recipe_name,
            help=f"Settings to start from: {', '.join(RECIPES)}. 'halving' halves 3e-4 every ten epochs; the last six "
            "are those of the original projects. Options below change single settings.",
        ),
    ] = "default",
    size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A size of the pooling that differs from its default, such as hidden=256 or dropout=0.25; may be "
            "given several times.",
        ),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Patient-disjoint folds; ignored where the table has splits.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, weights, order and sampling.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a training into --out was stopped.")] = False,
    title: Annotated[str, typer.Option(help="Name on the model's card.")] = "",
    task: Annotated[str, typer.Option(help="What it predicts, in a sentence, on the model's card.")] = "",
    device: DeviceOption = Device.auto,
    json_output: Json = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=_HOW, help="At most so many passes over the training slides.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=_HOW, help="Stop after so many epochs without improvement.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(min=1e-8, callback=finite, rich_help_panel=_HOW, help="Learning rate.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(min=0.0, callback=finite, rich_help_panel=_HOW, help="Weight decay.")
    ] = None,
    schedule: Annotated[
        Schedule | None, typer.Option(rich_help_panel=_HOW, help="How the learning rate goes from epoch to epoch.")
    ] = None,
    warmup_epochs: Annotated[
        int | None, typer.Option(min=0, rich_help_panel=_HOW, help="Epochs in which the learning rate rises.")
    ] = None,
    sampling: Annotated[
        Sampling | None,
        typer.Option(rich_help_panel=_HOW, help="Each slide once an epoch, or every class as often as any other."),
    ] = None,
    class_weights: Annotated[
        bool | None,
        typer.Option(
            "--class-weights/--no-class-weights", rich_help_panel=_HOW, help="Weigh the loss by rarity of the class."
        ),
    ] = None,
    max_patches: Annotated[
        int | None,
        typer.Option(min=0, rich_help_panel=_HOW, help="Patches of a larger slide drawn for each epoch; 0 takes all."),
    ] = None,
    loss: Annotated[Loss | None, typer.Option(rich_help_panel=_RARE, help="What is minimised.")] = None,
    focal_gamma: Annotated[
        float | None,
        typer.Option(min=0.0, callback=finite, rich_help_panel=_RARE, help="Exponent of the focal loss."),
    ] = None,
    entropy_weight: Annotated[
        float | None,
        typer.Option(callback=finite, rich_help_panel=_RARE, help="Above 0 spreads attention, below gathers it."),
    ] = None,
    hard_share: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            callback=finite,
            rich_help_panel=_RARE,
            help="Share of the patches of wrongly positive slides that are shown once more as negative.",
        ),
    ] = None,
    bags_per_step: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=_RARE, help="Slides whose gradients are averaged.")
    ] = None,
    clip_norm: Annotated[
        float | None,
        typer.Option(min=0.0, callback=finite, rich_help_panel=_RARE, help="Longest gradient of a step; 0 for any."),
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(rich_help_panel=_RARE, help="What matrices are multiplied in.")
    ] = None,
) -> None:
    """Train a MIL model on feature files with patient-disjoint folds."""
    config = dict(map(_size, size or ()))
    given: dict[str, Any] = {
        "epochs": epochs,
        "patience": patience,
        "lr": lr,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "warmup_epochs": warmup_epochs,
        "sampling": sampling,
        "class_weights": class_weights,
        "max_patches": max_patches,
        "loss": loss,
        "focal_gamma": focal_gamma,
        "entropy_weight": entropy_weight,
        "hard_share": hard_share,
        "bags_per_step": bags_per_step,
        "clip_norm": clip_norm,
        "precision": precision,
    }
    plain = {name: getattr(value, "value", value) for name, value in given.items() if value is not None}
    try:
        how = replace(RECIPES[recipe], **plain, seed=seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error

    def work() -> None:
        from ..training import load_bags, read_cohort

        table = read_cohort(cohort)
        bags = load_bags(table, features)
        from ..describe_training import describe_training  # what follows loads torch, which takes seconds
        from ..features import choose_device
        from ..training import iter_train

        console = Console(json_output)
        result = console.drive(
            iter_train(
                table,
                bags,
                pooling,
                out,
                recipe=how,
                folds=folds,
                title=title,
                task=task,
                config=config,
                device=choose_device(device.value).device,
                resume=resume,
            )
        )
        console.result(*describe_training(result, out))

    run_command(work, json_output)
