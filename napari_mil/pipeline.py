"""Slide to attention map as one generator of Progress: the window, the command line and cohorts all drive this one.

Closing the generator cancels the run; what was extracted by then stays in the feature file and the next run resumes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .annotations import Annotation, resolve_tissue, write_tissue
from .counting import counted
from .errors import MapError, ModelError, OtherSlideError
from .export import check_patch_folder
from .features import (
    Features,
    bring_features,
    choose_device,
    iter_extract,
    iter_extract_isolated,
    write_features,
)
from .given import resolve_encoder, resolve_models
from .kept_features import features_path
from .maps import FURTHER_SCORES, AttentionMap, check_members, iter_attention_map, iter_ensemble_map
from .models import check_dropout
from .progress import Progress, Steps, finish
from .results import WRITING, RunResult, output_folder, write_results, write_run_json
from .slides import open_slide
from .tiling import TileGrid, TissueMask, covered_mask, empty_mask, tile

if TYPE_CHECKING:
    from .features import Encoder
    from .given import ModelGiven
    from .maps import LiveMap
    from .models import MILModel
    from .slides import Slide

STAGES = ("Opening the slide", "Finding tissue", "Reading and encoding patches", "Running the model", WRITING)
BRINGING = "Reading features"
"""Stands for the second and third stage where the features were made before."""


def run(slide_path: str | os.PathLike[str], **options: Any) -> RunResult:
    """Run the whole pipeline to its end; see `iter_run` for the parameters.

    Parameters
    ----------
    slide_path : path
        The slide.
    **options
        As in `iter_run`.

    Returns
    -------
    RunResult
        Map, features, mask and files.
    """
    return finish(iter_run(slide_path, **options))


def iter_run(
    slide_path: str | os.PathLike[str],
    *,
    model: ModelGiven | Sequence[ModelGiven],
    encoder: Encoder | str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    features_file: str | os.PathLike[str] | None = None,
    device: str = "auto",
    slide_mpp: float | tuple[float, float] | None = None,
    tissue: TissueMask | str | os.PathLike[str] | None = None,
    within: Sequence[Annotation] | str | os.PathLike[str] | None = None,
    top_k: int = 50,
    isolated: bool = False,
    features: Features | str | os.PathLike[str] | None = None,
    patch_size: float | None = None,
    accept_features: bool = False,
    also: Sequence[str] = (),
    mc_dropout: int = 0,
    seed: int = 0,
    live: LiveMap | None = None,
) -> Steps[RunResult]:
    """Run a model over a slide, yielding Progress.

    Parameters
    ----------
    slide_path : path
        Any slide that `open_slide` takes.
    model : MILModel, path or str, or a sequence of them
        A model, its file, the file's name in the models folder, or ``hf:owner/name`` on the hub.
    encoder : Encoder, path, str or None
        What turns patches into features; None takes the one that the model's card names.
    out : path or None
        Folder for ``features.h5``, ``attention.h5``, ``tissue.geojson``, ``heatmap.png``, ``attention.geojson``,
        ``patches/`` and ``run.json``; None writes nothing but the features.
    features_file : path or None
        Where the features are kept; ``out/features.h5`` by default, or `features_path` without ``out``.
    device : str
        "auto", "cpu", "cuda" or "mps".
    slide_mpp : float, (float, float) or None
        Microns per level-0 pixel, for a slide that does not state it.
    tissue : TissueMask, path or None
        Where the tissue is: a mask, or a file of outlines (GeoJSON, ASAP XML); None finds it.
    within : sequence of Annotation, path or None
        Outlines to stay within, or their file.
    top_k : int
        How many patches to write to ``patches/``.
    isolated : bool
        Whether to extract in a process of its own, which no failing driver takes this one down with and which gives
        the GPU's memory back; the encoder must be one that `load_encoder` made.
    features : Features, path or None
        Features that were made before, such as a feature file of another tool: nothing is extracted, and the tissue is
        what their tiles cover. Encoder, tissue, outlines and file of features cannot be chosen then.
    patch_size : float or None
        Edge of a patch in level-0 pixels, where ``features`` is a file that does not say it.
    accept_features : bool
        Take ``features`` for this slide's, though they state another slide, size or scale.
    also : sequence of str
        Scores to compute besides the model's own, of `FURTHER_SCORES`; see `iter_attention_map` for what they cost.
    mc_dropout : int
        Passes with dropout on, for a spread of one model; 0 for none.
    seed : int
        What the passes are drawn from.
    live : LiveMap or None
        Who is told of patches as they come, and says which are wanted first: a few from all over the slide come before
        the rest then. The result is the same to the last bit. Not of a run in a process of its own.

    Yields
    ------
    Progress
        At most about ten a second.

    Returns
    -------
    RunResult
        Map, features, mask and files.

    Raises
    ------
    NapariMilError
        In words a user can act on: slide, tissue, encoder, model or disk.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    if features is not None and any(one is not None for one in (encoder, features_file, tissue, within)):
        raise ValueError("features were made before: leave out encoder, features_file, tissue and within")
    _check_scores(also, mc_dropout)
    seconds: dict[str, float] = {}
    if out is not None:
        check_patch_folder(Path(out) / "patches", overwrite=True)  # said now, not after the work
    yield Progress(STAGES[0])
    with _timed(seconds, STAGES[0]):
        slide = open_slide(slide_path, mpp=slide_mpp)
    with slide:
        with _timed(seconds, "Loading the model"):
            mil = resolve_models(model)
            _check_spread(mil, also, mc_dropout)
        if features is not None:
            yield Progress(BRINGING)
            with _timed(seconds, BRINGING):
                mask, bag = _brought(slide, features, patch_size, accept_features)
            target = None
        else:
            with _timed(seconds, "Loading the model"):
                coder = resolve_encoder(encoder, mil[0].card)
            yield Progress(STAGES[1])
            with _timed(seconds, STAGES[1]):
                mask = resolve_tissue(slide, tissue, within)
                grid = tile(slide, mask, tile_px=coder.info.tile_px, mpp=coder.info.mpp)
            target = _target(out, features_file) or features_path(slide.ref, coder, grid.tile_px, grid.mpp, grid)
            yield Progress(STAGES[2])  # here a cancelled run ends before it holds a file
            with _timed(seconds, STAGES[2]):
                work = _extracted(slide, grid, coder, device, target, isolated=isolated, live=live, models=mil)
                bag = yield from work
        yield Progress(STAGES[3], message=counted(len(bag), "patch"))
        with _timed(seconds, STAGES[3]):
            amap = yield from _mapped(mil, bag, choose_device(device).device, also, mc_dropout, seed)
        files = {"features.h5": target} if target is not None else {}
        if out is not None:
            with _timed(seconds, STAGES[4]):
                files |= yield from _written(
                    output_folder(out), slide, mask, amap, top_k, bag if features is not None else None
                )
        result = RunResult(slide.ref, mask, bag, amap, files, seconds)
    if out is not None:
        files["run.json"] = write_run_json(Path(out) / "run.json", result)
    return result


def _extracted(
    slide: Slide,
    grid: TileGrid,
    encoder: Encoder,
    device: str,
    target: Path,
    *,
    isolated: bool,
    live: LiveMap | None,
    models: Sequence[MILModel],
) -> Steps[Features]:
    """Extract features, here or in a process of its own, and let a live map follow where there is one."""
    if isolated:
        steps = iter_extract_isolated(slide, grid, encoder, device=device, out=target)
        return (yield from (steps if live is None else _noted(steps)))
    if live is None:
        return (yield from iter_extract(slide, grid, encoder, device=device, out=target))
    with live.following(models, grid, slide.ref, encoder.info):
        steps = iter_extract(
            slide, grid, encoder, device=device, out=target, order="spread", priority=live.priority, arrived=live.take
        )
        return (yield from steps)


def _noted(steps: Steps[Features]) -> Steps[Features]:
    """Say at each step that there is no map meanwhile: the features are in another process."""
    try:
        while True:
            step = next(steps)
            yield replace(step, message=f"{step.message} The map comes at the end.".strip())
    except StopIteration as end:
        features: Features = end.value
        return features
    finally:
        steps.close()


def _check_scores(also: Sequence[str], mc_dropout: int) -> None:
    """Refuse further scores and passes that nobody can compute, before any work."""
    unknown = [name for name in also if name not in FURTHER_SCORES]
    if unknown:
        raise MapError(f"There is no further score {', '.join(unknown)}. Choose of: {', '.join(FURTHER_SCORES)}.")
    if mc_dropout < 0 or mc_dropout == 1:
        raise ValueError(f"a spread takes 2 passes or more, not {mc_dropout}")


def _check_spread(models: Sequence[MILModel], also: Sequence[str], mc_dropout: int) -> None:
    """Refuse models that cannot be taken together, or passes that could not differ."""
    if len(models) > 1 and mc_dropout:
        raise ModelError("Passes with dropout are of one model. Give one model, or several without passes.")
    if len(models) > 1:
        check_members(models, also)
    elif mc_dropout:
        check_dropout(models[0])


def _mapped(
    models: Sequence[MILModel], bag: Features, device: str, also: Sequence[str], mc_dropout: int, seed: int
) -> Steps[AttentionMap]:
    """Return the map of one model, or of several together."""
    if len(models) > 1:
        return (yield from iter_ensemble_map(models, bag, device=device, also=also))
    return (yield from iter_attention_map(models[0], bag, device=device, also=also, mc_dropout=mc_dropout, seed=seed))


def _target(out: str | os.PathLike[str] | None, features_file: str | os.PathLike[str] | None) -> Path | None:
    """Return where a run keeps its features, by what was asked for; makes the folder of the results."""
    folder = output_folder(out) if out is not None else None
    if features_file is not None:
        return Path(features_file)
    return folder / "features.h5" if folder is not None else None


def _brought(
    slide: Slide, features: Features | str | os.PathLike[str], patch_size: float | None, accept: bool
) -> tuple[TissueMask, Features]:
    """Return features that were made before, and what their tiles cover."""
    try:
        bag = bring_features(features, slide.ref, patch_size=patch_size, accept_other_slide=accept)
    except OtherSlideError as err:
        remedy = "Give the slide that they were made from, or take them all the same with --accept-features."
        raise OtherSlideError(err.found, remedy) from err
    name = "the features" if isinstance(features, Features) else Path(features).name
    return covered_mask(bag.grid, empty_mask(slide), origin=f"covered by the patches of {name}"), bag


def _written(
    folder: Path, slide: Slide, mask: TissueMask, amap: AttentionMap, top_k: int, bag: Features | None
) -> Steps[dict[str, Path]]:
    """Write tissue, map, what people take away, and features that were made before, as those of this run."""
    files = {"tissue.geojson": folder / "tissue.geojson"}
    write_tissue(files["tissue.geojson"], mask, offset_xy=slide.bounds_origin_xy)
    if bag is not None:
        files["features.h5"] = folder / "features.h5"
        write_features(files["features.h5"], bag)
    files |= yield from write_results(folder, slide, amap, top_k)
    return files


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = round(seconds.get(stage, 0.0) + time.perf_counter() - start, 3)
