"""The command that judges finished runs and saved models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..console import Console
from ._options import Device, DeviceOption, Json, app, finite, run_command

if TYPE_CHECKING:
    from ..evaluation import AgreementRules, Candidate, Faithfulness
    from ..training import Bags


_HALF = 0.5


@app.command()
def evaluate(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN_DIR|MODEL...", help="Folders of 'train', or model files with --cohort."),
    ] = None,
    cohort: Annotated[Path | None, typer.Option(help="Held-out table of slides to judge saved models on.")] = None,
    features: Annotated[
        Path | None, typer.Option(help="Folder of feature files: for --cohort, --faithfulness, time per slide.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for tables (CSV, Markdown, LaTeX) and pictures.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            callback=finite,
            help="Least probability to call a slide positive; by default the one chosen on validation slides.",
        ),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=100, help="Resamplings of patients for the intervals.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of resampling and random orders.")] = 0,
    faithfulness: Annotated[
        bool, typer.Option("--faithfulness", help="Flip patches in the order of each score (needs --features).")
    ] = False,
    score: Annotated[
        list[str] | None,
        typer.Option(
            help="With --faithfulness or --map: a score to judge, repeatable; by default all that a model gives."
        ),
    ] = None,
    random_orders: Annotated[
        int | None, typer.Option(min=2, help="With --faithfulness: random orders per slide (5).")
    ] = None,
    most_slides: Annotated[
        int | None, typer.Option(min=1, help="With --faithfulness: flip so many drawn slides; by default all.")
    ] = None,
    maps: Annotated[
        list[Path] | None, typer.Option("--map", help="An attention map to hold against --annotation; repeatable.")
    ] = None,
    annotations: Annotated[
        list[Path] | None,
        typer.Option("--annotation", help="Outlines (GeoJSON, ASAP XML): one for all maps, or one each; repeatable."),
    ] = None,
    maps_table: Annotated[
        Path | None, typer.Option("--maps", help="CSV with columns map and annotation, for a cohort; adds FROC.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="With --map: a class of outlines to find; repeatable. By default by name.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="With --map: a class of outlines to take out of the target; repeatable.")
    ] = None,
    min_overlap: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="With --map: least share of a patch within the target.")
    ] = _HALF,
    class_name: Annotated[str | None, typer.Option("--class", help="With --map: the class whose score counts.")] = None,
    cut: Annotated[
        float | None,
        typer.Option(callback=finite, help="With --map: threshold, as 2 for twice the average attention."),
    ] = None,
    top_k: Annotated[
        list[int] | None, typer.Option(min=1, help="With --map: top patches to state a hit rate of; repeatable.")
    ] = None,
    device: DeviceOption = Device.auto,
    json_output: Json = False,
) -> None:
    """Compare finished training runs, judge saved models on a held-out cohort, or hold maps against annotations."""
    of_maps = (annotations, target, exclude, class_name, cut, top_k, min_overlap != _HALF)
    if maps or maps_table is not None:
        if paths or cohort is not None or features is not None or faithfulness:
            raise typer.BadParameter("maps go alone: no runs, models, --cohort, --features or --faithfulness")
        from ..evaluation import TOP_K, AgreementRules

        rules = AgreementRules(
            tuple(target or ()),
            tuple(exclude or ()),
            min_overlap,
            tuple(score or ()),
            class_name,
            cut,
            tuple(top_k or TOP_K),
        )
        run_command(lambda: _hold(json_output, maps or [], annotations or [], maps_table, rules, out), json_output)
    if any(given not in (None, False) for given in of_maps):
        raise typer.BadParameter("options that say 'With --map' and --annotation need --map or --maps")
    if not paths:
        raise typer.BadParameter("name folders of 'train', model files with --cohort, or maps with --map")
    _check_use(paths, cohort, features, faithfulness, (score, random_orders, most_slides))

    def work() -> None:
        console = Console(json_output)
        candidates, bags, where = _candidates(console, paths, cohort, features, threshold, device)
        from ..describe_evaluation import describe_evaluation  # what follows loads torch, which takes seconds
        from ..evaluation import iter_evaluate, iter_faithfulness, write_evaluation, write_faithfulness

        judged = console.drive(iter_evaluate(candidates, bags=bags, replicates=bootstrap, seed=seed, device=where))
        files = write_evaluation(out, judged) if out is not None else []
        found: list[Faithfulness] = []
        if faithfulness and bags is not None:
            found, slides = console.drive(
                iter_faithfulness(
                    candidates,
                    bags,
                    scores=score,
                    random_orders=random_orders or 5,
                    most_slides=most_slides,
                    replicates=bootstrap,
                    seed=seed,
                    device=where,
                )
            )
            files += write_faithfulness(out, found, slides) if out is not None else []
        console.result(*describe_evaluation(judged, found, files))

    run_command(work, json_output)


def _hold(
    json_output: bool,
    maps: list[Path],
    annotations: list[Path],
    maps_table: Path | None,
    rules: AgreementRules,
    out: Path | None,
) -> None:
    """Hold maps against outlines."""
    from ..errors import EvaluationError
    from ..evaluation import check_cases, pair_cases, read_cases

    if maps_table is not None and (maps or annotations):
        raise EvaluationError("--maps names maps and annotations itself. Leave out --map and --annotation.")
    if maps and not annotations:
        raise EvaluationError("--map needs --annotation, the outlines to hold it against. Name a file.")
    cases = read_cases(maps_table) if maps_table is not None else pair_cases(maps, annotations)
    check_cases(cases)
    from ..describe_evaluation import describe_agreement  # what follows takes seconds to load
    from ..evaluation import iter_agreement, write_agreement

    console = Console(json_output)
    study = console.drive(iter_agreement(cases, rules))
    console.result(*describe_agreement(study, write_agreement(out, study) if out is not None else []))


def _check_use(
    paths: list[Path], cohort: Path | None, features: Path | None, faithfulness: bool, of_flipping: tuple[object, ...]
) -> None:
    """Refuse what does not go together, before anything is read."""
    folders = [path for path in paths if path.is_dir()]
    if cohort is not None and folders:
        raise typer.BadParameter(f"{folders[0]} is a folder; --cohort goes with model files (.safetensors)")
    if cohort is None and any(path.is_file() for path in paths):
        raise typer.BadParameter("a model file needs --cohort, slides to judge it on; else give folders of 'train'")
    if features is None and (cohort is not None or faithfulness):
        raise typer.BadParameter(f"{'--cohort' if cohort is not None else '--faithfulness'} needs --features")
    if not faithfulness and any(of_flipping):
        raise typer.BadParameter("--score, --random-orders and --most-slides go with --faithfulness")


def _candidates(
    console: Console,
    paths: list[Path],
    cohort: Path | None,
    features: Path | None,
    threshold: float | None,
    device: Device,
) -> tuple[list[Candidate], Bags | None, str]:
    """Return what to judge, the features of its slides, and the device; torch is loaded once all is found."""
    from ..evaluation import cohort_of, read_runs
    from ..models import check_model_file
    from ..training import load_bags, read_cohort

    if cohort is None or features is None:
        runs = read_runs(paths, threshold=threshold)
        bags = load_bags(cohort_of(runs), features) if features is not None else None
        return runs, bags, _where(device) if bags is not None else "cpu"
    for path in paths:
        check_model_file(path)
    table = read_cohort(cohort)
    bags = load_bags(table, features)
    from ..evaluation import iter_held_out

    where = _where(device)
    return console.drive(iter_held_out(paths, table, bags, threshold=threshold, device=where)), bags, where


def _where(device: Device) -> str:
    from ..features import choose_device

    return choose_device(device.value).device
